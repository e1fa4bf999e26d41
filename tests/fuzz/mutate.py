"""Broken inputs out of valid ones: JSON whose parts are gone, doubled or something else, text and bytes with damage."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any


class Token(str):
    """A text that stands in JSON as it is, without quotes: what no Python value is written as."""

    __slots__ = ()


def _nested(opening: str, closing: str, depth: int) -> Token:
    return Token(opening * depth + "1" + closing * depth)


#: Numbers at and beyond every edge: of 32 and 64 bits, of doubles, of decimals, of what Python turns into an int.
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 9, 10, 1000, 0.5, -0.0, 1e15, 19_874, 1_714_521_600, 1_714_521_600_123, 1_714_521_600_123_000,
    2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**13, 10**14, 10**18, 10**22, -(10**14),
    253_402_300_800_000, -62_135_596_800_001, 8_640_000_000_000_001,
    Token("1e400"), Token("1e-400"), Token("1e401"), Token("-1E+99999999999999999999"), Token("0e-999999999"), Token("1.0"),
    Token("NaN"), Token("Infinity"), Token("-Infinity"), Token("9" * 400), Token("9" * 5_000), Token("0." + "1" * 3_000),
    Token("-0"), Token("1e0"), Token("01"), Token("+1"), Token(".5"), Token("0x10"),
)  # fmt: skip
#: Texts that are nearly something.
TEXTS: tuple[str, ...] = (
    "", " ", "\t", "0", "-1", "--5", "+-1", "1_000", "1,5", "1.5.", "1e5000", "9" * 25, "9" * 5_000, "NaN", "Infinity", "-0",
    "٣٤", "²", "½", "true", "null", "None", "no", "\ud800", "\udfff\ud800", "\x00", "a\x00b", "\ufeff", "\u2028", "\x85", "\x1f",
    "é" * 401, "a" * 400, "a" * 401, "x" * 10_001, "\U0001f600" * 200, "=1+1", "'", '"', "\\", "<script>", "{{ 7 * 7 }}", "%s",
    "2024-05-31", "2024-02-30", "2024-13-01", "0000-00-00", "0001-01-01", "9999-12-31", "10000-01-01", "1969-12-31", "2024-5-1",
    "2024-05-31T24:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2024-05-31T10:00:60Z",
    "2024-05-31T10:00:00+99:99", "2024-05-31T10:00:00.123456789Z", "2024-05-31 10:00 Z", "2024-05-31T10:00:00 +0200",
    "0x", "0x0", "0x6", "0xFFFFFFFFFFFFFFFFFFFF", "5-0x1", "5-0x2", "99999-0x1", "1-", "0x" + "f" * 3_000, "4-0xG",
    "[", "{}", "[1]", '{"$oid": "x"}', '["1","2"]', "[null]", '["a"]', "FA==", "____", "====", "AAAAAAAA", "gA==", "a.b", "a..b",
    "__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==", "UPDATE", "GAP_UPDATE", "GAP_OVERFLOW", "GAP_",
    "deal.merge", "deal.", ".", "object.creation", "0-3", "DEAL_TO_COMPANY", "_TO_", "application/json", "1.0", "2.0",
    "00000025:00000d98:00a2", "ffffffff:ffffffff:ffff", "::", "binlog.000003", "mysql-bin.99999999999", "1513733,1513734", ",",
)  # fmt: skip
#: Values with parts.
SHAPES: tuple[Any, ...] = (
    None, True, False, [], {}, [None], [[]], [{}], {"": ""}, {"a": {"b": {"c": 1}}}, ["a"] * 50, {"$oid": None}, {"$date": {}},
    {"$numberLong": "9" * 64}, {"$numberDecimal": "NaN"}, {"$numberDecimal": "1E+6144"}, {"$numberInt": "1e9"},
    {"$date": {"$numberLong": "99999999999999999999"}}, {"scale": "--5", "value": "AA=="}, {"scale": 1000, "value": "fw=="},
    {"scale": -1000, "value": "fw=="}, {"scale": None, "value": 1}, {"FirstName": "A", "LastName": None}, {"LastName": {}},
    {"City": 7}, {"op": "u"}, {"payload": None}, {"payload": {"payload": {}}},
    *(_nested(o, c, depth) for o, c in (("[", "]"), ('{"a":', "}")) for depth in (5, 31, 33, 99, 101, 400)),
)  # fmt: skip
#: Depths at which a parser that calls itself would fall over. Rare: such a text is long.
BOMBS = (1_500, 20_000, 100_000)
LONE = ("\ud800", "\udc00", "\udbff\ud800")
BYTES: tuple[bytes, ...] = (
    b"\0", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5", b"\x80", b'"', b"\\", b",",
    b";", b"\n", b"\r", b"\r\n", b"\n\n", b"\t", b"{", b"}", b"[", b"]", b":", b"\\u0000", b"\\ud800", b"null", b"1e999", b"%", b"&",
    b"'", b"=", b" ", b"-", b"\xe2\x80\xa8", b"\x85", b"\x0c", b"\x1b", b"*a", b"!!", b"<<: ", b"---\n", b"? ", b"|", b">",
)  # fmt: skip


class Mutator:
    """Damage of every kind, drawn from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def often(self, share: float) -> bool:
        """True in this share of the cases."""
        return self.chance.random() < share

    def pick(self, values: Sequence[Any]) -> Any:
        """One of these."""
        return values[int(self.chance.random() * len(values))]

    def value(self) -> Any:
        """Any value of JSON, most of them at some edge."""
        kind = self.chance.random()
        if kind < 0.4:
            return self.pick(TEXTS)
        if kind < 0.7:
            return self.pick(NUMBERS)
        if kind < 0.998:
            return copy.deepcopy(self.pick(SHAPES))
        opening, closing = self.pick((("[", "]"), ('{"a":', "}")))
        return _nested(opening, closing, self.pick(BOMBS))

    def text(self, given: str = "") -> str:
        """A text: one at an edge, or the given one with damage."""
        if not given or self.often(0.5):
            return str(self.pick(TEXTS))
        at = self.chance.randrange(len(given) + 1)
        piece = self.pick((*LONE, "\0", self.pick(TEXTS)[:20], given, ""))
        return f"{given[:at]}{piece}{given[at + self.chance.randrange(4) :]}"

    def json(self, valid: Any, most: int = 4) -> Any:
        """A copy of a value with up to so many mutations, at any depth; sometimes none."""
        value = copy.deepcopy(valid)
        for _ in range(self.chance.randrange(most + 1)):
            value = self._once(value)
        return value

    def _once(self, value: Any) -> Any:
        """The value with one part, found by walking down at random, changed."""
        if not isinstance(value, dict | list) or not value or self.often(0.02):
            return self.value()
        node = value
        while True:
            at = self.pick(list(node)) if isinstance(node, dict) else self.chance.randrange(len(node))
            inner = node[at]
            if isinstance(inner, dict | list) and inner and self.often(0.7):
                node = inner
                continue
            self._change(node, at)
            return value

    def _change(self, node: Any, at: Any) -> None:
        kind = self.chance.randrange(10)
        if kind < 5:
            node[at] = self.value()
        elif kind == 5:
            del node[at]
        elif kind == 6 and isinstance(node[at], str):
            node[at] = self.text(node[at])
        elif kind == 7:
            other = self.pick(list(node)) if isinstance(node, dict) else self.chance.randrange(len(node))
            node[at], node[other] = node[other], node[at]
        elif kind == 8 and isinstance(node, dict):
            node[self.text(at)] = node.pop(at)
        elif isinstance(node, dict):
            node[self.text()] = self.value()
        else:
            node.insert(at, copy.deepcopy(node[at]))

    def written(self, value: Any) -> bytes:
        """A value as JSON text: keys that stand twice, halves of characters, blanks; most often as anybody writes it."""
        ascii_only = self.often(0.9)
        text = self._text_of(value, ascii_only, twice=self.often(0.1))
        raw = text.encode("utf-8", "surrogatepass")
        return self.pick((b" ", b"\n", b"\xef\xbb\xbf", b"\t\r\n")) + raw if self.often(0.03) else raw

    def _text_of(self, value: Any, ascii_only: bool, twice: bool) -> str:
        if isinstance(value, Token):
            return str(value)
        if isinstance(value, list):
            return "[" + ",".join(self._text_of(item, ascii_only, twice) for item in value) + "]"
        if isinstance(value, dict):
            pairs = [
                f"{json.dumps(name, ensure_ascii=ascii_only)}: {self._text_of(item, ascii_only, twice)}"
                for name, item in value.items()
            ]
            if pairs and twice and self.often(0.3):
                name = json.dumps(self.pick(list(value)), ensure_ascii=ascii_only)
                pairs.append(f"{name}: {self._text_of(self.value(), ascii_only, False)}")
            return "{" + ", ".join(pairs) + "}"
        return json.dumps(value, ensure_ascii=ascii_only)

    def raw(self, valid: bytes, most: int = 3) -> bytes:
        """Bytes with up to so many injuries: bits, pieces, cuts."""
        raw = bytearray(valid)
        for _ in range(self.chance.randint(1, most)):
            at = self.chance.randrange(len(raw) + 1)
            match self.chance.randrange(7):
                case 0 if at < len(raw):
                    raw[at] ^= 1 << self.chance.randrange(8)
                case 1:
                    raw[at:at] = self.pick(BYTES)
                case 2:
                    del raw[at : at + self.chance.randrange(1, 12)]
                case 3:
                    raw[at:at] = raw[at : at + self.chance.randrange(1, 40)]
                case 4:
                    raw[at : at + 1] = self.pick(BYTES)
                case 5:
                    del raw[at:]
                case _:
                    raw[at:at] = self.chance.randbytes(self.chance.randrange(1, 6))
        return bytes(raw)

    def body(self, valid: Any) -> bytes:
        """A valid value, with parts changed, as JSON text, and sometimes with injured bytes."""
        raw = self.written(self.json(valid))
        return self.raw(raw) if self.often(0.25) else raw
