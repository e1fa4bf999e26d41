"""Salesforce objects as a mapping names them, and their raw values as canonical scalars."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

from ingest.door import Context
from ingest.salesforce_fields import INVERTED, STANDARD
from ingest.values import Bad, Values, kind_of, show
from schemas.base import PlanwatchError
from schemas.change import Entity, Scalar
from schemas.mapping import Mapping

ENTITIES = get_args(Entity)


@dataclass(frozen=True)
class SalesforceObject:
    """How one Salesforce object is read: our field by the object's own, which may be nested ("BillingAddress.City")."""

    entity: Entity
    fields: dict[str, str]
    ignore: bool


def object_maps(mapping: Mapping) -> dict[str, SalesforceObject]:
    """The standard objects, with what the mapping adds; `PlanwatchError` for an object without entity."""
    objects = {name: SalesforceObject(item.entity, dict(item.fields), ignore=False) for name, item in STANDARD.items()}
    for name, custom in mapping.entities.items():
        standard = objects.get(name)
        entity = custom.entity or (standard.entity if standard else None)
        if entity is None and not custom.ignore:
            raise PlanwatchError(
                f"the mapping's entities.{name}: say which `entity` it is; one of {', '.join(ENTITIES)}"
            )
        # A field that the mapping names takes the place of the standard one for the same thing.
        replaced = set(custom.fields.values())
        kept = {k: v for k, v in (standard.fields if standard else {}).items() if v not in replaced}
        objects[name] = SalesforceObject(entity or "opportunity", {**kept, **custom.fields}, ignore=custom.ignore)
    return objects


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
