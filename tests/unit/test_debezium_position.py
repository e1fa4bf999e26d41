"""Positions in the logs of databases: each database's own order, as one number."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ingest.debezium_position import Position, position_of
from ingest.values import Bad
from schemas.change import SEQUENCE_MAX


def at(source: dict[str, Any], total_order: int | None = None, *, snapshot: bool = False) -> Position:
    transaction = None if total_order is None else {"id": "1", "total_order": total_order}
    found = position_of(source, transaction, snapshot=snapshot)
    assert found is not None
    return found


def mysql(file: int, pos: int, row: int) -> dict[str, Any]:
    return {"connector": "mysql", "gtid": None, "file": f"mysql-bin.{file:06}", "pos": pos, "row": row}


def sqlserver(commit: str, change: str | None) -> dict[str, Any]:
    return {"connector": "sqlserver", "change_lsn": change, "commit_lsn": commit, "event_serial_no": 1}


def oracle(scn: str | None, commit: str | None) -> dict[str, Any]:
    return {"connector": "oracle", "scn": scn, "commit_scn": commit, "txId": "6.28.807"}


def postgres(last_commit: str | None, lsn: int) -> dict[str, Any]:
    committed = "null" if last_commit is None else f'"{last_commit}"'
    return {"connector": "postgresql", "lsn": lsn, "sequence": f'[{committed},"{lsn}"]', "txId": 555}


def mongodb(second: int, order: int) -> dict[str, Any]:
    return {"connector": "mongodb", "ts_ms": second * 1000, "ord": order}


@pytest.mark.parametrize(
    ("source", "version"),
    [
        (postgres("24023119", 24_023_128), 24_023_128),
        ({"lsn": 24_023_128}, 24_023_128),
        (mysql(3, 484, 0), 3 * 4_294_967_296 + 484),
        ({"file": "mariadb-bin.000012", "pos": 154, "row": 0, "gtid": "0-1-5"}, 12 * 4_294_967_296 + 154),
        # 0x27 · 2^38 + 0x758 · 2^12 + 5
        (sqlserver("00000027:00000758:0005", "00000027:00000758:0003"), 39 * 2**38 + 1_880 * 4_096 + 5),
        (oracle("1513733", "1513734"), 1_513_734),
        (oracle("1513733", None), 1_513_733),
        (oracle("2840000", "2840100,2840090"), 2_840_100),
        (mongodb(1_558_965_508, 31), 1_558_965_508 * 2_147_483_648 + 31),
    ],
)
def test_versions(source: dict[str, Any], version: int) -> None:
    """The version of each database, worked out by hand."""
    assert at(source).version == version


@pytest.mark.parametrize(
    "stream",
    [
        [mysql(3, 154, 0), mysql(3, 154, 1), mysql(3, 484, 0), mysql(4, 4, 0), mysql(10, 4, 0)],
        [
            sqlserver("00000025:00000d98:00a2", "00000025:00000d98:0003"),
            sqlserver("00000025:00000d98:00a2", "00000025:00000d98:0010"),
            sqlserver("00000025:00000da0:0002", "00000025:00000d98:0009"),  # began earlier, committed later
            sqlserver("00000026:00000010:0001", "00000026:00000010:0001"),
        ],
        [oracle("100", "120"), oracle("110", "120"), oracle("90", "130"), oracle("131", "131")],
        [
            postgres("1000", 1_008),
            postgres("1000", 1_016),
            postgres("1024", 920),  # a transaction that began before the one that committed at 1024
            postgres("1024", 928),
            postgres("1024", 1_032),
            postgres("1048", 1_056),
        ],
        [mongodb(1_558_965_507, 7), mongodb(1_558_965_508, 1), mongodb(1_558_965_508, 2)],
    ],
    ids=["mysql", "sqlserver", "oracle", "postgresql", "mongodb"],
)
def test_the_order_of_the_stream_is_the_order_of_the_positions(stream: list[dict[str, Any]]) -> None:
    """Later in the stream is greater, also where a transaction began earlier and was committed later."""
    positions = [at(source) for source in stream]
    assert all(earlier < later for earlier, later in pairwise(positions)), positions


@pytest.mark.parametrize(
    ("taken", "later"),
    [
        (postgres(None, 1_000), postgres("1000", 920)),
        (sqlserver("00000025:00000d98:00a2", None), sqlserver("00000025:00000da0:0002", "00000025:00000d98:0009")),
        (oracle("1000", None), oracle("990", "1010")),
        (mysql(3, 154, 0), mysql(3, 154, 0)),
        (mongodb(1_558_965_508, 1), mongodb(1_558_965_508, 1)),
    ],
    ids=["postgresql", "sqlserver", "oracle", "mysql", "mongodb"],
)
def test_a_change_that_a_snapshot_did_not_see_is_newer(taken: dict[str, Any], later: dict[str, Any]) -> None:
    """Written before the snapshot and committed after it, or at its very position: it is newer than the snapshot."""
    assert at(taken, snapshot=True) < at(later)


def test_the_order_in_the_transaction() -> None:
    """`total_order` where it is given, except for MySQL, whose rows are counted anyway; never above its bound."""
    assert at(sqlserver("00000025:00000d98:00a2", "00000025:00000d98:0003"), 5).sequence == 5
    assert at(mysql(3, 154, 2), 5).sequence == 3
    assert at(mongodb(1, 1), 10**9).sequence == SEQUENCE_MAX
    assert at({"lsn": 5}, 7, snapshot=True).sequence == 0


def test_a_database_without_a_position() -> None:
    """Then the time must do."""
    assert position_of({"connector": "vitess", "vgtid": "[…]"}, None, snapshot=False) is None


@pytest.mark.parametrize(
    "source",
    [
        {"lsn": 2**63},
        {"lsn": -1},
        {"lsn": True},
        {"lsn": "9" * 40},
        {"lsn": 5, "sequence": '["x","5"]'},
        {"file": "binlog", "pos": 4},
        {"file": 7, "pos": 4},
        {"file": "mysql-bin.000003", "pos": 2**32},
        {"file": "mysql-bin.000003"},
        {"file": "mysql-bin.4294967296", "pos": 4},
        {"commit_lsn": "00000025:00000d98"},
        {"commit_lsn": "ffffffff:00000d98:00a2"},
        {"commit_lsn": "00000025:00000d98:00a2", "change_lsn": "x"},
        {"commit_scn": "12,x"},
        {"scn": []},
        {"ord": 1},
        {"ord": 1, "ts_ms": 2**50},
    ],
)
def test_what_is_no_position_is_refused(source: dict[str, Any]) -> None:
    """A position that cannot be ordered is never guessed."""
    with pytest.raises(Bad) as caught:
        position_of(source, None, snapshot=False)
    assert caught.value.code == "bad_version"
