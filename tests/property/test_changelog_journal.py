"""A journal that is made from its changelog over and over, held against one that never ends."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.changelog_journal import ChangelogJournal, Due
from storage.memory import MemoryJournal

SEEDS = st.integers(min_value=0, max_value=2**32)
KINDS = ("alert", "outbox", "cursor")
KEYS = ("a", "b", "c", 'd,"é')
TENANTS = ("acme", "ac")


def compacted(draw: random.Random, topic: list[Due]) -> dict[bytes, bytes]:
    """The topic as a table: some of its older records are gone, the last of each key is there, keys in any order."""
    last = {key: i for i, (key, _) in enumerate(topic)}
    kept = [record for i, record in enumerate(topic) if last[record[0]] == i or draw.random() < 0.5]
    table: dict[bytes, bytes] = {}
    for key, value in kept:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    items = list(table.items())
    draw.shuffle(items)
    return dict(items)


def act(draw: random.Random, journals: tuple[ChangelogJournal, MemoryJournal]) -> None:
    """The same random call to both; what they answer must be the same."""
    kind, keys = draw.choice(KINDS), draw.choices(KEYS, k=draw.randint(1, 3))
    payload = b"%d" % draw.randint(0, 9)
    what = draw.randrange(4)
    answers: list[object] = []
    for journal in journals:
        if what == 0:
            answers.append(journal.record(kind, keys[0], payload))
        elif what == 1:
            answers.append(journal.put(kind, keys[0], payload))
        elif what == 2:
            answers.append(journal.put_many([(kind, key, payload) for key in keys]))
        else:
            answers.append(journal.delete(kind, keys))
    assert answers[0] == answers[1]


def hand_over(draw: random.Random, journal: ChangelogJournal, expected: MemoryJournal, topic: list[Due]) -> None:
    """Give the topic what is due; sometimes it takes only a part, and all is given back after some more changes."""
    due = journal.take_due()
    if draw.random() < 0.4:
        topic += due[: draw.randint(0, len(due))]
        for _ in range(draw.randint(0, 3)):
            act(draw, (journal, expected))
        journal.give_back(due)
    else:
        topic += due


def same(journal: ChangelogJournal, expected: MemoryJournal) -> None:
    """Everything that can be read is equal, in order."""
    for kind in KINDS:
        assert list(journal.items(kind)) == list(expected.items(kind))
        assert [journal.get(kind, key) for key in KEYS] == [expected.get(kind, key) for key in KEYS]


def check_changelog_journal(seed: int) -> None:
    """Calls, deliveries that fail and restarts in any order, two tenants in one table: nothing is lost or moved."""
    draw = random.Random(seed)
    topic: list[Due] = []
    models = {tenant: MemoryJournal() for tenant in TENANTS}
    journals = {tenant: ChangelogJournal(tenant, {}) for tenant in TENANTS}
    for _ in range(draw.randint(1, 60)):
        tenant, chance = draw.choice(TENANTS), draw.random()
        if chance < 0.6:
            act(draw, (journals[tenant], models[tenant]))
        elif chance < 0.85:
            hand_over(draw, journals[tenant], models[tenant], topic)
        else:
            topic += journals[tenant].take_due()
            journals[tenant] = ChangelogJournal(tenant, compacted(draw, topic))
        same(journals[tenant], models[tenant])
    for tenant, journal in journals.items():
        topic += journal.take_due()
        same(ChangelogJournal(tenant, compacted(draw, topic)), models[tenant])


CHECKS = (check_changelog_journal,)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_changelog_journal(seed: int) -> None:
    """However the changelog is delivered and compacted, the journal made from it is the one that wrote it."""
    check_changelog_journal(seed)
