"""Values at the door: what cannot be taken says so in a line that can be shown anywhere."""

from __future__ import annotations

import pytest

from ingest.values import REASON_CHARS_MAX, Bad, Values, show
from schemas.config import Config


def test_a_reason_is_one_bounded_line_whatever_came_in() -> None:
    """What a source sent may stand in it: control characters, escapes of a terminal and halves of characters do not."""
    assert Bad("x", "deal.\x1b[31m\r\nred\ud800 is not known").reason == "deal.?[31m??red? is not known"
    long = Bad("x", "y" * 100_000).reason
    assert long == "y" * REASON_CHARS_MAX + "…"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\tb", '"a?b"'), ("x" * 80, '"' + "x" * 80 + '"'), ("x" * 81, '"' + "x" * 80 + '…"'), (None, '"None"')],
)
def test_a_value_in_a_message(value: object, shown: str) -> None:
    """In quotation marks, on one line, at most 80 characters of it."""
    assert show(value) == shown


@pytest.mark.parametrize("raw", [-(10**14) + 1, -62_135_596_800_001])
def test_a_time_before_the_year_1(raw: int) -> None:
    """It is in the range of milliseconds and of no calendar: refused, and nothing raises."""
    with pytest.raises(Bad) as refused:
        Values(Config()).scalar("time", raw, "seen")
    assert refused.value.code == "bad_date"
    assert str(raw) in refused.value.reason
