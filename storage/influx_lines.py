"""Line protocol for points and records.

All escaping is the client's own. Because making a `Point` for every value would cost as much time as folding the change,
its text is made once for each series and kept; what is added to it for each value are a number and a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from influxdb_client.client.write.point import Point as ClientPoint

from storage.influx_names import KPI_FIELDS, encode_tag, measurement_of

#: kpi, dimension, scope, period, bucket (microseconds UTC), field: a point without its value.
PointKey = tuple[str, str, str, str, int, str]
#: measurement, sorted tags, time (microseconds UTC): a record without its fields.
RecordKey = tuple[str, tuple[tuple[str, str], ...], int]
FieldValue = float | int | str | bool

#: Heads of lines that are kept: some 50 MB.
HEADS_MAX = 100_000
_MARK = "f=true"


class Lines:
    """Makes lines. It keeps the heads of lines that it has made, so one thread uses it."""

    def __init__(self) -> None:
        self._heads: dict[tuple[object, ...], str] = {}

    def of_points(self, tenant: str | None, points: Iterable[tuple[PointKey, float]]) -> Iterator[tuple[str, int]]:
        """Lines, each with the number of values in it. Values of one identity that come in succession share a line."""
        heads = self._heads
        fields, values, before = "", 0, None
        at = 0
        head = ""
        for (kpi, dimension, scope, period, bucket, field), value in points:
            identity = (tenant, field in KPI_FIELDS, kpi, dimension, scope, period)
            if identity != before or bucket != at:
                if before is not None:
                    yield f"{head}{fields} {at}", values
                head = heads.get(identity) or self._series_head(identity, measurement_of(field))
                fields, values, before, at = f"{_name(field)}={value!r}", 1, identity, bucket
            else:
                fields, values = f"{fields},{_name(field)}={value!r}", values + 1
        if before is not None:
            yield f"{head}{fields} {at}", values

    def of_record(self, tenant: str | None, key: RecordKey, fields: Mapping[str, FieldValue]) -> str:
        """The line of one record."""
        measurement, tags, at = key
        identity = (tenant, measurement, tags)
        head = self._heads.get(identity)
        if head is None:
            own = {"tenant": tenant} if tenant is not None else {}
            head = self._keep(identity, _head(measurement, dict(tags) | own))
        line = ClientPoint("m")
        for name, value in fields.items():
            line.field(name, value)
        return f"{head}{line.to_line_protocol()[2:]} {at}"

    def _series_head(self, identity: tuple[str | None, bool, str, str, str, str], measurement: str) -> str:
        names = ("tenant", "", "kpi", "dimension", "scope", "period")
        tags = {name: str(text) for name, text in zip(names, identity, strict=True) if name and text is not None}
        return self._keep(identity, _head(measurement, tags))

    def _keep(self, identity: tuple[object, ...], head: str) -> str:
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        self._heads[identity] = head
        return head


def _head(measurement: str, tags: Mapping[str, str]) -> str:
    """A line up to its fields."""
    point = ClientPoint(measurement).field("f", True)
    for name, text in tags.items():
        point.tag(name, encode_tag(text))
    line: str = point.to_line_protocol()
    return line.removesuffix(_MARK)


@lru_cache(1000)
def _name(field: str) -> str:
    """A field's name as a line has it."""
    line: str = ClientPoint("m").field(field, True).to_line_protocol()
    return line[2:].removesuffix("=true")
