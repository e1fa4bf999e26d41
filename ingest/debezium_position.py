"""Where a Debezium event stands in its database's log, as one number that orders the changes of each record.

The version is the place in the order of *commits* where the connector tells it, since a snapshot sees a transaction by
when it was committed and not by when it wrote. Changes of one transaction follow by their sequence; rows of a snapshot
have sequence 0, so that at one position the stream wins.

| database | version | sequence |
| --- | --- | --- |
| PostgreSQL | `lsn`, at least the last commit's | 8-byte steps from the last commit back, or `total_order` |
| MySQL, MariaDB | number of the binlog `file`, `pos` | `row` |
| SQL Server, Db2 | `commit_lsn` | `total_order`, else from `change_lsn` |
| Oracle | `commit_scn`, else `scn` | `total_order`, else from `scn` |
| MongoDB | second, `ord` | `total_order` |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ingest.values import Bad, show
from schemas.change import INT64_MAX, SEQUENCE_MAX

_FILE_NUMBER = re.compile(r"\.(\d{1,10})$", re.ASCII)
_LSN = re.compile(r"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,4})", re.ASCII)
#: Bits of the parts of an SQL Server LSN: virtual log file, 512-byte block in it (32 GiB), record in the block (60 KiB).
_LSN_BITS = (25, 26, 12)
#: PostgreSQL begins each record of its log at a multiple of 8 bytes.
_WAL_ALIGNMENT = 8


class Position(NamedTuple):
    """An event's version and its sequence within it."""

    version: int
    sequence: int


def position_of(source: dict[str, Any], transaction: Any, *, snapshot: bool) -> Position | None:
    """The position in the `source` block of an event, or none where it has none; `Bad` for one that makes no sense."""
    for name, read in _READERS.items():
        if source.get(name) is not None:
            version, sequence = read(source)
            if version > INT64_MAX:
                raise Bad(
                    "bad_version", f"the position in source.{name} {show(source[name])} is not below 2^63; {_MAP}"
                )
            if snapshot:
                return Position(version, 0)
            order = transaction.get("total_order") if isinstance(transaction, dict) else None
            if order is not None and name != "file":  # a row's place in its binlog event says it better
                sequence = _whole(order, "transaction.total_order")
            return Position(version, min(max(sequence, 1), SEQUENCE_MAX))
    return None


_MAP = "name a column that grows with each change as the `version` in the mapping"


def _postgres(source: dict[str, Any]) -> tuple[int, int]:
    lsn = _whole(source["lsn"], "source.lsn")
    committed = _last_commit(source.get("sequence"))
    # A transaction that began before the last commit may hold smaller positions than it, and than a snapshot that did
    # not see it: the last commit's is then the version, and the distance from it keeps the transaction's own order.
    return max(lsn, committed), _back(committed - lsn, _WAL_ALIGNMENT)


def _last_commit(sequence: Any) -> int:
    """The first of the two positions in PostgreSQL's `sequence` ("[\\"24023119\\",\\"24023128\\"]"), 0 without it."""
    if not isinstance(sequence, str) or len(sequence) > 100:
        return 0
    try:
        first = json.loads(sequence)[0]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return 0
    return 0 if first is None else _whole(first, "source.sequence")


def _mysql(source: dict[str, Any]) -> tuple[int, int]:
    file = source["file"]
    number = _FILE_NUMBER.search(file) if isinstance(file, str) else None
    if number is None:
        raise Bad("bad_version", f"source.file {show(file)} does not end in a number; {_MAP}")
    pos = _whole(source.get("pos"), "source.pos")
    if pos >= 1 << 32:
        raise Bad("bad_version", f"source.pos {show(pos)} is not below 2^32; {_MAP}")
    return int(number[1]) << 32 | pos, _whole(source.get("row") or 0, "source.row") + 1


def _sqlserver(source: dict[str, Any]) -> tuple[int, int]:
    commit = _lsn(source["commit_lsn"], "source.commit_lsn")
    changed = source.get("change_lsn")
    change = commit if changed in (None, "NULL") else _lsn(changed, "source.change_lsn")
    return commit, _back(commit - change, 1)


def _lsn(value: Any, what: str) -> int:
    """The three hexadecimal parts of an LSN ("00000025:00000d98:00a2") as one number in the same order."""
    match = _LSN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Bad("bad_version", f"{what} {show(value)} is not an LSN such as 00000025:00000d98:00a2; {_MAP}")
    packed = 0
    for text, bits in zip(match.groups(), _LSN_BITS, strict=True):
        part = int(text, 16)
        if part >> bits:
            raise Bad("bad_version", f"{what} {show(value)} does not fit in 63 bits; {_MAP}")
        packed = packed << bits | part
    return packed


def _oracle(source: dict[str, Any]) -> tuple[int, int]:
    commit, scn = source.get("commit_scn"), source.get("scn")
    if commit is None:  # a row of a snapshot
        return _whole(scn, "source.scn"), SEQUENCE_MAX
    # Of a cluster each instance's thread may be named: the greatest is where the transaction was committed.
    parts = commit.split(",") if isinstance(commit, str) else [commit]
    committed = max(_whole(part, "source.commit_scn") for part in parts)
    return committed, _back(committed - (committed if scn is None else _whole(scn, "source.scn")), 1)


def _mongodb(source: dict[str, Any]) -> tuple[int, int]:
    second = _whole(source.get("ts_ms"), "source.ts_ms") // 1000
    order = 0 if source["ord"] == -1 else _whole(source["ord"], "source.ord")  # -1: before the first
    if second >= 1 << 32 or order >= 1 << 31:
        raise Bad("bad_version", f"source.ts_ms and source.ord ({second} s, {order}) do not fit in 63 bits; {_MAP}")
    return second << 31 | order, 1


def _back(distance: int, step: int) -> int:
    """A sequence that grows towards a commit: the greatest at it, and for what lies too far before it the smallest."""
    return SEQUENCE_MAX - min(max(distance, 0) // step, SEQUENCE_MAX - 1)


def _whole(value: Any, what: str) -> int:
    """A whole number from 0 on, also one that is written as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Bad(
            "bad_version", f"{what} {show(value)} is not a whole number from 0 on; send the event as Debezium wrote it"
        )
    return value


#: By the member of `source` that only that database has.
_READERS: dict[str, Callable[[dict[str, Any]], tuple[int, int]]] = {
    "lsn": _postgres,
    "file": _mysql,
    "commit_lsn": _sqlserver,
    "commit_scn": _oracle,
    "scn": _oracle,
    "ord": _mongodb,
}
