"""A board source with an invented company: 4 territories, 8 teams, 40 reps; changed by hand while a test looks on."""

from __future__ import annotations

import math
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from boards.access import COMPANY, Access
from schemas.alert import Alert, SourceHealth
from schemas.board import (
    BoardView,
    CurvePoint,
    Deal,
    DealsView,
    HealthView,
    Mark,
    Movement,
    MovementBar,
    MovementDeal,
    Row,
    Trust,
)
from schemas.status import Landing, Reason, TargetState, TargetStatus
from tests.browser.sample_pages import Whose, deals_view, health_view, one_more_refused

D = Decimal
START, END, TODAY = date(2017, 4, 1), date(2017, 6, 30), date(2017, 5, 24)
AS_OF = int(datetime(2017, 5, 24, 12, 3, 20, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400_000_000
HOSTILE = "Eve <script>alert('x')</script> \"O'Neil\" & Sons/East"
TERRITORIES = ("Central", "East", "West", "Pacific")
FIRST = ("Anna", "Darcel", "Vicki", "Kary", "Markita", "Boris", "Corliss", "Zane", "Marty", "Elease")
LAST = ("Snelling", "Schlecht", "Laflamme", "Hendrixson", "Hansen", "Faz", "Cosme", "Levy", "Freudenburg", "Gluck")
STEPS = ("Call every deal above 20 k that has been silent for 14 days.", "Bring a manager into the two largest proposals this week.",
         "Move budget from events to the partner campaign.")  # fmt: skip


def rep_name(n: int) -> str:
    """The name of rep n (0 to 39); one of them is hostile on purpose."""
    return HOSTILE if n == 7 else f"{FIRST[n % 10]} {LAST[(n * 7 + n // 10) % 10]}"


class SampleSource:
    """Views of the invented company. `extra` is what the company won since; each `bump` is a change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 1
        self.extra = D(0)
        self.stale = False
        self.empty = False
        self.calm = False  # no deal is at risk, nothing was refused
        self.refusing = False  # one more input was refused
        self.health_fields: dict[str, object] = {}
        self.asked: list[tuple[str, str, str | None, int | None]] = []

    def version(self) -> int:
        """The number of changes so far."""
        return self._version

    def bump(self, amount: Decimal | int = 0) -> int:
        """Something was won."""
        with self._lock:
            self.extra += D(amount)
            self._version += 1
            return self._version

    def home(self, access: Access) -> tuple[str, str]:
        """A viewer's own page: here names are ids."""
        return access.dimension, access.scope

    def view(
        self, dimension: str, scope: str, period: str | None, as_of: int | None, access: Access = COMPANY
    ) -> BoardView:
        """A page of the invented company; everybody may see all of it."""
        self.asked.append((dimension, scope, period, as_of))
        period = period or "2017-Q2"
        if period not in ("2017-Q1", "2017-Q2", "2017"):
            raise LookupError(f"There is no period {period} in the plan.")
        rows = self._territories()
        row = Row(status=self._company(rows), children=rows)
        if dimension != "company":
            row = self._find(rows, dimension, scope)
        return self._page(row, dimension, scope, period, as_of)

    def deals(self, dimension: str, scope: str, as_of: int | None, access: Access = COMPANY) -> DealsView:
        """The invented company's deals at risk."""
        self.asked.append((dimension, scope, "deals", as_of))
        whose = Whose([rep_name(n) for n in range(40)], [f"Team {name}" for name in LAST[:8]], TERRITORIES)
        at, is_live = as_of or AS_OF, as_of is None
        trust = self._trust()
        if dimension == "rep":
            trust = trust.model_copy(update={"sources": ()})
        return deals_view(dimension, scope, at, self.extra, whose, trust, live=is_live, calm=self.calm)

    def health(self, access: Access = COMPANY) -> HealthView:
        """The invented company's pipeline."""
        self.asked.append(("", "", "health", None))
        view = health_view(AS_OF, self._trust(), **self.health_fields)
        if self.calm:
            view = view.model_copy(update={"refused": (), "refusals": ()})
        return one_more_refused(view, "field-history") if self.refusing else view

    def _find(self, rows: tuple[Row, ...], dimension: str, scope: str) -> Row:
        for row in rows:
            if (row.status.dimension, row.status.scope) == (dimension, scope):
                return row
            try:
                return self._find(row.children, dimension, scope)
            except LookupError:
                continue
        raise LookupError(f"There is no {dimension} “{scope}” in the plan.")

    def _territories(self) -> tuple[Row, ...]:
        territories = []
        for t, name in enumerate(TERRITORIES):
            teams = []
            for m in (2 * t, 2 * t + 1):
                reps = tuple(self._rep(n) for n in range(5 * m, 5 * m + 5))
                teams.append(_row("team", f"Team {LAST[m]}", reps))
            territories.append(_row("territory", name, tuple(teams)))
        return tuple(territories)

    def _company(self, rows: tuple[Row, ...]) -> TargetStatus:
        return _summed("company", "", "Northwind Instruments", rows)

    def _rep(self, n: int) -> Row:
        skill = D("0.62") + D((n * 37) % 60) / 100 + D((n // 10 * 7) % 4) / 8
        actual = (D(42_500) * skill).quantize(D("0.01")) + (self.extra if n == 3 else 0)
        landing = actual + D(29_000) * (skill + D("0.1"))
        status = _status("rep", rep_name(n), rep_name(n), D(72_500), actual, landing, D(9_000))
        return Row(status=status, landing_history=_weeks(landing, n), at_stake=_stake(status))

    def _page(self, row: Row, dimension: str, scope: str, period: str, as_of: int | None) -> BoardView:
        s = row.status
        is_rep = dimension == "rep"
        names = [rep_name(n) for n in range(40)]
        landing = s.landing
        assert landing
        assert s.probability is not None
        sentence = (
            f"Revenue {period}: {_short(s.actual)} of {_short(s.target)} {s.currency}. Landing {_short(landing.p50)} "
            f"({_short(landing.p10)[:-2]}–{_short(landing.p90)}), {int(s.probability * 100)} % likely to hit."
        )
        own = [s.scope_name] if is_rep else names
        return BoardView(
            title="Northwind Instruments",
            company="Northwind Instruments",
            dimension=dimension,
            scope=scope,
            scope_name=s.scope_name,
            period=period,
            periods=("2017", "2017-Q1", "2017-Q2"),
            unit="money",
            currency="USD",
            time_zone="America/New_York",
            as_of=as_of or AS_OF,
            live=as_of is None,
            sentence="No target and no data yet." if self.empty else sentence,
            headline=None if self.empty else s,
            gap_words="" if self.empty else "Two more deals like your median would do it." if is_rep else "The gap at the landing is the size of nine median deals.",
            others=() if self.empty else _others(s),
            curve=() if self.empty else _curve(s),
            marks=() if self.empty else _marks(),
            rows=() if is_rep or self.empty else row.children,
            movements=() if self.empty else _movements(own, s.target),
            deals=() if self.empty else _deals(own),
            next_steps=() if self.empty else STEPS,
            alerts=() if self.empty else _alerts(s),
            trust=self._trust(),
            reps=() if is_rep else tuple((name, name) for name in names),
        )  # fmt: skip

    def _trust(self) -> Trust:
        seen = AS_OF - (3 * 3_600_000_000 if self.stale else 4_000_000)
        sources = (
            SourceHealth(
                source="salesforce",
                last_seen_at=seen,
                received=8412,
                applied=8390,
                duplicate=14,
                stale=5,
                quarantined=3,
            ),
            SourceHealth(source="field-history", last_seen_at=seen - 900_000_000, received=2210, applied=2210),
        )
        age = None if self.empty else (AS_OF - seen) // 1_000_000
        return Trust(
            as_of=AS_OF, newest_change_at=None if self.empty else seen, age_s=age, stale=self.stale, sources=() if self.empty else sources,
            quarantined=0 if self.empty else 3, incomplete=0 if self.empty else 2,
        )  # fmt: skip


def _short(value: Decimal | None) -> str:
    value = value or D(0)
    return f"{value / 1_000_000:.2f} M" if value >= 1_000_000 else f"{value / 1000:.1f} k"


def _state(probability: Decimal, actual: Decimal, target: Decimal) -> TargetState:
    if actual >= target:
        return "hit"
    return "ahead" if probability >= D("0.8") else "on_track" if probability >= D("0.5") else "at_risk"


def _status(
    dimension: str, scope: str, name: str, target: Decimal, actual: Decimal, landing: Decimal, spread: Decimal
) -> TargetStatus:
    z = float((landing - target) / spread) * 1.2816
    probability = D(1) if actual >= target else D(str(round(0.5 * (1 + math.erf(z / math.sqrt(2))), 4)))
    elapsed = D("0.59")
    gap = target - actual
    return TargetStatus(
        kpi="revenue", dimension=dimension, scope=scope, scope_name=name, period="2017-Q2", period_start=str(START), period_end=str(END),
        unit="money", currency="USD", direction="up", as_of=AS_OF, target=target, actual=actual, expected=target * elapsed,
        attainment=actual / target, gap=gap, coverage=D("2.4") if gap > 0 else None,
        landing=Landing(p10=max(landing - spread, actual), p50=landing, p90=landing + spread), probability=probability, elapsed=elapsed,
        status=_state(probability, actual, target),
        reasons=(
            Reason(name="slipped", amount=target / 11, text="Nine deals left the quarter since it began, most of them in one product line."),
            Reason(name="win_rate", amount=target / 19, text="The win rate is 58 % where the plan assumed 63 %."),
            Reason(name="late_start", text="Two reps joined five weeks after the plan had them selling."),
        ),
    )  # fmt: skip


def _summed(dimension: str, scope: str, name: str, rows: tuple[Row, ...]) -> TargetStatus:
    def total(field: str) -> Decimal:
        return sum((getattr(r.status, field) or D(0) for r in rows), D(0))

    landing = sum((r.status.landing.p50 for r in rows if r.status.landing), D(0))
    spread = D(
        str(
            round(
                math.sqrt(
                    sum(float(r.status.landing.p90 - r.status.landing.p50) ** 2 for r in rows if r.status.landing)
                ),
                2,
            )
        )
    )
    return _status(dimension, scope, name, total("target"), total("actual"), landing, spread * 2)


def _row(dimension: str, name: str, children: tuple[Row, ...]) -> Row:
    status = _summed(dimension, name, name, children)
    assert status.landing
    return Row(
        status=status, landing_history=_weeks(status.landing.p50, len(name)), at_stake=_stake(status), children=children
    )


def _stake(s: TargetStatus) -> Decimal:
    assert s.landing
    assert s.probability is not None
    return max(s.target - s.landing.p50, D(0)) * (1 - s.probability)


def _weeks(landing: Decimal, seed: int) -> tuple[Decimal, ...]:
    return tuple((landing * D(str(1 + 0.06 * math.sin(seed + w * 1.3) * (8 - w) / 8))).quantize(D(1)) for w in range(9))


def _curve(s: TargetStatus) -> tuple[CurvePoint, ...]:
    assert s.landing
    assert s.actual is not None
    days, now = (END - START).days, (TODAY - START).days
    points = []
    for n in range(days + 1):
        share = D(n) / days
        grown = (D(n) / now) if now else D(0)
        ahead = D(n - now) / (days - now) if n >= now else None
        p50 = s.actual + (s.landing.p50 - s.actual) * ahead if ahead is not None else None
        wobble = D(str(round(1 - 0.09 * abs(math.sin(n / 4)) * (1 - n / (now + 0.01)), 4))) if n <= now else D(1)
        points.append(
            CurvePoint(
                day=str(START + timedelta(days=n)), actual=s.actual * grown * wobble if n <= now else None, expected=s.target * share,
                baseline=s.target * D("1.06") * share, p50=p50,
                p10=s.actual + (s.landing.p10 - s.actual) * ahead if ahead is not None else None,
                p90=s.actual + (s.landing.p90 - s.actual) * ahead if ahead is not None else None,
            )
        )  # fmt: skip
    return tuple(points)


def _marks() -> tuple[Mark, ...]:
    return (
        Mark(day="2017-04-18", kind="revision", text="Targets of Pacific lowered by 60 k: two people left."),
        Mark(day="2017-05-02", kind="milestone", text="Autumn catalogue out."),
        Mark(day="2017-05-19", kind="alert", text="Revenue of Central at risk."),
    )


def _others(s: TargetStatus) -> tuple[TargetStatus, ...]:
    rate = s.model_copy(update={"kpi": "win_rate", "unit": "ratio", "target": D("0.63"), "actual": D("0.58"), "expected": None, "landing": None,
                                "probability": D("0.31"), "status": "at_risk", "reasons": ()})  # fmt: skip
    deals = s.model_copy(update={"kpi": "won_deals", "unit": "count", "target": D(520), "actual": D(342), "expected": D(307),
                                 "landing": Landing(p10=D(510), p50=D(548), p90=D(590)), "probability": D("0.86"), "status": "ahead", "reasons": ()})  # fmt: skip
    return (deals, rate)


def _movements(own: list[str], target: Decimal) -> tuple[Movement, ...]:
    def deals(amount: Decimal, count: int) -> tuple[MovementDeal, ...]:
        return tuple(
            MovementDeal(
                record_id=f"{amount}-{n}",
                name=f"GTX Plus for {('Kinity', 'Hottechi', 'Zencorp')[n % 3]}",
                rep=own[n % len(own)],
                amount=amount / count,
            )
            for n in range(count)
        )

    made = []
    for title, days, scale in (
        ("since yesterday", 1, D("0.02")),
        ("since last week", 7, D("0.08")),
        ("since the quarter began", 53, D("0.4")),
    ):
        size = (target * scale).quantize(D(1))
        moves = (("created", D("0.9"), 1), ("reopened", D(0), 1), ("pulled_in", D("0.3"), 1), ("increased", D("0.2"), 1), ("won", D("0.8"), -1),
                 ("lost", D("0.45"), -1), ("pushed_out", D("0.35"), -1), ("decreased", D("0.1"), -1))  # fmt: skip
        opening = (target * D("0.7")).quantize(D(1))
        bars = [MovementBar(name="opening", amount=opening, sign=0)]
        level = opening
        for name, share, sign in moves:
            amount = size * share
            level += sign * amount
            bars.append(MovementBar(name=name, amount=amount, sign=sign, deals=deals(amount, 3) if amount else ()))
        bars.append(MovementBar(name="closing", amount=level, sign=0))
        made.append(Movement(title=title, from_at=AS_OF - days * DAY_US, to_at=AS_OF, bars=tuple(bars)))
    return tuple(made)


def _deals(own: list[str]) -> tuple[Deal, ...]:
    shown = (
        ("GTX Plus Pro rollout", "Kinity", "Proposal", 26_768, "2017-06-09", 74, 2, "0.14", ("slipped twice",)),
        ("MG Advanced, three sites", "Hottechi", "Negotiation", 18_100, "2017-06-21", 41, 0, "0.09", ()),
        (
            "GTK 500 replacement",
            "Zencorp & Söhne",
            "Engaging",
            31_400,
            "2017-05-12",
            122,
            1,
            "0.07",
            ("past close date", "silent 21 days"),
        ),
        ("MG Special renewal", "Bioholding", "Engaging", 7_250, None, 12, 0, None, ()),
    )
    return tuple(
        Deal(record_id=f"d{n}", name=name, account=account, rep=own[n % len(own)], stage=stage, amount=D(amount), close_date=close, age_days=days,
             slipped_times=slips, effect=D(effect) if effect else None, flags=flags)
        for n, (name, account, stage, amount, close, days, slips, effect, flags) in enumerate(shown)
    )  # fmt: skip


def _alerts(s: TargetStatus) -> tuple[Alert, ...]:
    def alert(name: str, severity: str, state: str, sentence: str, minutes: int) -> Alert:
        at = AS_OF - minutes * 60_000_000
        return Alert(
            id=f"{name}-{s.scope}", rule=name, kind=name, severity=severity, state=state, subject=f"Revenue 2017-Q2, {s.scope_name}", sentence=sentence,
            dimension=s.dimension, scope=s.scope, scope_name=s.scope_name, period="2017-Q2", kpi="revenue", value=s.probability, threshold=D("0.5"),
            pending_at=at, fired_at=at if state != "pending" else None, resolved_at=at if state == "resolved" else None, updated_at=at,
            recipient=f"{s.dimension}:{s.scope}" if s.scope else "company",
        )  # type: ignore[arg-type]  # fmt: skip

    return (
        alert(
            "behind_pace",
            "warning",
            "firing",
            "Actual is 4 % below what the pacing expects: nine deals slipped out of the quarter.",
            185,
        ),
        alert(
            "coverage_low",
            "critical",
            "firing",
            "Open pipeline covers 1.8 times what is missing; 3 times is needed at the usual win rate.",
            42,
        ),
        alert("target_at_risk", "info", "resolved", "The probability to hit is back above one half.", 2900),
    )
