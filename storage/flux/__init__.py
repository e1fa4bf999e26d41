"""All Flux of the project: literals that no text can break out of, and the queries made of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from storage.influx_names import encode_tag, measurement_of

#: The first and the last nanosecond that InfluxDB can store and a range may name.
EARLIEST = "1677-09-21T00:12:43.145224194Z"
LATEST = "2262-04-11T23:47:16.854775806Z"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPECIAL = re.compile('[\\\\"\x00-\x1f\x7f\ud800-\udfff]|\\$\\{')
_NAMED = {"\\": "\\\\", '"': '\\"', "${": "\\${", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def literal(text: str) -> str:
    """A Flux string literal for any text. A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD."""
    return '"' + _SPECIAL.sub(_escaped, text) + '"'


def time_literal(us: int) -> str:
    """A Flux time literal for microseconds UTC."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def source(bucket: str, start_us: int | None = None, stop_us: int | None = None) -> str:
    """The head of a query: a bucket and the times from `start_us` (with it) to `stop_us` (without it), or all times."""
    start = EARLIEST if start_us is None else time_literal(start_us)
    stop = LATEST if stop_us is None else time_literal(stop_us)
    return f"from(bucket: {literal(bucket)})\n  |> range(start: {start}, stop: {stop})"


def where(**tags: str) -> str:
    """A filter on tags and on `measurement` and `field`; the values are plain texts, tags are encoded here."""
    names = {"measurement": "_measurement", "field": "_field"}
    parts = [
        f"r.{names[name]} == {literal(value)}" if name in names else f"r.{name} == {literal(encode_tag(value))}"
        for name, value in tags.items()
    ]
    return f"  |> filter(fn: (r) => {' and '.join(parts)})"


def series(
    bucket: str,
    tenant: str,
    kpi: str,
    dimension: str,
    scope: str,
    period: str,
    field: str,
    start_us: int | None = None,
    stop_us: int | None = None,
) -> str:
    """The points of one series, oldest first, as columns `at` (nanoseconds UTC, int) and `value` (float)."""
    identity = where(
        measurement=measurement_of(field),
        field=field,
        tenant=tenant,
        kpi=kpi,
        dimension=dimension,
        scope=scope,
        period=period,
    )
    return "\n".join(
        [
            source(bucket, start_us, stop_us),
            identity,
            '  |> keep(columns: ["_time", "_value"])',
            '  |> sort(columns: ["_time"])',
            "  |> map(fn: (r) => ({at: int(v: r._time), value: r._value}))",
        ]
    )


def series_of_scopes(bucket: str, tenant: str, kpi: str, dimension: str, period: str, field: str, start_us: int) -> str:
    """The points of all scopes of a dimension from a time on, oldest first: a table for each encoded `scope`.

    Columns: `scope` (encoded), `at` (nanoseconds UTC, int) and `value` (float).
    """
    identity = where(
        measurement=measurement_of(field), field=field, tenant=tenant, kpi=kpi, dimension=dimension, period=period
    )
    return "\n".join(
        [
            source(bucket, start_us),
            identity,
            '  |> keep(columns: ["_time", "_value", "scope"])',
            '  |> sort(columns: ["_time"])',
            "  |> map(fn: (r) => ({scope: r.scope, at: int(v: r._time), value: r._value}))",
        ]
    )


def tenant_predicate(tenant: str) -> str:
    """What the delete API is to delete: everything of one tenant, of all measurements."""
    return f'tenant="{encode_tag(tenant)}"'


def probe(bucket: str) -> str:
    """A query that reads next to nothing of a bucket; it fails for those who may not read it."""
    return f"from(bucket: {literal(bucket)})\n  |> range(start: -1s)\n  |> limit(n: 1)"


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    return "\ufffd" if text >= "\ud800" else _NAMED.get(text) or f"\\x{ord(text):02x}"
