"""Many senders on one webhook server that is killed again and again: is every 2xx in the log, once?

    python -m tests.simulation.hook_load [--senders N] [--seconds S] [--kills K] [--kafka]

Each sender keeps a connection and sends signed single events, each with an id of its own and never the same one again. With a
small queue most are told to come later. After the end the log must hold every event that was answered with 2xx exactly
once, none twice, and none that was answered with 429.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from planwatch.native_servers import KafkaServer
from schemas.stack import KafkaConfig
from storage import kafka_topics
from storage.kafka_log import KafkaLog
from storage.ports import Log
from storage.sqlite_log import SqliteLog
from tests.hooks import event, event_id, make_home, raw_request, start_server
from tests.stack import Role

#: What a sender waits before it sends again, whatever Retry-After says: the queue is to be full.
PAUSE_S = 0.25
#: An answer is waited for so long; it is an error of the server when none comes and the connection stands.
ANSWER_S = 30.0
#: A server that has not accepted enough by then does not work.
ENOUGH_S = 60.0
CUT = 0


@dataclass
class Load:
    """What was sent and how it was answered: by status, or CUT where the connection ended first."""

    until: float = math.inf  # senders send up to this moment of the monotonic clock
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    answered: dict[int, int] = field(default_factory=dict)
    unasked: int = 0  # answers other than 200, 429, 503
    retry_after: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest_s: float = 0.0

    def of(self, *statuses: int) -> set[int]:
        """The events that were answered so."""
        return {number for number, status in self.answered.items() if status in statuses}


@dataclass(frozen=True)
class Verdict:
    """What the log says to it."""

    accepted: int  # answered with 2xx
    missing: int  # of those: not in the log
    twice: int  # in the log more than once
    refused_but_there: int  # answered with 429 and in the log all the same
    other: int  # answered neither 2xx, 429 nor 503
    without_retry_after: int

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return not (self.missing or self.twice or self.refused_but_there or self.other or self.without_retry_after)


async def sender(port: int, load: Load, chance: random.Random) -> None:
    """Send one event after another until the time is over; connect again whenever the connection ended."""
    while time.monotonic() < load.until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(PAUSE_S * chance.random())
            continue
        try:
            while time.monotonic() < load.until:
                number = next(load.numbers)
                load.answered[number] = CUT
                began = time.monotonic()
                writer.write(raw_request(event(number)))
                status, retry_after = await asyncio.wait_for(_answer(reader), ANSWER_S)
                load.longest_s = max(load.longest_s, time.monotonic() - began)
                load.answered[number] = status
                if status != 200:
                    load.retry_after[retry_after or "none"] += 1
                    await asyncio.sleep(PAUSE_S * (0.5 + chance.random()))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the server was killed, or has closed the connection
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str | None]:
    """Status and Retry-After of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", "0")))
    return int(first.split()[1]), headers.get("retry-after")


async def _killer(restart: Callable[[], None], kills: int, seconds: float, chance: random.Random) -> None:
    """Kill the server so many times, at moments spread over the time."""
    began = time.monotonic()
    for number in range(1, kills + 1):
        moment = began + seconds / (kills + 1) * (number + 0.6 * (chance.random() - 0.5))
        await asyncio.sleep(max(moment - time.monotonic(), 0))
        await asyncio.to_thread(restart)


async def run(port: int, senders: int, seconds: float, kills: int, restart: Callable[[], None]) -> Load:
    """Put the load on a server at a port; `restart` kills it and starts it again."""
    chance = random.Random(5)
    began = time.monotonic()
    load = Load(began + seconds)
    tasks = [asyncio.create_task(sender(port, load, chance)) for _ in range(senders)]
    if kills:
        tasks.append(asyncio.create_task(_killer(restart, kills, seconds, chance)))
    await asyncio.gather(*tasks)
    load.seconds = time.monotonic() - began
    return load


