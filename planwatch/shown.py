"""Text and bytes that anybody may have written, as people can look at them: nothing hides, moves or commands."""

from __future__ import annotations

from collections.abc import Iterator

SHOWN_BYTES, SHOWN_CHARS = 400, 240
HEX_BYTES = 16


def escaped(text: str, most: int, *, cut: bool = False) -> str:
    """A text of at most so many characters in which nothing is invisible: controls and marks of direction are escaped."""
    written = visible(text[:most])
    return written[:most] + ("…" if cut or len(text) > most or len(written) > most else "")


def visible(text: str) -> str:
    """The text with every character that cannot be seen as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown_bytes(payload: bytes) -> str:
    """The beginning of an input as printable text: what is no UTF-8 and what cannot be printed is escaped."""
    text = payload[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return escaped(text, SHOWN_CHARS, cut=len(payload) > SHOWN_BYTES)


def shown_lines(payload: bytes) -> Iterator[str]:
    """All of an input, line by line: as text where it is UTF-8, else as a hexadecimal dump."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        yield from hex_lines(payload)
        return
    for line in text.removesuffix("\n").split("\n"):
        yield visible(line.removesuffix("\r"))


def hex_lines(payload: bytes) -> Iterator[str]:
    """A dump: offset, HEX_BYTES bytes, and what of them is printable ASCII."""
    for start in range(0, len(payload), HEX_BYTES):
        part = payload[start : start + HEX_BYTES]
        ascii_text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * HEX_BYTES - 1}}  {ascii_text}"
