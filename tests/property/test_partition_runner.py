"""The runner of a partition under whatever a consumer, a broker, tenants and restarts may do to it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.partitions import Bench

SEEDS = st.integers(min_value=0, max_value=2**32)
ITEMS = ("a", "a", "a", "b", "b", "c", "a!", "b0", "?", "-", ".", ".")


class Trouble(Exception):
    """Something fails."""


def random_text(draw: random.Random, most: int) -> str:
    """Records of a partition."""
    return " ".join(draw.choices(ITEMS, k=draw.randint(0, most)))


def deliver(draw: random.Random, bench: Bench) -> None:
    """The consumer brings a run of records: in order or shuffled, some left out, some twice."""
    records = bench.log.records
    start = draw.randint(0, len(records))
    if draw.random() < 0.6:  # mostly from where it stands, as consumers do
        start = next((i for i, r in enumerate(records) if r.offset >= bench.runner.next), len(records))
    found = [r for r in records[start : start + draw.randint(0, 8)] if draw.random() < 0.9]
    found += draw.choices(records, k=draw.randint(0, 2)) if records else []
    if draw.random() < 0.3:
        draw.shuffle(found)
    bench.runner.take(found)


def check_partition_runner(seed: int) -> None:
    """Any deliveries, appends, failures and restarts: each message once and in order, what is unusable refused."""
    draw = random.Random(seed)
    bench = Bench(random_text(draw, 30), tenants="abc"[: draw.randint(1, 3)], piece=draw.choice((1, 2, 5, 1_000)))

    def trouble(call: str) -> None:
        if draw.random() < 0.1:
            raise Trouble(call)

    for told in (*bench.tenants.values(), bench.refused):
        told.trouble = trouble
    for _ in range(draw.randint(1, 30)):
        step = draw.random()
        try:
            if step < 0.25:
                bench.log.append(random_text(draw, 6))
            elif step < 0.65:
                deliver(draw, bench)
            elif step < 0.85:
                bench.runner.catch_up()
            elif step < 0.9:
                bench.runner.tick()
            elif step < 0.95:
                bench.runner.rewind()
            else:
                bench.start()
        except Trouble:
            # A worker opens the partition anew; but also without that, nothing may be lost.
            draw.choice((bench.runner.rewind, bench.start, lambda: None))()
    for told in (*bench.tenants.values(), bench.refused):
        told.trouble = lambda call: None
    bench.runner.rewind()
    bench.catch_up()
    names = bench.tenants.keys()
    for name in names:
        assert bench.tenants[name].given == bench.log.messages(name)
        assert bench.tenants[name].position == bench.log.size
    strangers = {r.offset for r in bench.log.records if r.key is not None and r.key.decode() not in names}
    refused = bench.refused.by_offset()
    assert refused == {**bench.log.unusable(), **dict.fromkeys(strangers, "unknown_tenant")}


CHECKS = (check_partition_runner,)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_partition_runner(seed: int) -> None:
    """Correctness rests on positions alone."""
    check_partition_runner(seed)
