"""A partition's runner: each tenant gets its messages once and in order, whatever the consumer brings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from processors.runners.partition import PIECE_BYTES, READ_RECORDS, LogRecord, PartitionRunner
from tests.partitions import Bench, decode


class Trouble(Exception):
    """What a tenant may raise."""


def once(name: str) -> Callable[[str], None]:
    """Trouble at the first call of a name."""
    left = [1]

    def trouble(call: str) -> None:
        if call == name and left:
            left.clear()
            raise Trouble

    return trouble


class TestCatchingUp:
    """From the tenants' positions to the end of the log."""

    @pytest.mark.parametrize(
        ("log", "a", "b", "refused"),
        [
            ("", [], [], {}),
            ("a", [0], [], {}),
            ("a b a a b", [0, 2, 3], [1, 4], {}),
            ("a . . b .", [0], [3], {}),
            (". .", [], [], {}),
            ("a a! a", [0, 2], [], {1: "bad_message"}),
            ("a0 b", [], [1], {0: "bad_message"}),
            ("? a - ?", [1], [], {0: "unknown_tenant", 2: "unknown_tenant", 3: "unknown_tenant"}),
            ("a! b! ? . -", [], [], {0: "bad_message", 1: "bad_message", 2: "unknown_tenant", 4: "unknown_tenant"}),
        ],
    )
    def test_each_tenant_gets_its_own(self, log: str, a: list[int], b: list[int], refused: dict[int, str]) -> None:
        """What cannot be folded is refused with its code, and the next one proceeds."""
        bench = Bench(log)
        bench.catch_up()
        assert (bench.given("a"), bench.given("b")) == (a, b)
        assert bench.refused.by_offset() == refused
        bench.check()

    def test_a_reason_that_helps(self) -> None:
        """A refusal says what is wrong, with the record itself."""
        bench = Bench("? - a! a0")
        bench.catch_up()
        reasons = [bad.reason for bad in bench.refused]
        assert "'nobody' is not among the configured tenants" in reasons[0]
        assert "no tenant" in reasons[1]
        assert reasons[2:] == ["it is poison", "the message is empty"]
        assert [bad.record for bad in bench.refused] == bench.log.records

    @pytest.mark.parametrize("piece", [1, 2, 3, 100])
    def test_in_pieces_of_any_size(self, piece: int) -> None:
        """A reader that gives less than it was asked for is asked again, and gaps end no piece."""
        bench = Bench("a . b a a! . . b ? a", piece=piece)
        bench.catch_up()
        bench.check()
        assert bench.runner.next == 10

    def test_a_long_log_is_read_in_pieces(self) -> None:
        """No piece is longer than its bound, and it is said how much is left."""
        bench = Bench("a " * (2 * READ_RECORDS + 1))
        assert not bench.runner.catch_up()
        assert bench.tenants["a"].position == READ_RECORDS
        assert bench.runner.behind == READ_RECORDS + 1
        assert bench.catch_up() == 2
        assert bench.runner.behind == 0
        bench.check()

    def test_large_messages_make_smaller_pieces(self) -> None:
        """A piece ends once it holds enough bytes, and a message beyond that is a piece of its own."""
        bench = Bench("a " * 4, tenants="a")
        large = b'[{"tenant": "a", "text": "' + b"x" * PIECE_BYTES + b'"}]'
        bench.log.records[1:3] = [r._replace(value=large) for r in bench.log.records[1:3]]
        seen = [bench.tenants["a"].position]
        while not bench.runner.live:
            bench.runner.catch_up()
            seen.append(bench.tenants["a"].position)
        assert seen == [0, 2, 3, 4]
        bench.check()

    def test_live_at_the_end(self) -> None:
        """Each tenant learns it once, when it has everything; those without a message are moved along."""
        bench = Bench("a a")
        bench.catch_up()
        bench.runner.catch_up()
        assert {name: tenant.live_at for name, tenant in bench.tenants.items()} == {"a": [2], "b": [2]}
        assert bench.log.rests == 1

    def test_a_log_that_grows_meanwhile(self) -> None:
        """What comes while the last piece is read belongs to the past too."""
        bench = Bench("a b", piece=1)
        bench.runner.catch_up()
        bench.log.append("a b")
        bench.catch_up()
        assert bench.tenants["a"].live_at == [4]
        bench.check()

    def test_the_one_furthest_behind_decides(self) -> None:
        """The others pass over what they have."""
        bench = Bench("a b a b a")
        bench.tenants["b"].position = 4
        bench.start()
        assert bench.runner.next == 0
        bench.catch_up()
        assert (bench.given("a"), bench.given("b")) == ([0, 2, 4], [])

    def test_no_tenants(self) -> None:
        """A partition in which nobody of ours lives is live at once; what comes is refused."""
        bench = Bench("? ?", tenants=())
        assert bench.runner.catch_up()
        bench.runner.take(bench.log.append("?"))
        assert bench.refused.by_offset() == {2: "unknown_tenant"}


