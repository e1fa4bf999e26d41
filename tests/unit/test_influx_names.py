"""Names in InfluxDB: every text has a safe form of its own, and no text gets out of a Flux literal."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import flux
from storage.influx_names import decode_tag, encode_tag, measurement_of

HOSTILE = [
    "",
    "-",
    "---",
    " ",
    "  lead and trail  ",
    "O'Hara",
    'say "hi"',
    "back\\slash\\",
    "two\nlines\r\n",
    "\x00\x1f\x7f\x85\u2028\u2029",
    '") |> drop() //',
    "${v.timeRangeStart}",
    "$x ${x} $",
    "`tick` | pipe",
    "%41 100% %",
    "a,b=c d",
    "日本 Ünï é",
    "\N{FAMILY} 👩\u200d👩\u200d👧",
    "\ud800",
    "\udfff\ud83d\ude00😀",
]
#: All that HOSTILE has, often: any text, and texts of the characters that are special somewhere.
texts = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text(st.sampled_from("%2541-ABCabc \"'\\$`|{}\n\r\t\x00\x7f\x85\u2028,=#/()é😀\ud800\ude00")),
)


class TestTags:
    """encode_tag and decode_tag."""

    @pytest.mark.parametrize("text", HOSTILE, ids=ascii)
    def test_hostile_names_come_back(self, text: str) -> None:
        """Each comes back as it was."""
        assert decode_tag(encode_tag(text)) == text

    @given(texts)
    def test_every_text_comes_back(self, text: str) -> None:
        """So no two texts share a form."""
        assert decode_tag(encode_tag(text)) == text

    @given(texts)
    def test_a_form_needs_no_escape(self, text: str) -> None:
        """It is not empty, has nothing that quotes, escapes, interpolates or splits, and UTF-8 can carry it."""
        tag = encode_tag(text)
        assert tag
        assert tag == tag.strip(" ")
        assert not re.search("[\"'\\\\$`|\x00-\x1f\x7f\x85\u2028\u2029]", tag)
        assert tag.encode("utf-8")

    @given(texts)
    def test_only_forms_are_decoded(self, tag: str) -> None:
        """What encode_tag gives for no text is refused, whatever it is; all else is a form of what it decodes to."""
        try:
            text = decode_tag(tag)
        except ValueError:
            return
        assert encode_tag(text) == tag

    @pytest.mark.parametrize("tag", ["", "%41", "%zz", "%", "a%c3", "%FF", "%C3", " a", 'a"', "a\n"])
    def test_what_is_no_form_is_refused(self, tag: str) -> None:
        """A tag that somebody else wrote is not taken for one of ours."""
        with pytest.raises(ValueError, match="no encoded tag"):
            decode_tag(tag)

    def test_the_forms_of_the_layout(self) -> None:
        """The forms on which queries and boards rely: plain names stay as they are."""
        forms = {
            "": "-",
            "-": "--",
            "a-b": "a-b",
            "2017-Q2": "2017-Q2",
            "O'Hara": "O%27Hara",
            "Anna Snelling": "Anna Snelling",
        }
        assert {text: encode_tag(text) for text in forms} == forms
        assert encode_tag(' a"\n') == "%20a%22%0A"
        assert (measurement_of("value"), measurement_of("landing_p50")) == ("kpi", "target")


def _read_literal(source: str) -> str:
    """What Flux makes of a string literal: its escapes are \\n \\r \\t \\" \\\\ \\${ and \\xNN."""
    assert source[0] == source[-1] == '"'
    inner = source[1:-1]
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inner), "a quote ends the literal"
    assert not re.search(r"(?<!\\)(?:\\\\)*\$\{", inner), "an expression begins in the literal"
    named = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "${": "${"}
    return re.sub(r'\\(?:x([0-9a-f]{2})|(\$\{|[nrt"\\]))', lambda m: chr(int(m[1], 16)) if m[1] else named[m[2]], inner)


class TestLiterals:
    """Flux literals."""

    @given(texts)
    def test_no_text_gets_out(self, text: str) -> None:
        """Flux reads the very text; only what UTF-8 cannot carry is replaced."""
        assert _read_literal(flux.literal(text)) == re.sub("[\ud800-\udfff]", "\ufffd", text)

    @pytest.mark.parametrize("text", HOSTILE, ids=ascii)
    def test_hostile_texts_are_one_line(self, text: str) -> None:
        """A literal is one line of printable ASCII where the text is."""
        assert not re.search("[\x00-\x1f\x7f]", flux.literal(text))

    @given(st.integers(-9_000_000_000_000_000, 9_000_000_000_000_000))
    def test_times_to_the_microsecond(self, us: int) -> None:
        """The literal is the moment, before 1970 too."""
        literal = flux.time_literal(us)
        assert (datetime.fromisoformat(literal) - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution == us
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", literal)


class TestQueries:
    """Where names meet Flux."""

    @given(texts)
    def test_a_name_changes_no_query(self, text: str) -> None:
        """Whatever tenant, scope and period are called, the query has the same tokens around its literals."""

        def bones(query: str) -> str:
            return re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)

        plain = flux.series("b", "t", "k", "rep", "s", "p", "value", 0, 1)
        assert bones(flux.series(text, text, text, text, text, text, "value", 0, 1)) == bones(plain)
        plain = flux.series_of_scopes("b", "t", "k", "rep", "p", "value", 0)
        assert bones(flux.series_of_scopes(text, text, text, text, text, "value", 0)) == bones(plain)
        assert re.fullmatch(r'tenant="[^"\\\n]+"', flux.tenant_predicate(text))
