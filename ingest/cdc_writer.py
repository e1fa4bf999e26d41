"""Changes written as Salesforce Change Data Capture events: the salesforce door the other way round.

What the door reads from such an event is the change again, but for what Salesforce has no words for: a snapshot becomes
a create, an empty text is null, a delete carries no fields, and the event id is Salesforce's own kind.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

import orjson
from ruamel.yaml import YAML

from ingest.salesforce_fields import INVERTED, STANDARD
from ingest.salesforce_objects import salesforce_objects
from ingest.values import kind_of
from schemas.change import Change, Scalar
from schemas.config import Config
from schemas.mapping import EntityMapping, Mapping

#: create, update, ... as Salesforce says it.
TYPES = {"create": "CREATE", "snapshot": "CREATE", "update": "UPDATE", "delete": "DELETE", "undelete": "UNDELETE"}
#: Digits of the inverse of a rate: enough to give the rate again.
DIGITS = 50
#: Names of ours that Salesforce takes as they are.
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_OBJECT = {item.entity: name for name, item in STANDARD.items()}


def mapping_for(fields: dict[str, Iterable[str]]) -> Mapping:
    """The mapping with which fields beyond the standard ones (entity → our names) are written and read again."""
    entities = {}
    for entity, names in fields.items():
        name = next(name for name, item in STANDARD.items() if item.entity == entity)
        known = set(STANDARD[name].fields.values())
        extra = {custom_name(field): field for field in names if field not in known}
        if extra:
            entities[name] = EntityMapping(fields=extra)
    return Mapping(entities=entities)


def mapping_text(mapping: Mapping) -> str:
    """A mapping as the text of a mapping file."""
    out = io.StringIO()
    YAML().dump(mapping.model_dump(mode="json", exclude_defaults=True), out)
    return out.getvalue()


def custom_name(field: str) -> str:
    """The name of the custom field that holds a field of ours. Different fields have different names."""
    # Others begin with a capital, as no plain one does and no standard one with this letter.
    return f"{field}__c" if _PLAIN.fullmatch(field) else f"X{field.encode('utf-8', 'surrogatepass').hex()}__c"


class CdcWriter:
    """Writes changes with the names of a mapping; the configuration says of which kind a field is."""

    def __init__(self, config: Config, mapping: Mapping | None = None) -> None:
        self._config = config
        self._objects: dict[str, str] = {}  # entity → object
        self._names: dict[str, dict[str, str]] = {}  # entity → our field → its name
        for name, item in salesforce_objects(mapping or Mapping()).items():
            # The standard object of an entity comes first, whatever others the mapping adds.
            if not item.ignore and item.entity not in self._objects:
                self._objects[item.entity] = name
                self._names[item.entity] = {ours: theirs for theirs, ours in item.fields.items()}

    def event(self, change: Change) -> bytes:
        """The event of a change, as one line of JSON without its end.

        Raises ValueError for what cannot be written so: an entity or field without a name, a rate that is not above 0.
        """
        if change.entity not in self._objects:
            raise ValueError(f"the mapping ignores {_OBJECT[change.entity]}, so no {change.entity} can be written")
        name = self._objects[change.entity]
        values, cleared = self._split(change)
        header: dict[str, Any] = {
            "entityName": name,
            "recordIds": [change.record_id],
            "changeType": TYPES[change.op],
            "changeOrigin": "planwatch",
            "transactionKey": hashlib.blake2b(change.event_id.encode(), digest_size=16).hexdigest(),
            "sequenceNumber": change.sequence,
            "commitTimestamp": _milliseconds(change.occurred_at),
            "commitNumber": change.version,
            "commitUser": "planwatch",
            "nulledFields": [self._name(change, field) for field in cleared],
            "changedFields": [],
        }
        if change.op == "update":
            header["changedFields"] = [self._name(change, field) for field in (*values, *cleared)]
        body = {self._name(change, field): self._value(change, name, field, value) for field, value in values.items()}
        return orjson.dumps({"ChangeEventHeader": header, **body})

    @staticmethod
    def _split(change: Change) -> tuple[dict[str, Scalar], list[str]]:
        """The fields with a value, and those without."""
        if change.op == "delete":
            return {}, []
        empty = [field for field, value in change.fields.items() if value == ""]
        cleared = list(dict.fromkeys([*empty, *change.nulled]))
        return {field: value for field, value in change.fields.items() if field not in cleared}, cleared

    def _name(self, change: Change, field: str) -> str:
        name = self._names[change.entity].get(field)
        if name is None:
            raise ValueError(f"the field {field!r} of {change.entity} has no Salesforce name; see mapping_for")
        return name

    def _value(self, change: Change, name: str, field: str, value: Scalar) -> Any:
        kind = kind_of(self._config, change.entity, field)
        if kind == "text":
            return str(value).lower() if isinstance(value, bool) else str(value)
        if kind != "decimal":
            return value
        number = Decimal(value)
        if (name, self._name(change, field)) in INVERTED:
            if not number > 0:
                raise ValueError(f"{field} {value!r} is not above 0, as a rate must be")
            with localcontext(prec=DIGITS):
                number = 1 / number
        # As it is: a float would round it.
        return orjson.Fragment(format(number, "f"))


def _milliseconds(us: int) -> int | orjson.Fragment:
    whole, rest = divmod(us, 1000)
    return orjson.Fragment(f"{whole}.{rest:03d}") if rest else whole