class TestWhatTheConsumerBrings:
    """Records in any order, often, seldom and late."""

    @pytest.mark.parametrize(
        "deliveries",
        [
            [[0, 1, 2, 3, 4]],
            [[0], [1], [2], [3], [4]],
            [[0, 1], [0, 1], [1, 2, 3], [4]],
            [[0, 0, 1, 1, 2, 3, 4, 4]],
            [[4]],
            [[2], [4], [0, 1, 3]],
            [[4, 3, 2, 1, 0]],
            [[1, 0, 3, 2, 4]],
            [[], [3], [], [4], []],
            [[0, 4, 1], [2, 0], [4]],
        ],
    )
    @pytest.mark.parametrize("caught_up", [True, False])
    @pytest.mark.parametrize("piece", [1, 100])
    def test_once_and_in_order(self, deliveries: list[list[int]], caught_up: bool, piece: int) -> None:
        """Repeats and late ones are passed over, gaps are filled from the log, before and after it is live."""
        bench = Bench(piece=piece)
        if caught_up:
            bench.catch_up()
        bench.log.append("a b a! a ?" if piece == 1 else "a b a a b")
        for offsets in deliveries:
            bench.runner.take(bench.log.at(*offsets))
        bench.check()
        assert (bench.runner.next, bench.runner.behind) == (5, 0)

    def test_no_read_without_a_gap(self) -> None:
        """What arrives in order is not read twice."""
        bench = Bench()
        bench.catch_up()
        bench.log.append("a b a")
        reads = len(bench.log.reads)
        bench.runner.take(bench.log.at(0, 1))
        bench.runner.take(bench.log.at(2))
        assert len(bench.log.reads) == reads

    def test_offsets_without_a_record(self) -> None:
        """Markers of the broker are passed over for good: they are looked for once."""
        bench = Bench("a . . a . a", tenants="a")
        bench.runner.take(bench.log.at(0, 3, 5))
        bench.check()
        reads = len(bench.log.reads)
        bench.log.append("a")
        bench.runner.take(bench.log.at(6))
        assert len(bench.log.reads) == reads
        bench.check()

    def test_consecutive_records_are_given_at_once(self) -> None:
        """A burst is one batch for each tenant."""
        bench = Bench()
        bench.catch_up()
        calls: list[str] = []
        for name, tenant in bench.tenants.items():
            tenant.trouble = lambda call, name=name: calls.append(name)  # type: ignore[misc]
        bench.log.append("a b a b a")
        bench.runner.take(bench.log.at(0, 1, 2, 3, 4))
        assert sorted(calls) == ["a", "b"]
        bench.check()

    def test_time_passes_for_all(self) -> None:
        """A tick is everybody's."""
        bench = Bench("a")
        bench.runner.tick()
        assert [tenant.ticks for tenant in bench.tenants.values()] == [1, 1]

    def test_positions_of_others_do_not_matter(self) -> None:
        """A tenant that is ahead of the runner is given nothing twice."""
        bench = Bench("a b a b", tenants="ab")
        bench.tenants["a"].position = 3
        bench.start()
        bench.runner.take(bench.log.at(0, 1, 2, 3))
        assert (bench.given("a"), bench.given("b")) == ([], [1, 3])


