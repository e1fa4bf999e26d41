"""From a view to HTML: the sections of a page, each rendered for itself so that only what changed is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from boards import charts, deals_page, health_page, marks
from boards import format as fmt
from boards.address import Address
from boards.format import percent, quantity, quantity_full
from boards.panels import BOARDS, TITLES, TRUST, WORDS
from schemas.alert import Alert
from schemas.board import BoardView, CurvePoint, Deal, DealsView, HealthView, Movement, MovementDeal, Row
from schemas.status import TargetStatus

HERE = Path(__file__).parent
#: The sections in the order of the page: will we make it, where not, what changed, what can be done, is it true.
SECTIONS = ("banner", "headline", "burnup", "where", "changed", "todo", "alerts", "trust")
REP_SECTIONS = ("banner", "headline", "todo", "alerts", "burnup", "changed", "trust")
DEALS_SECTIONS = ("banner", "risk_headline", "risk_scopes", "risk_deals", "trust")
HEALTH_SECTIONS = ("banner", "health_headline", "health_sources", "health_refused", "trust")
ALERTS_MAX = 30
#: What a page is drawn from.
View = BoardView | DealsView | HealthView
LEVELS = ("territory", "team", "rep")


@dataclass(frozen=True)
class Line:
    """A row of the table of scopes, with its place in the tree."""

    key: str
    parent: str  # key of the row above it, "" at the top
    level: int
    row: Row

    @property
    def has_children(self) -> bool:
        """Whether the row opens."""
        return bool(self.row.children)


def lines(rows: tuple[Row, ...], parent: str = "", level: int = 0) -> Iterator[Line]:
    """The rows in reading order, what has most at stake first. A key is a path: a rep may stand in two teams."""
    for row in sorted(rows, key=lambda r: -r.at_stake):
        key = f"{parent}/{row.status.dimension}:{quote(row.status.scope, safe='')}"
        yield Line(key, parent, level, row)
        yield from lines(row.children, key, level + 1)


def reach(status: TargetStatus) -> str:
    """A bullet bar in words."""
    unit, money = status.unit, status.currency
    said = [f"{quantity(status.actual, unit, money)} of {quantity(status.target, unit, money)}"]
    if status.expected is not None:
        said.append(f"expected by now {quantity(status.expected, unit, money)}")
    if status.landing is not None:
        low, high = status.landing.p10, status.landing.p90
        said.append(f"landing {quantity(status.landing.p50, unit, money)} ({spread(low, high, unit)})")
    if status.probability is not None:
        said.append(f"{percent(status.probability, probability=True)} likely to hit")
    return ", ".join(said)


def spread(low: Decimal, high: Decimal, unit: str) -> str:
    """A range in short form, its unit said once: 10.6–11.9 M."""
    first, last = quantity(low, unit), quantity(high, unit)
    head, _, letter = first.partition(fmt.THIN)
    return f"{head if letter and last.endswith(fmt.THIN + letter) else first}{fmt.DASH}{last}"


def status_bullet(status: TargetStatus, top: Decimal | None = None, large: bool = False) -> Markup:
    """The bullet bar of a target. `top` is the end of the scale as a multiple of the target."""
    landing = status.landing
    return marks.bullet(
        status.actual,
        status.target,
        status.expected,
        landing.p10 if landing else None,
        landing.p50 if landing else None,
        landing.p90 if landing else None,
        state=status.status,
        label=reach(status),
        top=status.target * top if top is not None and status.target > 0 else None,
        large=large,
    )


def row_spark(row: Row) -> Markup:
    """The landing of a row over the last weeks."""
    unit, values = row.status.unit, row.landing_history
    if len(values) < 2:
        return Markup("")
    label = (
        f"Landing over the last {len(values)} weeks: from {quantity(values[0], unit)} to {quantity(values[-1], unit)}"
    )
    return marks.sparkline(values, row.status.target, label=label)


def curve_sample(view: BoardView) -> list[CurvePoint]:
    """Some fifteen days of the curve for its table: evenly spread, with the newest actual and the end."""
    stride = max(1, len(view.curve) // 14)
    newest = max((n for n, point in enumerate(view.curve) if point.actual is not None), default=-1)
    last = len(view.curve) - 1
    return [point for n, point in enumerate(view.curve) if n % stride == 0 or n in (newest, last)]


def slipped_deals(view: BoardView) -> tuple[MovementDeal, ...]:
    """What left the period, over the longest look back that the view has."""
    if not view.movements:
        return ()
    longest = min(view.movements, key=lambda m: m.from_at)
    return tuple(deal for bar in longest.bars if bar.name in ("pushed_out", "slipped") for deal in bar.deals)


def alert_since(alert: Alert) -> int:
    """When an alert came into the state that it is in, microseconds UTC."""
    known = {"resolved": alert.resolved_at, "firing": alert.fired_at, "pending": alert.pending_at}.get(alert.state)
    return known or alert.fired_at or alert.pending_at or alert.updated_at


def newest_alerts(view: BoardView) -> list[Alert]:
    """Alerts that are still open first, then newest first."""
    return sorted(view.alerts, key=lambda a: (a.state == "resolved", -alert_since(a)))[:ALERTS_MAX]


def deal_flags(deal: Deal) -> tuple[str, ...]:
    """Why a deal is shown."""
    if deal.flags or not deal.slipped_times:
        return deal.flags
    return ("slipped once",) if deal.slipped_times == 1 else (f"slipped {deal.slipped_times} times",)


def movement_note(movement: Movement, view: BoardView) -> str:
    """From when to when, written out."""
    zone = view.time_zone
    return f"{fmt.moment(movement.from_at, zone)} to {fmt.moment(movement.to_at, zone)} ({zone})"


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """The templates, with everything that they may call. All that is put into them is data: escaped, never evaluated."""
    env = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters.update(
        emphasise=fmt.emphasise, coded=fmt.coded, age=fmt.age, day=fmt.day_words, kpi=fmt.kpi_words, percent=percent,
        times=fmt.times, signed_percent=fmt.signed_percent,
    )  # fmt: skip
    env.globals.update(
        q=quantity, qf=quantity_full, compact=fmt.compact, moment=fmt.moment, reach=reach, spread=spread,
        bullet=status_bullet, spark=row_spark, state_word=marks.state_word, state_shape=marks.state_shape,
        scale_top=marks.scale_top, waterfall=marks.waterfall, waterfall_bar=marks.waterfall_bar,
        waterfall_scale=marks.waterfall_scale, lines=lambda rows: list(lines(rows)), levels=LEVELS,
        recipient=fmt.recipient_words, alert_since=alert_since, newest_alerts=newest_alerts, slipped_deals=slipped_deals,
        deal_flags=deal_flags, movement_note=movement_note, period_days=fmt.period_days, nothing=fmt.NOTHING,
        burnup_data=lambda view: json.dumps(charts.burnup_data(view), separators=(",", ":")),
        curve_sample=curve_sample,
        burnup_words=charts.burnup_words, words=WORDS, titles=TITLES, trust_question=TRUST, boards=BOARDS,
    )  # fmt: skip
    env.globals.update(deals_page.HELPERS)
    env.globals.update(health_page.HELPERS)
    return env


def is_rep(view: View) -> bool:
    """Whether a page is one person's own, with nobody else's figures."""
    return not isinstance(view, HealthView) and view.dimension == "rep"


def section_names(view: View) -> tuple[str, ...]:
    """The sections of a page in their order: a rep first reads what to do."""
    if isinstance(view, DealsView):
        return DEALS_SECTIONS
    if isinstance(view, HealthView):
        return HEALTH_SECTIONS
    return REP_SECTIONS if is_rep(view) else SECTIONS


def render_sections(view: View, address: Address) -> dict[str, str]:
    """Section → HTML. An empty one is an empty string."""
    shared: dict[str, Any] = {"view": view, "address": address, "names": {}, "is_rep": is_rep(view)}
    if isinstance(view, BoardView):
        shared["names"] = {view.scope: view.scope_name} if is_rep(view) else dict(view.reps)
    env = environment()
    return {name: env.get_template(f"sections/{name}.html").render(shared).strip() for name in section_names(view)}


def page_title(view: View) -> str:
    """What stands on the browser's tab: the figure that matters first, so that a row of tabs can be read."""
    if isinstance(view, HealthView):
        return f"{view.verdict} · {BOARDS['health'].title}"
    if isinstance(view, DealsView):
        return f"{view.at_risk:,} at risk · {view.scope_name or view.company}"
    what = f"{view.scope_name or view.company} {view.period}"
    if view.headline is not None and view.headline.probability is not None:
        return f"{percent(view.headline.probability, probability=True)} · {what}"
    return what


def render_page(view: View, address: Address, sections: dict[str, str], shared: dict[str, Any]) -> str:
    """The complete page around its sections."""
    return (
        environment()
        .get_template("page.html" if address.page == "board" else f"{address.page}.html")
        .render(
            view=view,
            address=address,
            sections={name: Markup(html) for name, html in sections.items()},  # noqa: S704 (made by our own templates)
            page_title=page_title(view),
            is_rep=is_rep(view),
            **shared,
        )
    )


def render_message(template: str, **values: Any) -> str:
    """A page that says something instead of showing a view: an error, the door."""
    return environment().get_template(template).render(values)
