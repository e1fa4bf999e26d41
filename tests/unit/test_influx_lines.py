"""Line protocol: the same lines as the client makes, whatever the names and values are."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point as ClientPoint

from storage.influx_lines import Lines
from storage.influx_names import encode_tag

names = st.one_of(
    st.sampled_from(["", "Anna, Bo", "a=b", "two words", "x\\", "tab\tnew\nline", "é😀"]), st.text(max_size=8)
)
floats = st.floats(allow_nan=False, allow_infinity=False)
keys = st.tuples(
    names, names, names, names, st.integers(-(2**60), 2**60), st.sampled_from(["value", "actual", "target"])
)
values = st.one_of(floats, st.integers(-(2**63) + 1, 2**63 - 1), st.booleans(), st.text(max_size=8))


def as_the_client(line: str) -> str:
    """A line of numbers as the client has it: fields sorted, and no ".0" where a number is whole."""
    head, fields, at = line.rsplit(" ", 2)
    return f"{head} {','.join(field.removesuffix('.0') for field in sorted(fields.split(',')))} {at}"


class TestLines:
    """`Lines` beside the client's own Point."""

    @given(names, st.dictionaries(keys, floats, max_size=12))
    def test_points(self, tenant: str, points: dict[tuple[str, str, str, str, int, str], float]) -> None:
        """Each line of points is the client's, and they hold every value once."""
        in_order = sorted(points.items())
        lines = list(Lines().of_points(tenant, in_order))
        expected = []
        for (kpi, dimension, scope, period, at, is_kpi), group in groupby(
            in_order, key=lambda item: (*item[0][:5], item[0][5] == "value")
        ):
            line = ClientPoint("kpi" if is_kpi else "target").time(at)
            tags = {"tenant": tenant, "kpi": kpi, "dimension": dimension, "scope": scope, "period": period}
            for name, text in tags.items():
                line.tag(name, encode_tag(text))
            held = list(group)
            for key, value in held:
                line.field(key[5], value)
            expected.append((line.to_line_protocol(), len(held)))
        assert [(as_the_client(line), count) for line, count in lines] == expected

    @given(
        st.one_of(st.none(), names),
        st.dictionaries(st.sampled_from(["rank", "scope", "rule"]), names),
        st.dictionaries(st.sampled_from(["name", "a b", "c,d", "e=f", "count"]), values, min_size=1),
        st.integers(-(2**60), 2**60),
    )
    def test_records(
        self, tenant: str | None, tags: dict[str, str], fields: dict[str, float | int | str | bool], at: int
    ) -> None:
        """The line of a record is the client's, with the tenant as one more tag where there is one."""
        line = ClientPoint("deal, at risk").time(at)
        for name, text in {**tags, **({"tenant": tenant} if tenant is not None else {})}.items():
            line.tag(name, encode_tag(text))
        for name, value in fields.items():
            line.field(name, value)
        encoder = Lines()
        key = ("deal, at risk", tuple(sorted(tags.items())), at)
        for _ in range(2):  # made anew and from what is kept
            assert encoder.of_record(tenant, key, fields) == line.to_line_protocol()