class TestRestarts:
    """A new process knows the tenants' positions and nothing else."""

    def test_between_two_records(self) -> None:
        """It goes on where each tenant stands."""
        bench = Bench("a b a! b a", piece=2)
        bench.runner.catch_up()
        bench.start()
        assert not bench.runner.live
        bench.catch_up()
        bench.check()

    def test_of_a_tenant_without_messages(self) -> None:
        """What lies before the end that it was moved to is not read again."""
        bench = Bench("a a a")
        bench.catch_up()
        bench.start()
        assert bench.runner.next == 3

    def test_refused_again(self) -> None:
        """A refusal may be repeated after a restart: whoever keeps them knows them by their offset."""
        bench = Bench("a! a b")
        bench.catch_up()
        bench.tenants["b"].position = 0
        bench.start()
        bench.catch_up()
        assert [bad.record.offset for bad in bench.refused] == [0, 0]
        assert bench.given("a") == [1]


class TestTrouble:
    """An error leaves the runner where `rewind` and `catch_up` find everything again."""

    @pytest.mark.parametrize("call", ["take", "advance", "go_live"])
    @pytest.mark.parametrize("name", ["a", "b"])
    def test_a_tenant_that_fails_while_catching_up(self, name: str, call: str) -> None:
        """Whichever tenant it is, the other one loses nothing and gets nothing twice."""
        bench = Bench("a b a b a! b", piece=4)
        bench.tenants[name].trouble = once(call)
        with pytest.raises(Trouble):
            bench.catch_up()
        bench.runner.rewind()
        bench.catch_up()
        bench.check()
        assert [tenant.live_at[-1:] for tenant in bench.tenants.values()] == [[6], [6]]

    @pytest.mark.parametrize("name", ["a", "b"])
    @pytest.mark.parametrize("rewind", [True, False])
    def test_a_tenant_that_fails_live(self, name: str, rewind: bool) -> None:
        """What it did not take is brought again or read again."""
        bench = Bench("a b")
        bench.catch_up()
        bench.tenants[name].trouble = once("take")
        bench.log.append("a b ? a b")
        with pytest.raises(Trouble):
            bench.runner.take(bench.log.at(2, 3, 4))
        if rewind:
            bench.runner.rewind()
            assert not bench.runner.live
            bench.catch_up()
        else:
            bench.runner.take(bench.log.at(5, 6))
        bench.check()

    def test_in_the_midst_of_a_gap(self) -> None:
        """Part of a gap was filled when it failed."""
        bench = Bench("a a a a a a", tenants="a", piece=2)
        left = [2]

        def third(call: str) -> None:
            left[0] -= call == "take"
            if left[0] < 0:
                left[0] = 99
                raise Trouble

        bench.tenants["a"].trouble = third
        with pytest.raises(Trouble):
            bench.runner.take(bench.log.at(5))
        assert bench.given("a") == [0, 1, 2, 3]
        bench.runner.rewind()
        bench.catch_up()
        bench.check()

    def test_a_quarantine_that_fails(self) -> None:
        """What cannot be refused is not passed over."""
        bench = Bench("a a! b")
        bench.refused.trouble = once("refuse")
        with pytest.raises(Trouble):
            bench.catch_up()
        assert bench.given("a") == []
        bench.runner.rewind()
        bench.catch_up()
        bench.check()

    def test_an_error_of_ours_is_no_poison(self) -> None:
        """Only what decoding finds wrong is refused; a mistake in it stops the partition and applies nothing."""

        def broken(key: bytes, value: bytes) -> list[dict[str, object]]:
            raise TypeError("a mistake")

        bench = Bench("a")
        tenants = {b"a": bench.tenants["a"]}
        runner = PartitionRunner(0, bench.log, tenants, broken, bench.refused.refuse)
        with pytest.raises(TypeError):
            runner.catch_up()
        assert (bench.tenants["a"].position, list(bench.refused), runner.next) == (0, [], 0)

    def test_times_of_what_failed(self) -> None:
        """The time that a message was produced is told before it is given, and again when it is given again."""
        bench = Bench()
        bench.catch_up()
        record = LogRecord(0, b"a", b'[{"tenant": "a"}]', 1234)
        bench.log.records, bench.log.size = [record], 1
        bench.tenants["a"].trouble = once("take")
        with pytest.raises(Trouble):
            bench.runner.take([record])
        bench.runner.take([record])
        assert bench.tenants["a"].times == {1: 1234}
        assert decode(b"a", record.value or b"") == bench.tenants["a"].given[0].changes
