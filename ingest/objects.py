"""A CRM's objects as a door reads them: the standard ones, with what `entities` of the mapping says of them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Map
from typing import NamedTuple, get_args

from schemas.base import PlanwatchError
from schemas.change import Entity
from schemas.mapping import Mapping

ENTITIES = get_args(Entity)


class ObjectMap(NamedTuple):
    """How one object is read: our entity, and our field by the object's own."""

    entity: Entity
    fields: Map[str, str]
    ignore: bool = False  # its events are skipped


def object_maps(
    standard: Map[str, ObjectMap], mapping: Mapping, known_as: Callable[[str], str] = lambda name: name
) -> dict[str, ObjectMap]:
    """The standard objects, with what the mapping adds and changes.

    `known_as` gives the one name of an object that has several. Raises PlanwatchError for an object without entity.
    """
    objects = dict(standard)
    for given, custom in mapping.entities.items():
        name = known_as(given)
        known = objects.get(name)
        entity = custom.entity or (known.entity if known else None)
        if entity is None and not custom.ignore:
            raise PlanwatchError(
                f"the mapping's entities.{given}: say which `entity` it is; one of {', '.join(ENTITIES)}"
            )
        # A field that the mapping names takes the place of the standard one for the same thing.
        replaced = set(custom.fields.values())
        kept = {theirs: ours for theirs, ours in (known.fields if known else {}).items() if ours not in replaced}
        objects[name] = ObjectMap(entity or "opportunity", {**kept, **custom.fields}, custom.ignore)
    return objects
