"""Snapshots as files: written aside, checked when read, the two newest kept."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from pathlib import Path

from schemas.base import PlanwatchError

MAGIC = b"PLANWSNP"
FORMAT = 1
#: Magic, format, position, length of the payload; a BLAKE2b digest of these and the payload follows.
HEADER = struct.Struct("<8sHQQ")
DIGEST_BYTES = 32
KEPT = 2


def _digest(header: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(header + payload, digest_size=DIGEST_BYTES).digest()


class FileSnapshots:
    """The snapshots port on a folder, which one process writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, position: int, payload: bytes) -> None:
        """Store atomically; on the disk when it returns. An earlier snapshot stays until this one is safe."""
        path = self._folder / f"{position:020d}.snapshot"
        aside = path.with_suffix(".partial")
        header = HEADER.pack(MAGIC, FORMAT, position, len(payload))
        try:
            with aside.open("wb") as file:
                file.write(header + _digest(header, payload))
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            self._sync_folder()
            self._forget_old(path)
        except OSError as error:
            raise PlanwatchError(f"{path}: the snapshot cannot be written: {error.strerror or error}.") from error

    def latest(self) -> tuple[int, bytes] | None:
        """The snapshot with the highest position that verifies, or none. Damaged ones are passed over."""
        for path in reversed(self._paths()):
            found = self._read(path)
            if found is not None:
                return found
        return None

    def clear(self) -> None:
        """Drop everything (before a rebuild)."""
        for path in [*self._paths(), *self._folder.glob("*.partial")]:
            path.unlink(missing_ok=True)
        self._sync_folder()

    def _paths(self) -> list[Path]:
        """Oldest first: the position in the name has a fixed width."""
        return sorted(p for p in self._folder.glob("*.snapshot") if re.fullmatch(r"[0-9]{20}", p.stem))

    def _read(self, path: Path) -> tuple[int, bytes] | None:
        try:
            content = path.read_bytes()
        except OSError:
            return None  # unreadable is as good as damaged: the log has it all
        start = HEADER.size + DIGEST_BYTES
        if len(content) < start:
            return None
        header, digest, payload = content[: HEADER.size], content[HEADER.size : start], content[start:]
        magic, version, position, length = HEADER.unpack(header)
        if (magic, version, length) != (MAGIC, FORMAT, len(payload)) or digest != _digest(header, payload):
            return None
        return position, payload

    def _forget_old(self, saved: Path) -> None:
        kept = {saved, *self._paths()[-KEPT:]}
        for path in [*self._paths(), *self._folder.glob("*.partial")]:
            if path not in kept:
                path.unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        # A rename is durable once the folder is.
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
