"""`kill -9` at any moment: what was acknowledged is there, nothing is there twice, nothing is torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.file_snapshots import FileSnapshots
from storage.sqlite_log import SqliteLog

ROOT = Path(__file__).parents[2]

#: Appends numbered messages in batches of varying size, from where the log ends; prints what was acknowledged.
APPENDER = """
import sys
from pathlib import Path
from storage.sqlite_log import SqliteLog
log = SqliteLog(Path(sys.argv[1]))
while True:
    end = log.end()
    size = end % 7 + 1
    position = log.append([b"%d:" % (end + i + 1) + b"x" * 5000 for i in range(size)])
    print(position, flush=True)
"""

#: Saves ever newer states; prints what was acknowledged.
SAVER = """
import sys
from pathlib import Path
from storage.file_snapshots import FileSnapshots
store = FileSnapshots(Path(sys.argv[1]))
position = (store.latest() or (0, b""))[0]
while True:
    position += 1
    store.save(position, b"%d:" % position * 100_000)
    print(position, flush=True)
"""


def killed(source: str, path: Path, chance: random.Random) -> int:
    """Run a program, kill it while it works, and give the last position that it acknowledged.

    The moment of the kill is a number of acknowledgements and a stretch of spinning after them, so that it falls
    anywhere within the next write.
    """
    command = [sys.executable, "-c", source, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(chance.randint(1, 15))]
        sum(range(chance.randint(0, 200_000)))
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()  # what it said before it died
    assert process.returncode == -signal.SIGKILL
    return int([line for line in acknowledged if line.endswith("\n")][-1])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_log_survives_kills(tmp_path: Path, seed: int) -> None:
    """After each of several kills every acknowledged message is there once, in its place, in whole batches."""
    chance = random.Random(seed)
    path = tmp_path / "log.sqlite"
    for _ in range(5):
        acknowledged = killed(APPENDER, path, chance)
        log = SqliteLog(path)
        entries = log.read(0, 1_000_000)
        log.close()
        assert len(entries) >= acknowledged
        assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))
        assert all(entry.payload == b"%d:" % entry.position + b"x" * 5000 for entry in entries)
        ends = [0]
        while ends[-1] < len(entries):
            ends.append(ends[-1] + ends[-1] % 7 + 1)
        assert ends[-1] == len(entries)  # a batch is stored whole or not at all


@pytest.mark.parametrize("seed", [1, 2])
def test_snapshots_survive_kills(tmp_path: Path, seed: int) -> None:
    """After each of several kills the newest acknowledged state, or a newer one, verifies."""
    chance = random.Random(seed)
    for _ in range(5):
        acknowledged = killed(SAVER, tmp_path, chance)
        found = FileSnapshots(tmp_path).latest()
        assert found is not None
        position, payload = found
        assert position >= acknowledged
        assert payload == b"%d:" % position * 100_000
