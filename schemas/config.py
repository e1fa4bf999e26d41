"""planwatch.yaml: one file, validated once at the door; every setting can be overridden by environment."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.records import Kind
from schemas.sources import ServeConfig, SourceConfig
from schemas.stack import GrafanaConfig, InfluxConfig, KafkaConfig, OpsConfig, WorkerConfig


class CalendarConfig(Strict):
    """How the tenant counts time."""

    time_zone: str = "UTC"  # IANA name
    fiscal_year_start: str = "01-01"  # MM-DD
    pattern: Literal["months", "4-4-5", "4-5-4", "5-4-4"] = "months"
    country: str | None = None  # ISO 3166 code for public holidays (the holidays package); none: no holidays
    subdivision: str | None = None
    working_days: tuple[Annotated[int, Field(ge=0, le=6)], ...] = (0, 1, 2, 3, 4)  # 0 is Monday
    extra_holidays: tuple[str, ...] = ()  # dates
    custom_periods: dict[str, tuple[str, str]] = Field(default_factory=dict)  # name → first and last day


class Stage(Strict):
    """A stage of the sales process, in the order of the process."""

    name: str
    kind: Literal["open", "won", "lost"] = "open"
    probability: Annotated[Decimal, Field(ge=0, le=100)] | None = None  # percent, of an open stage


class ExchangeRate(Strict):
    """From this day on one unit of `currency` is worth `rate` units of the tenant's currency."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    date: str
    rate: Annotated[Decimal, Field(gt=0)]


class ReceiverConfig(Strict):
    """Where notifications go."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    kind: Literal["console", "board", "webhook", "email", "grafana"]
    url: str | None = None  # webhook
    allow_private: bool = False  # webhook: also to private networks and this machine, which are refused else
    allow_networks: tuple[str, ...] = ()  # webhook: also to these, such as 10.1.2.0/24, whatever they are
    smtp_host: str | None = None
    smtp_port: int = 25
    smtp_user: str | None = None
    smtp_password_file: str | None = None
    starttls: bool = False
    sender: str | None = None
    to: tuple[str, ...] = ()  # who gets what has no address of its own
    recipients: tuple[str, ...] = ("*",)  # "*", "company", "operators", "team:*", "rep:Anna Snelling"


class BoardToken(Strict):
    """A way into the web board that shows a part of it. Emptying or removing the file revokes it at once."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    scope: Annotated[str, Field(pattern=r"^(company|(territory|team|rep):.*\S.*)$", max_length=300)]  # by id or by name
    token_file: str  # relative to the home; read again when it changes


class BoardConfig(Strict):
    """The web board."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8350  # 0: any free port
    token_file: str | None = None  # needed for any host but loopback; PLANWATCH_BOARD_TOKEN does too
    tokens: Annotated[tuple[BoardToken, ...], Field(max_length=1000)] = ()  # further ones, each with its scope
    title: str = "Planwatch"
    url: str = (
        ""  # the address that alerts link to, where it is not host and port; with https cookies are for https alone
    )


class Bounds(Strict):
    """From which probability to hit a target counts as ahead and as on track."""

    ahead: Decimal = Decimal("0.8")
    on_track: Decimal = Decimal("0.5")


class Config(Strict):
    """All settings of one home."""

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = (
        "default"  # names topics' keys, folders
    )
    company: str = "Company"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    time: Literal["system", "log"] = "system"  # log: now is the newest change (simulations, old data sets)
    future_tolerance_s: Annotated[int, Field(ge=0)] = 86_400
    calendar: CalendarConfig = CalendarConfig()
    stages: tuple[Stage, ...] = ()
    rates: tuple[ExchangeRate, ...] = ()
    fields: dict[str, dict[str, Kind]] = Field(default_factory=dict)  # entity → extra field → kind
    amount_fallback: Literal["none", "list_price"] = "none"  # what stands in for an amount that is absent
    plan: str = "plan.yaml"
    measures: str | None = None  # a YAML file with measures and KPIs of your own
    alerts: str | None = "alerts.yaml"
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    receivers: tuple[ReceiverConfig, ...] = (ReceiverConfig(name="console", kind="console"),)
    board: BoardConfig = BoardConfig()
    serve: ServeConfig = ServeConfig()
    bounds: Bounds = Bounds()
    live_series_days: Annotated[int, Field(ge=1)] = 7
    # The stack. Without `kafka` and `influx` everything runs in one process on SQLite.
    kafka: KafkaConfig | None = None
    influx: InfluxConfig | None = None
    grafana: GrafanaConfig | None = None
    worker: WorkerConfig = WorkerConfig()
    ops: OpsConfig = OpsConfig()
    tenants: tuple[str, ...] = ()  # the tenants' folders (globs too), relative to the home; none: this one alone
    stack: str | None = None  # a tenant's home: the folder whose kafka, influx, grafana, worker and ops settings hold
