"""What is read back from topics and journals, where anybody may have written: log messages, refusals, drift.

Accounting: a record is read or refused (ValueError; of drift findings: passed over), each as a whole.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from ingest.door import Refused
from ingest.drift import Drift, nearest
from ingest.drift_journal import JournalDrift, drift_events
from ingest.quarantine import Quarantine, decode_record, decode_refused, encode_refused, identity, kept_as, settled
from ingest.refusal_states import Tally
from processors.fold import apply
from processors.state import State
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.events import Disposition, DriftEvent
from schemas.message import decode_message
from storage.memory import MemoryJournal
from tests.fuzz.checks import CONFIGS, NOW, TENANT, Account, Case, Target
from tests.fuzz.mutate import Mutator

CHANGES: list[dict[str, Any]] = [
    {"tenant": TENANT, "source": "crm", "entity": "opportunity", "record_id": "D1", "op": "create", "version": 1, "sequence": 2,
     "occurred_at": NOW, "event_id": "e1", "fields": {"amount": "1054.5", "stage": "Won", "close_date": "2024-05-31",
     "seen": "2024-05-31T10:00:00Z", "active": True, "probability": 20}, "nulled": ["owner", "account"]},
    {"tenant": TENANT, "source": "crm", "entity": "rep", "record_id": "R1", "op": "update", "version": 2, "occurred_at": NOW,
     "event_id": "e2", "fields": {"team": "T1", "effective_from": "2024-01-01"}},
    {"tenant": TENANT, "source": "hs", "entity": "rate", "record_id": "EUR", "op": "snapshot", "version": 3, "occurred_at": 0,
     "event_id": "e3", "fields": {"currency": "EUR", "rate": "1.08", "date": "2024-01-01"}},
    {"tenant": TENANT, "source": "hs", "entity": "lead", "record_id": "L1", "op": "delete", "version": 2**63 - 1,
     "occurred_at": 2**63 - 1, "event_id": "e4", "fields": {}, "nulled": []},
]  # fmt: skip
REFUSALS: tuple[bytes, ...] = tuple(
    encode_refused(item, TENANT)
    for item in (
        Refused("crm", "history.csv", 3, b"a,b\n", "bad_date", "no date", {"head": "id,name"}),
        Refused("hs", "hooks/hs", 0, b"\xff\x00", "bad_json", "no JSON", {"webhook-id": "m"}, cut=True),
        Refused("sf", "crm[0]", 41, b"", "no_value", "nothing"),
    )
)
DISPOSITION = Disposition(tenant=TENANT, refusal="0" * 32, state="replayed", at=NOW, by="ann", changes=2)
FINDING = DriftEvent(
    tenant=TENANT,
    source="crm",
    kind="unknown_value",
    entity="lead",
    name="status=Odd",
    example='"Odd"',
    near="Old",
    first_seen=NOW,
)


def _log_message(chance: random.Random) -> Case:
    mutator = Mutator(chance)
    raw = mutator.body([copy.deepcopy(mutator.pick(CHANGES)) for _ in range(chance.randint(1, 3))])
    config, tenant = mutator.pick(CONFIGS), mutator.pick((TENANT, None))

    def run() -> Account:
        try:
            rows = decode_message(raw, tenant=tenant, extra_fields=config.fields)
        except ValueError:
            return Account(refused=1)
        for row in rows:
            Change.model_validate(row)
        assert sum(apply(State(config), rows).outcomes.values()) == len(rows)
        assert decode_message(orjson.dumps(rows), tenant=tenant, extra_fields=config.fields) == rows
        return Account(changes=1)

    return Case(raw, run)


def _quarantine_record(chance: random.Random) -> Case:
    mutator = Mutator(chance)
    written = mutator.pick((*REFUSALS, DISPOSITION.model_dump_json().encode()))
    raw = mutator.body(json.loads(written)) if mutator.often(0.7) else mutator.raw(written)

    def run() -> Account:
        try:
            said = decode_record(raw)
        except ValueError:
            return Account(refused=1)
        tally = Tally()
        if isinstance(said, Disposition):
            tally.disposed(said.refusal, said.state)
            made = settled(iter([said, said]))
            assert kept_as(said.refusal, decode_refused(REFUSALS[0]), NOW, made).state == said.state
        else:
            assert decode_refused(encode_refused(said, TENANT)) == said
            assert tally.refused(identity(said), said.source, said.code)
            quarantine = Quarantine(MemoryJournal(), ManualClock(NOW))
            assert quarantine.add([said]) == 1
            assert list(quarantine.items()) == [said]
            assert quarantine.count() == 1
        return Account(changes=1)

    return Case(raw, run)


def _drift_record(chance: random.Random) -> Case:
    mutator = Mutator(chance)
    raw = mutator.body(json.loads(FINDING.model_dump_json()))
    name, near, example = mutator.text("stage=New"), mutator.text("stage"), mutator.value()

    def run() -> Account:
        found = drift_events([raw])
        assert len(found) <= 1
        drift = Drift()
        drift.note("unknown_value", "lead", name, example, near)
        nearest(name, [near, example] if isinstance(example, str) else [near])
        journal = JournalDrift(MemoryJournal(), TENANT)
        taken = drift.take()
        assert journal.add("crm", taken, NOW) == taken
        assert len(journal.noted()) == len(taken) == 1
        return Account(changes=1) if found else Account(skipped=1)

    return Case((raw, name, example, near), run)


def _always(case: Callable[[random.Random], Case]) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Callable[[random.Random], Case]]:
        yield case

    return opened


TARGETS = (
    Target("log-message", 70, _always(_log_message)),
    Target("quarantine", 60, _always(_quarantine_record)),
    Target("drift", 40, _always(_drift_record)),
)
