"""A small text file that somebody may exchange while we run, such as a secret: read again when it changes."""

from __future__ import annotations

from pathlib import Path


class Unreadable(Exception):
    """A file's text cannot be had. The message says why, as the end of a sentence about the file, and shows none of it."""


class TextFile:
    """The text of a file as it is now. Not to be used by several threads at once."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._stamp: tuple[int, ...] | None = None
        self._text = ""

    def read(self) -> str:
        """The text, out of memory while the file is the same. Raises Unreadable where it is gone, too long or no text.

        After a failure nothing is remembered, so the file is read whatever it is next.
        """
        stamp, self._stamp = self._stamp, None
        try:
            # Before it is read: what is written meanwhile has another stamp than this.
            found = self.path.stat()
            now = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if now != stamp:
                self._text = self._read()
        except OSError as error:
            raise Unreadable(f"cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise Unreadable("is not UTF-8 text") from None  # the error itself would show the bytes
        self._stamp = now
        return self._text

    def _read(self) -> str:
        with self.path.open("rb") as file:
            content = file.read(self._bytes_max + 1)
        if len(content) > self._bytes_max:
            raise Unreadable(f"has more than {self._bytes_max:,} bytes")
        return content.decode("utf-8")
