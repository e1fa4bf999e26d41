"""One watched folder: which files in it are complete, which were taken in already, and what stands in the way."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from schemas.base import PlanwatchError
from schemas.clock import Clock
from storage.backoff import backoff_s
from storage.ports import Journal

#: What programs call a file that they still write.
UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload")
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0


class Stamp(NamedTuple):
    """What tells that a file has not changed. No program can set the time of its last change of any kind (ctime)."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Sighting(NamedTuple):
    """A file as it was seen, and since when (microseconds since 1970-01-01 UTC) it has been like this."""

    stamp: Stamp
    since_us: int


class Trouble(NamedTuple):
    """Why a file or the folder cannot be taken in, how often in a row, and when it is tried again."""

    why: str
    failures: int
    due_us: int


def is_candidate(name: str) -> bool:
    """Whether a file of this name is to be taken: not hidden, and not one that is still written."""
    return not name.startswith((".", "~")) and not name.lower().endswith(UNFINISHED)


def sighted(before: Sighting | None, stamp: Stamp, now_us: int) -> Sighting:
    """A file that is seen now, after it was seen `before`."""
    return before if before is not None and before.stamp == stamp else Sighting(stamp, now_us)


def is_complete(sighting: Sighting, now_us: int, settle_s: float) -> bool:
    """Whether a file has not changed for the settling time: as far as we saw, or as the file itself says.

    One that was moved in whole was last written some time ago, and is complete at first sight.
    """
    unchanged_us = max(now_us - sighting.since_us, now_us - sighting.stamp.mtime_ns // 1000)
    return unchanged_us >= settle_s * 1_000_000


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file's status."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Ledger:
    """What was taken in of one source's folder, in a journal: by name and content, and by how the file looked."""

    def __init__(self, journal: Journal, source: str) -> None:
        self._journal, self._source = journal, source

    def knows(self, name: str, stamp: Stamp) -> bool:
        """Whether the file was taken in as it looks now."""
        return self._journal.get("watched_stamp", self._key(name)) == orjson.dumps(list(stamp))

    def has(self, name: str, digest: str) -> bool:
        """Whether this content was taken in under this name."""
        return self._journal.get("watched", self._key(name, digest)) is not None

    def keep(self, name: str, digest: str, stamp: Stamp, now_us: int) -> None:
        """It is taken in. The content first: after a crash in between, its bytes are read once more and known."""
        self._journal.record("watched", self._key(name, digest), b"%d" % now_us)
        self._journal.put("watched_stamp", self._key(name), orjson.dumps(list(stamp)))

    def _key(self, *parts: str) -> str:
        return orjson.dumps([self._source, *parts]).decode()


class WatchedFolder:
    """Takes each complete file of a folder in, once, the oldest first. It alters nothing in the folder.

    A file is known by its name and its content: what has grown or changed is taken in anew, a file that was only touched
    is not. `take` is given a name for messages and the open file, and raises where it could not take in all of it; the
    file is then taken from its beginning later. Folders within it and symbolic links are left alone.
    """

    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        clock: Clock,
        settle_s: float,
        take: Callable[[str, BinaryIO], None],
        say: Callable[[str], None],
    ) -> None:
        self.path = path
        self._ledger, self._clock, self._settle_s = ledger, clock, settle_s
        self._take, self._say = take, say
        self._sightings: dict[str, Sighting] = {}
        self._troubles: dict[str, Trouble] = {}
        self._left: set[str] = set()  # what is no file, said once
        self._done: dict[str, Stamp] = {}

    @property
    def troubles(self) -> list[str]:
        """What stands in the way now, a sentence each."""
        return [trouble.why for trouble in self._troubles.values()]

    def look(self) -> None:
        """Look once, and take in what is complete."""
        try:
            found = dict(self._files())
        except OSError as error:
            self._sightings.clear()
            why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            self._troubled("", f"{self.path} {why}; files that are put there are taken in as soon as it is")
            return
        self._troubles.pop("", None)
        now = self._clock.now()
        self._sightings = {name: sighted(self._sightings.get(name), stamp, now) for name, stamp in found.items()}
        self._done = {name: stamp for name, stamp in self._done.items() if name in found}
        self._troubles = {name: trouble for name, trouble in self._troubles.items() if name in found}
        for name, sighting in sorted(self._sightings.items(), key=lambda item: (item[1].stamp.mtime_ns, item[0])):
            if self._done.get(name) != sighting.stamp and is_complete(sighting, now, self._settle_s):
                self._try(name, sighting.stamp)

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        with os.scandir(self.path) as entries:
            for entry in entries:
                if not is_candidate(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone in between
                if stat.S_ISREG(status.st_mode):
                    yield entry.name, stamp_of(status)
                elif not stat.S_ISDIR(status.st_mode) and entry.name not in self._left and len(self._left) < 1_000:
                    self._left.add(entry.name)
                    self._say(f"{shown(self.path / entry.name)} is no file (a link or a device) and is left alone.")

    def _try(self, name: str, stamp: Stamp) -> None:
        trouble = self._troubles.get(name)
        if trouble is not None and self._clock.now() < trouble.due_us:
            return
        try:
            taken = self._ledger.knows(shown(name), stamp) or self._read(name, stamp)
        except FileNotFoundError:
            return
        except OSError as error:
            self._troubled(name, f"{shown(self.path / name)} cannot be read ({error.strerror}); it is tried again")
        except PlanwatchError as error:
            self._troubled(name, f"{shown(self.path / name)} is not taken in yet: {error}")
        else:
            self._troubles.pop(name, None)
            if taken:
                self._done[name] = stamp

    def _read(self, name: str, stamp: Stamp) -> bool:
        """Take a file in unless its content is known. False where it changed meanwhile: it is looked at again."""
        # No link is followed, whatever took the file's place, and a pipe does not hold us up.
        handle = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if stamp_of(os.fstat(handle)) != stamp:
                return False
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            if not self._ledger.has(shown(name), digest):
                stream.seek(0)
                self._take(shown(self.path / name), stream)
            if stamp_of(os.fstat(handle)) != stamp:
                return False
        self._ledger.keep(shown(name), digest, stamp, self._clock.now())
        return True

    def _troubled(self, name: str, why: str) -> None:
        before = self._troubles.get(name)
        failures = before.failures + 1 if before else 1
        due = self._clock.now() + int(backoff_s(failures, RETRY_FIRST_S, RETRY_MAX_S) * 1_000_000)
        self._troubles[name] = Trouble(why, failures, due)
        if before is None or before.why != why:
            self._say(why)


def shown(name: str | Path) -> str:
    """A file's name as text that can be printed and stored, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
