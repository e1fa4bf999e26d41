"""The `hubspot` door: webhook events by request or from a topic, a batch to a message, or as lines of a file.

HubSpot promises neither order nor that an event comes once: events are ordered by `occurredAt`, and one that comes
again, at whatever attempt, is the same change. Both forms of subscription are read ("deal.creation", and
"object.creation" with an objectTypeId).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ingest.door import Context, Received, check_time, make_change
from ingest.event_door import EventReader
from ingest.hubspot_events import Event, associated_company, milliseconds, parse_event
from ingest.hubspot_fields import (
    CONVERTED,
    CREATED,
    LIFECYCLE,
    PRIMARY_COMPANY,
    SHARES,
    STANDARD,
    object_name,
)
from ingest.json_events import Piece, object_of
from ingest.objects import ObjectMap, object_maps
from ingest.rows import content_event_id
from ingest.values import Bad, Values, kind_of, show
from schemas.change import Change, Op, Scalar
from schemas.mapping import Mapping

#: What happens within one millisecond happens in this order; of a change of company the removal comes first.
REMOVED, CHANGED, GONE = 1, 2, 3


class HubSpotReader(EventReader):
    """Events to changes; the standard properties of deals, companies, contacts and products need no mapping file."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._mapping = context.mapping or Mapping()
        self._values = Values(context.config, self._mapping)
        self._objects = object_maps(STANDARD, self._mapping, object_name)

    def changes(self, piece: Piece, message: Received) -> Sequence[Change]:
        """The changes of one event; `Bad` for what is no event or of an object that nothing is known of."""
        event = parse_event(object_of(piece.value), self._values)
        known = self._objects.get(event.object)
        if known is None:
            raise Bad(
                "unknown_entity",
                f"the object {show(event.object)} of the event is not known; map it under `entities` in the mapping, "
                "with `ignore: true` to skip its events, or end the subscription in HubSpot",
            )
        if known.ignore:
            return []
        check_time(self.context, event.occurred_at, f"occurredAt of the {event.object}.{event.action} event")
        match event.action:
            case "creation":
                return [self._creation(event, known)]
            case "propertyChange":
                return self._property(event, known)
            case "deletion" | "privacyDeletion":
                return [self._change(event, known, event.identifier("objectId"), "delete", GONE)]
            case "restore":
                return [self._change(event, known, event.identifier("objectId"), "undelete", CHANGED)]
            case "merge":
                return self._merge(event, known)
            case "associationChange":
                return self._association(event)
        raise Bad(
            "unknown_event",
            f"{show(event.action)} of {event.object} is not known; end the subscription in HubSpot, "
            "or map the object with `ignore: true`",
        )

    def _creation(self, event: Event, known: ObjectMap) -> Change:
        """A creation is the oldest word about its record, whatever is heard first: its version is 0.

        So the day that it gives gives way to the property that says it, which may name an earlier one.
        """
        ours = known.fields.get(CREATED)
        fields: dict[str, Scalar] = {}
        if ours is not None:
            kind = kind_of(self.context.config, known.entity, ours)
            fields[ours] = self._values.scalar(kind, event.occurred_at // 1000, "occurredAt")
        return self._change(event, known, event.identifier("objectId"), "create", 0, fields, version=0)

    def _property(self, event: Event, known: ObjectMap) -> list[Change]:
        name = event.body.get("propertyName")
        if not isinstance(name, str) or not name:
            raise Bad("bad_event", f"propertyName {show(name)} of the {event.object}.propertyChange event is no name")
        record_id = event.identifier("objectId")
        raw = event.body.get("propertyValue")
        if known.fields.get(name) is None:
            self.context.drift.note("unknown_field", known.entity, f"{event.object}.{name}", raw)
            return []
        return self._written(event, known, record_id, name, raw, CHANGED)

    def _association(self, event: Event) -> list[Change]:
        """The primary company of a deal is its account; other associations have no place here."""
        found = associated_company(event)
        deal = self._objects["deal"]
        if found is None or deal.ignore or PRIMARY_COMPANY not in deal.fields:
            return []
        record_id, company = found
        return self._written(event, deal, record_id, PRIMARY_COMPANY, company, CHANGED if company else REMOVED)

    def _merge(self, event: Event, known: ObjectMap) -> list[Change]:
        """Of merged records one remains, the primary one or a new one; what it holds HubSpot says in other events."""
        primary = event.identifier("primaryObjectId")
        new = event.body.get("newObjectId")
        survivor = primary if new is None else event.identifier("newObjectId")
        gone = [one for one in dict.fromkeys([primary, *event.identifiers("mergedObjectIds")]) if one != survivor]
        changes = [self._change(event, known, record_id, "delete", GONE) for record_id in gone]
        if survivor != primary:
            changes.append(self._change(event, known, survivor, "create", 0, version=0))
        if not changes:
            raise Bad(
                "bad_event",
                f"the merge of {event.object} {show(primary)} names no other record; send it as HubSpot wrote it",
            )
        return changes

    def _written(
        self, event: Event, known: ObjectMap, record_id: str, name: str, raw: Any, sequence: int
    ) -> list[Change]:
        """The change of one property; none when its value says nothing here."""
        ours = known.fields[name]
        if raw is None or raw == "":
            return [self._change(event, known, record_id, "update", sequence, nulled=(ours,), detail=name)]
        value = self._scalar(event.object, known, name, ours, raw)
        if value is None:
            return []
        return [self._change(event, known, record_id, "update", sequence, {ours: value}, detail=name)]

    def _scalar(self, object: str, known: ObjectMap, name: str, ours: str, raw: Any) -> Scalar | None:
        what = f"{object}.{name}"
        kind = kind_of(self.context.config, known.entity, ours)
        if isinstance(raw, str):
            raw = self._mapping.aliases.get(ours, {}).get(raw, raw)
        if (object, name) == LIFECYCLE and kind == "flag":
            return self._converted(known, ours, raw, what)
        if (object, name) in SHARES:
            raw = self._percent(raw, what)
        return self._values.scalar(kind, milliseconds(raw) if kind in ("date", "time") else raw, what)

    def _converted(self, known: ObjectMap, ours: str, raw: Any, what: str) -> Scalar | None:
        """Whether a contact in this stage of its life is converted; none for a stage that nobody has explained."""
        if isinstance(raw, str) and raw in CONVERTED:
            return CONVERTED[raw]
        try:
            return self._values.flag(raw, what)  # what `aliases` makes of a stage of one's own
        except Bad:
            self.context.drift.note("unknown_value", known.entity, f"{ours}={raw}", raw)
            return None

    def _percent(self, raw: Any, what: str) -> Decimal:
        share = self._values.number(raw, what)
        if not 0 <= share <= 1:
            raise Bad("bad_number", f"{what} {show(raw)} is not between 0 and 1; correct it at the source")
        return share * 100

    def _change(
        self,
        event: Event,
        known: ObjectMap,
        record_id: str,
        op: Op,
        sequence: int,
        fields: dict[str, Scalar] | None = None,
        *,
        nulled: tuple[str, ...] = (),
        detail: str = "",
        version: int | None = None,
    ) -> Change:
        event_id = ":".join((*event.key, record_id, detail or event.action))
        if not event.key[0]:
            content = [event.key, fields or {}, nulled]
            event_id = content_event_id(known.entity, record_id, detail or event.action, content)
        return make_change(
            self.context,
            entity=known.entity,
            record_id=record_id,
            op=op,
            version=event.occurred_at if version is None else version,
            sequence=sequence,
            occurred_at=event.occurred_at,
            event_id=event_id,
            fields=fields or {},
            nulled=nulled,
        )