async def run_until_stopped(port: int, senders: int, accepted: int, stop: Callable[[], object]) -> Load:
    """Put the load on a server, and go on with it while the server is stopped, once so many events were accepted."""
    load, chance = Load(), random.Random(5)
    tasks = [asyncio.create_task(sender(port, load, chance)) for _ in range(senders)]
    try:
        async with asyncio.timeout(ENOUGH_S):
            while len(load.of(200)) < accepted:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(stop)
    finally:
        load.until = 0
        await asyncio.gather(*tasks)
    return load


def judge(load: Load, log: Log) -> Verdict:
    """Compare the answers with what the log holds."""
    found: Counter[str] = Counter()
    position = 0
    while entries := log.read(position, 1000):
        position = entries[-1].position
        for entry in entries:
            found.update(row["event_id"] for row in orjson.loads(entry.payload))
    accepted, busy = load.of(200), load.of(429)
    return Verdict(
        accepted=len(accepted),
        missing=sum(event_id(number) not in found for number in accepted),
        twice=sum(count > 1 for count in found.values()),
        refused_but_there=sum(event_id(number) in found for number in busy),
        other=len(load.answered) - len(load.of(200, 429, 503, CUT)),
        without_retry_after=load.retry_after["none"],
    )


class Server:
    """`planwatch serve` as a process that can be killed and started again on the same port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.kills = 0
        self.role, self.port = self._start(None)

    def _start(self, port: int | None) -> tuple[Role, int]:
        return start_server(self._home, self._home / f"serve-{self.kills}.log", port)

    def restart(self) -> None:
        """`kill -9`, and start it anew."""
        self.role.kill()
        self.kills += 1
        self.role, _ = self._start(self.port)


@contextmanager
def kafka_settings(folder: Path, broker: KafkaServer, prefix: str) -> Iterator[tuple[dict[str, Any], Log]]:
    """The setting `kafka` for a home on this broker, its topics made, and the log."""
    config = KafkaConfig(bootstrap=broker.bootstrap, prefix=prefix, partitions=2)
    kafka_topics.apply(config, [])
    with closing(KafkaLog(config, "default")) as log:
        yield {"kafka": {"bootstrap": broker.bootstrap, "prefix": prefix, "partitions": 2}}, log


def campaign(home: Path, log: Callable[[], Log], senders: int, seconds: float, kills: int) -> tuple[Load, Verdict]:
    """Load on a server of a home, kills in the middle, an end in peace; then what the log says."""
    server = Server(home)
    try:
        load = asyncio.run(run(server.port, senders, seconds, kills, server.restart))
    finally:
        code = server.role.stop()
    assert code == 0, server.role.tail()
    assert server.kills == kills
    return load, judge(load, log())


def table(name: str, senders: int, kills: int, load: Load, verdict: Verdict) -> str:
    """The result as lines of text."""
    rate = verdict.accepted / load.seconds
    by = Counter(load.answered.values())
    there = f"missing {verdict.missing}, twice {verdict.twice}, refused and there {verdict.refused_but_there}"
    lines = [
        f"{name}: {senders:,} senders, {load.seconds:.0f} s, {kills} kills",
        f"  sent {len(load.answered):,}: {by[200]:,} × 200 ({rate:,.0f} a second), {by[429]:,} × 429, {by[503]:,} × 503",
        f"  connection cut {by[CUT]:,}, other answers {verdict.other:,}, slowest answer {load.longest_s:.2f} s",
        f"  Retry-After (seconds → answers): {dict(load.retry_after)}",
        f"  in the log: {there} → {'as it must be' if verdict.good else 'WRONG'}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run as the command line says and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--senders", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--queue", type=int, default=200)
    parser.add_argument("--kafka", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limits = {"queue_requests_max": options.queue}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        args = (options.senders, options.seconds, options.kills)
        if options.kafka:
            with (
                KafkaServer(folder / "kafka") as broker,
                kafka_settings(folder, broker, "load") as (settings, log),
            ):
                load, verdict = campaign(make_home(folder / "home", limits, **settings), lambda: log, *args)
        else:
            home = make_home(folder / "home", limits)
            load, verdict = campaign(home, lambda: SqliteLog(home / "data" / "log.sqlite"), *args)
    print(table("Kafka" if options.kafka else "embedded", options.senders, options.kills, load, verdict))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
