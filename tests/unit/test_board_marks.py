"""The small drawings: places, scales and sums."""

from __future__ import annotations

import re
from decimal import Decimal

from boards import charts, marks
from boards.page import lines
from schemas.board import Movement, MovementBar
from tests.browser.sample_board import SampleSource

D = Decimal


def _x(svg: str, kind: str) -> float:
    found = re.search(rf'class="{kind}" x1?="([\d.]+)%"', svg)
    assert found, svg
    return float(found[1])


def test_bullet_places_everything_on_one_scale() -> None:
    """Target, expected and landing stand where their share of the scale says."""
    svg = marks.bullet(D(50), D(80), D(60), D(70), D(75), D(90), state="at_risk", label='a "b" <c>', top=D(100))
    assert (_x(svg, "b-target"), _x(svg, "b-tick"), _x(svg, "b-band"), _x(svg, "b-middle")) == (80, 60, 70, 75)
    assert re.search(r'class="b-bar" x="0.0%" width="50.0%"', svg)
    assert "<c>" not in svg
    assert "style=" not in svg


def test_bullet_survives_missing_and_odd_values() -> None:
    """No actual, no landing, a negative actual, a target of zero: a drawing, never an error or a place outside."""
    for actual, target in ((None, D(10)), (D(-5), D(10)), (D(0), D(0)), (D(30), D(10))):
        svg = marks.bullet(actual, target, None, None, None, None, state="no_data", label="x")
        assert all(0 <= float(v) <= 100 for v in re.findall(r'(?:x|x1|width)="([\d.-]+)%"', svg))


def test_waterfall_bars_hang_together() -> None:
    """Each bar begins where the one before ended, whichever sign convention the amounts use; zero bars are left out."""
    names = [
        ("opening", 100, 0),
        ("created", 80, 1),
        ("reopened", 0, 1),
        ("won", -60, -1),
        ("lost", 20, -1),
        ("closing", 100, 0),
    ]
    bars = tuple(MovementBar(name=n, amount=D(a), sign=s) for n, a, s in names)
    steps = marks.waterfall(Movement(title="t", from_at=0, to_at=1, bars=bars))
    assert [(s.bar.name, s.start, s.end) for s in steps] == [
        ("opening", 0, 100), ("created", 100, 180), ("won", 180, 120), ("lost", 120, 100), ("closing", 0, 100)
    ]  # fmt: skip
    assert marks.waterfall_scale(steps) == (0, 180)


def test_waterfall_of_small_moves_is_readable() -> None:
    """Where all that moves is a sliver of the level, the scale begins higher, below every level."""
    bars = tuple(
        MovementBar(name=n, amount=D(a), sign=s)
        for n, a, s in (("opening", 1000, 0), ("won", 10, -1), ("closing", 990, 0))
    )
    low, high = marks.waterfall_scale(marks.waterfall(Movement(title="t", from_at=0, to_at=1, bars=bars)))
    assert 0 < low < 990
    assert high == 1000


def test_rows_are_sorted_by_what_is_at_stake() -> None:
    """On every level the row with most at stake comes first, its children right below it."""
    found = list(lines(SampleSource().view("company", "", None, None).rows))
    assert len(found) == 4 + 8 + 40
    assert len({line.key for line in found}) == len(found)
    by_parent: dict[str, list[D]] = {}
    for n, line in enumerate(found):
        by_parent.setdefault(line.parent, []).append(line.row.at_stake)
        assert not line.parent or any(before.key == line.parent for before in found[:n])
    assert all(stakes == sorted(stakes, reverse=True) for stakes in by_parent.values())


def test_burnup_is_one_definition_for_every_medium() -> None:
    """Page and file draw the same layers from the same data sets; only colours differ, and the page's are variables."""
    page, light = charts.burnup_spec("page"), charts.burnup_spec("light")
    assert [layer["mark"]["type"] for layer in page["layer"]] == [layer["mark"]["type"] for layer in light["layer"]]
    assert "var(--ink)" in str(page)
    assert "var(" not in str(light)
    view = SampleSource().view("company", "", None, None)
    data = charts.burnup_data(view)
    assert len(data["points"]) == len(view.curve)
    assert {label["text"].split()[0] for label in data["labels"]} == {"Actual", "Plan", "Landing"}
    assert len(data["marks"]) == 3


def test_burnup_thins_a_long_curve() -> None:
    """A plan over ten years is drawn with a bounded number of points and keeps its last day."""
    view = SampleSource().view("company", "", None, None)
    long = view.model_copy(update={"curve": view.curve * 60})
    points = charts.burnup_data(long)["points"]
    assert len(points) <= charts.DAYS_MAX + 1
    assert points[-1]["t"] == charts.burnup_data(view)["points"][-1]["t"]
