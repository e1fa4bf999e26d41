"""How deep a body is and how much is in it, seen without parsing it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hook_body import shape_of

TEXTS = st.text(st.sampled_from('ab[]{},"\\:é'), max_size=6)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.integers(1, 6), st.integers(1, 6))
def test_what_passes_a_bound_is_seen(value: Any, depth_max: int, elements_max: int) -> None:
    """Brackets and commas in texts count for nothing: a bound is passed exactly where the parsed value passes one."""
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        shape = shape_of(body.encode(), depth_max, elements_max)
        elements = len(value) if isinstance(value, list) else 1
        passed = depth_of(value) > depth_max or elements > elements_max
        assert (shape.depth > depth_max or shape.elements > elements_max) == passed


@given(st.binary(max_size=200) | st.text('[]{},"\\', max_size=200).map(str.encode))
def test_any_bytes_have_a_shape(body: bytes) -> None:
    """What is no JSON raises nothing."""
    assert shape_of(body, 3, 3).depth >= 0


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b"[1" + b",1" * 500_000, b'"' + b'\\"' * 500_000, b'"' + b"\\" * 1_000_001, b'"' * 1_000_001,
     b'","' * 333_333, b"[" + b'{"a":[[1,1,1]]},' * 60_000],
    ids=["deep", "commas", "open text", "backslashes", "quotes", "texts", "objects"],
)  # fmt: skip
def test_hostile_bodies_take_no_time(body: bytes) -> None:
    """A megabyte made to be slow is looked through in well under a second."""
    began = time.process_time()
    shape_of(body, 32, 1_000)
    assert time.process_time() - began < 1.0
