"""Values at the door: dates, decimals, flags and text of any source become canonical scalars, or `Bad`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.base import PlanwatchError
from schemas.change import Scalar
from schemas.config import Config
from schemas.mapping import Mapping, Unit
from schemas.records import DECIMAL_PLACES, FIELDS, Kind

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY_US = 86_400_000_000
DECIMAL_LIMIT = Decimal(10) ** 13
TEXT_CHARS_MAX = 10_000
NUMBER_CHARS_MAX = 64
SHOWN_CHARS_MAX = 80
REASON_CHARS_MAX = 1_900  # what the quarantine topic keeps of a reason is a little more
#: Distinct values remembered per parser: dates and amounts repeat, but memory stays bounded.
CACHE_SIZE = 16_384

_QUANTUM = Decimal(1).scaleb(-DECIMAL_PLACES)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)
_EPOCH_UNITS = {10: 1_000_000, 13: 1_000, 16: 1}  # seconds, milliseconds, microseconds by their digits
_UNIT_NS: dict[Unit, int] = {"days": DAY_US * 1_000, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_TRUE = frozenset({"true", "yes", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "n", "f", "0"})


class Bad(Exception):
    """A value or row that cannot be taken: a code for machines and a sentence for people.

    The sentence may hold what came in, so it is made fit to be shown: on one line, bounded, nothing that is not printable.
    """

    def __init__(self, code: str, reason: str) -> None:
        reason = _printable(reason, REASON_CHARS_MAX)
        super().__init__(reason)
        self.code = code
        self.reason = reason


def show(value: object) -> str:
    """A value as it stands in a message: quoted, on one line, bounded."""
    text = ascii(value) if not isinstance(value, str) else value
    return f'"{_printable(text, SHOWN_CHARS_MAX)}"'


def _printable(text: str, chars_max: int) -> str:
    shown = text[:chars_max]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else "?" for c in shown)
    return f"{shown}…" if len(text) > chars_max else shown


def kind_of(config: Config, entity: str, field: str) -> Kind:
    """The kind of a field: the configuration's word, else Planwatch's own, else text."""
    extra = config.fields.get(entity, {}).get(field)
    return extra or FIELDS[entity].get(field, "text")


def tenant_zone(config: Config) -> ZoneInfo:
    """The tenant's time zone."""
    name = config.calendar.time_zone
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PlanwatchError(
            f"planwatch.yaml: calendar.time_zone {show(name)} is not a time zone; "
            "write an IANA name such as Europe/Berlin"
        ) from error


def canonical_decimal(number: Decimal, what: str) -> Scalar:
    """A decimal as the log holds it: an integer when whole, else text; at most four places, rounded half-even."""
    if not number.is_finite():
        raise Bad("bad_number", f"{what} is not a finite number; leave it empty or give a number")
    if abs(number) >= DECIMAL_LIMIT:
        raise Bad("bad_number", f"{what} is not smaller than 10,000,000,000,000; correct it at the source")
    rounded = number.quantize(_QUANTUM, context=_EXACT)
    if rounded == rounded.to_integral_value():
        return int(rounded)
    return format(rounded, "f").rstrip("0")


