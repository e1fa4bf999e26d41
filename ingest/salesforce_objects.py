"""Salesforce objects as a mapping names them, and their raw values as canonical scalars."""

from __future__ import annotations

from collections.abc import Mapping as Map
from decimal import Decimal
from typing import Any

from ingest.door import Context
from ingest.objects import ObjectMap, object_maps
from ingest.salesforce_fields import INVERTED, STANDARD
from ingest.values import Bad, Values, kind_of, show
from schemas.change import Entity, Scalar
from schemas.mapping import Mapping


def salesforce_objects(mapping: Mapping) -> dict[str, ObjectMap]:
    """The standard objects with what the mapping adds; a field may be nested ("BillingAddress.City").

    Raises PlanwatchError for an object without entity.
    """
    return object_maps(STANDARD, mapping)


class ObjectValues:
    """Raw values of objects' fields as canonical scalars, for one source."""

    def __init__(self, context: Context, mapping: Mapping) -> None:
        self._config = context.config
        self._aliases = mapping.aliases
        self.values = Values(context.config, mapping)

    def scalar(self, name: str, entity: Entity, field: str, ours: str, raw: Any, *, partial: bool) -> Scalar | None:
        """The scalar of a raw value of `field` of the object `name`; none where it says nothing. `Bad` for a wrong one.

        `partial`: of a compound value only the parts are here that changed.
        """
        what = f"{name}.{field}"
        if isinstance(raw, dict):
            raw = _person_name(raw, partial=partial)
        if raw is None or raw == "":
            return None
        if (name, field) in INVERTED:
            raw = _inverse(self.values.number(raw, what), what)
        text = self._aliases.get(ours, {}).get(raw, raw) if isinstance(raw, str) else raw
        return self.values.scalar(kind_of(self._config, entity, ours), text, what)


def nested(body: Map[str, Any], field: str) -> tuple[bool, Any]:
    """Whether a body says anything of a field, and its value; a nested field stands within its compound one."""
    if "." not in field or field in body:
        value = body.get(field)
        return value is not None or field in body, value
    parent, _, child = field.partition(".")
    compound = body.get(parent)
    if isinstance(compound, dict):
        return child in compound, compound.get(child)
    return parent in body, None


def _person_name(value: dict[str, Any], *, partial: bool) -> str | None:
    """The name in a compound field. An update brings only the parts that changed: without both, no name."""
    first, last = value.get("FirstName"), value.get("LastName")
    if partial and not (first and last):
        return None
    return " ".join(str(part) for part in (first, last) if part) or None


def _inverse(rate: Decimal, what: str) -> Decimal:
    if not rate > 0:
        raise Bad("bad_number", f"{what} {show(str(rate))} is not above zero; correct it at the source")
    return Decimal(1) / rate
