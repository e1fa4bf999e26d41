"""Names in InfluxDB: tags hold data (an id of a rep may be any text), so they are written in a safe form.

The safe form needs no escape in a Flux string literal, in a delete predicate or in a Grafana variable, and is never empty,
because InfluxDB knows no empty tags. `decode_tag(encode_tag(text)) == text` for every text, lone surrogates too.
"""

from __future__ import annotations

import re

# Quotes, escapes, what Flux and Grafana interpolate or split, what ends a line, what UTF-8 has no bytes for.
_UNSAFE = re.compile("[%\"'\\\\$`|\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]|\\A |" + r" \Z")
_ENCODED = re.compile("(?:%[0-9A-F]{2})+")


def encode_tag(text: str) -> str:
    """The form under which a text is stored as a tag: `%XX` for unsafe characters, `-` for the empty text.

    A text made only of dashes gets one more, so that no two texts share a form.
    """
    if not text.strip("-"):
        return text + "-"
    return _UNSAFE.sub(_percent, text)


def decode_tag(tag: str) -> str:
    """The text behind a tag. Raises ValueError for what `encode_tag` never gives."""
    if tag and not tag.strip("-"):
        return tag[:-1]
    try:
        text = _ENCODED.sub(_plain, tag)
    except UnicodeDecodeError:
        text = ""
    if encode_tag(text) != tag:
        raise ValueError(f"«{tag}» is no encoded tag")
    return text


#: The fields of a KPI's points: its value, and 1 where it has none.
KPI_FIELDS = frozenset({"value", "no_value"})


def measurement_of(field: str) -> str:
    """The measurement in which a point's field lives: `kpi` for the value of a KPI, `target` for those of a target."""
    return "kpi" if field in KPI_FIELDS else "target"


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _plain(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogatepass")