def to_us(moment: dt.datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware time."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


class Values:
    """Parsers for one tenant's zone and one mapping's formats; what they saw lately they remember."""

    def __init__(self, config: Config, mapping: Mapping | None = None) -> None:
        mapping = mapping or Mapping()
        self._zone = tenant_zone(config)
        self._formats = mapping.dates
        self._decimal_mark = mapping.decimal_mark
        self._thousands = mapping.thousands
        self._moment = lru_cache(CACHE_SIZE)(self._parse_moment)
        self._day = lru_cache(CACHE_SIZE)(self._parse_day)
        self._decimal = lru_cache(CACHE_SIZE)(self._parse_decimal)

    def scalar(self, kind: Kind, raw: Any, what: str) -> Scalar:
        """The canonical scalar of a raw value (text, or a JSON scalar). `what` names the field in messages."""
        parse: dict[Kind, Callable[[Any, str], Scalar]] = {
            "text": self.text,
            "decimal": self.decimal,
            "date": self.date,
            "time": self.time,
            "flag": self.flag,
        }
        return parse[kind](raw, what)

    def text(self, raw: Any, what: str) -> Scalar:
        """Text; a JSON number or flag as it is written."""
        if isinstance(raw, bool):
            return "true" if raw else "false"
        if isinstance(raw, Decimal):
            return format(raw, "f")
        if not isinstance(raw, str | int):
            raise Bad("bad_value", f"{what} {show(raw)} is not text; map one of its parts instead")
        text = str(raw)
        if len(text) > TEXT_CHARS_MAX:
            raise Bad("too_large", f"{what} is longer than {TEXT_CHARS_MAX} characters; shorten it")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise Bad("not_text", f"{what} {show(text)} holds half a character; correct it at the source")
        return text

    def decimal(self, raw: Any, what: str) -> Scalar:
        """An exact decimal; see `canonical_decimal`."""
        return canonical_decimal(self.number(raw, what), f"{what} {show(raw)}")

    def number(self, raw: Any, what: str) -> Decimal:
        """A number as it is written, not yet rounded."""
        if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
            raise Bad("bad_number", f"{what} {show(raw)} is not a number; write it like 1054.50")
        return self._decimal(raw.strip(), what) if isinstance(raw, str) else Decimal(raw)

    def date(self, raw: Any, what: str) -> Scalar:
        """A day: an ISO date, one of the mapping's formats, or the day of a time in the tenant's zone."""
        if isinstance(raw, str):
            return self._day(raw.strip(), what)
        moment = self.moment(raw, what)
        # Salesforce writes a pure date as its midnight in UTC, so a whole day is that day in every zone.
        zone = dt.UTC if moment % DAY_US == 0 else self._zone
        return self.day_of(moment, what, zone)

    def time(self, raw: Any, what: str) -> Scalar:
        """A time as RFC 3339 in UTC."""
        try:
            moment = EPOCH + dt.timedelta(microseconds=self.moment(raw, what))
        except OverflowError as error:
            raise Bad("bad_date", f"{what} {show(raw)} is out of range; correct it at the source") from error
        return moment.replace(tzinfo=None).isoformat() + "Z"

    def flag(self, raw: Any, what: str) -> Scalar:
        """true or false, yes or no, 1 or 0."""
        text = str(raw).strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise Bad("bad_flag", f"{what} {show(raw)} is neither true nor false; write true or false")

    def moment(self, raw: Any, what: str) -> int:
        """Microseconds UTC of a date (midnight in the tenant's zone), a time, or epoch milliseconds."""
        if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
            raise Bad("bad_date", f"{what} {show(raw)} is not a date; write it as YYYY-MM-DD")
        if isinstance(raw, str):
            return self._moment(raw.strip(), what)
        milliseconds = Decimal(raw)
        if abs(milliseconds) >= 10**14:
            raise Bad("bad_date", f"{what} {show(raw)} is out of range for milliseconds since 1970")
        return int(milliseconds * 1000)

    def counted(self, kind: Kind, raw: Any, unit: Unit, what: str) -> Scalar:
        """A date or time that is given as a number of `unit` since 1970 in UTC; one that is written out as it is."""
        if isinstance(raw, str) and not _WHOLE.fullmatch(raw.strip()):
            return self.scalar(kind, raw, what)
        moment = self.counted_moment(raw, unit, what)
        if kind == "time":
            return self.time(Decimal(moment) / 1000, what)
        # Whole days count as that day in every zone, as in `date`.
        return self.day_of(moment, what, dt.UTC if moment % DAY_US == 0 else self._zone)

    def counted_moment(self, raw: Any, unit: Unit, what: str) -> int:
        """Microseconds UTC of a number of `unit` since 1970, or of a time that is written out."""
        if isinstance(raw, str) and not _WHOLE.fullmatch(raw.strip()):
            return self.moment(raw, what)
        number = self.number(raw, what)
        if abs(number) * _UNIT_NS[unit] >= 10**23:
            raise Bad("bad_date", f"{what} {show(raw)} is out of range for {unit} since 1970")
        return int(number * _UNIT_NS[unit] // 1000)

    def day_of(self, moment_us: int, what: str, zone: dt.tzinfo | None = None) -> str:
        """The day that a moment falls on in the tenant's zone."""
        try:
            moment = EPOCH + dt.timedelta(microseconds=moment_us)
            return moment.astimezone(zone or self._zone).date().isoformat()
        except (OverflowError, ValueError) as error:
            raise Bad("bad_date", f"{what} is out of range; correct it at the source") from error

    def _parse_moment(self, text: str, what: str) -> int:
        if text.isascii() and text.isdigit() and len(text) in _EPOCH_UNITS and not self._formats:
            return int(text) * _EPOCH_UNITS[len(text)]
        moment = self._parse_time(text, what)
        try:
            return to_us(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))
        except (OverflowError, ValueError) as error:
            raise Bad("bad_date", f"{what} {show(text)} is out of range; correct it at the source") from error

    def _parse_day(self, text: str, what: str) -> str:
        if text.isascii() and text.isdigit() and len(text) in _EPOCH_UNITS and not self._formats:
            return self.day_of(self._moment(text, what), what)
        moment = self._parse_time(text, what)
        # A time without a zone is the tenant's own, so its day is the day as written.
        return self.day_of(to_us(moment), what) if moment.tzinfo else moment.date().isoformat()

    def _parse_time(self, text: str, what: str) -> dt.datetime:
        """A time, naive unless its zone is written."""
        try:
            if _ISO_DAY.fullmatch(text) or _ISO_TIME.fullmatch(text):
                return dt.datetime.fromisoformat(text.replace(" +", "+").replace(" Z", "Z"))
        except ValueError as error:
            raise Bad("bad_date", f"{what} {show(text)} is not a day of the calendar; correct it") from error
        for form in self._formats:
            try:
                return dt.datetime.strptime(text, form)  # noqa: DTZ007 - naive is meant: the tenant's own time
            except ValueError:
                continue
        raise Bad(
            "bad_date",
            f"{what} {show(text)} is not a date; write it as YYYY-MM-DD, "
            "or name its format under `dates` in the mapping",
        )

    def _parse_decimal(self, text: str, what: str) -> Decimal:
        plain = text.replace(self._thousands, "") if self._thousands else text
        plain = plain.replace(self._decimal_mark, ".") if self._decimal_mark != "." else plain
        if len(plain) <= NUMBER_CHARS_MAX and _NUMBER.fullmatch(plain):
            try:
                return Decimal(plain)
            except InvalidOperation as error:  # pragma: no cover - the pattern admits none
                raise Bad("bad_number", f"{what} {show(text)} is not a number") from error
        raise Bad(
            "bad_number",
            f"{what} {show(text)} is not a number; write it like 1054.50, "
            "or set `thousands` and `decimal_mark` in the mapping",
        )
