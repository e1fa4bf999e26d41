"""Grafana's description of its API really is held against what is sent."""

from __future__ import annotations

import pytest

from tests.grafana_openapi import find, request_faults
from tests.grafana_server import ADMIN, GrafanaServer


def test_the_package_alone_would_be_refused() -> None:
    """The description really is held against requests: what grafana-api sends by itself for annotations breaks it."""
    with GrafanaServer() as server:
        from grafana_api.grafana_face import GrafanaFace

        host, port = server.url.removeprefix("http://").split(":")
        face = GrafanaFace(ADMIN, host=host, port=int(port))
        for call in (
            lambda: face.annotations.get_annotation(dashboard_id=1),
            lambda: face.annotations.partial_update_annotation(1, time_to=5),
            lambda: face.api.GET("/nowhere"),
        ):
            with pytest.raises(Exception, match=r"dashboardID|None is not|no such operation"):
                call()
        assert len(server.violations) == 3


def test_faults_are_found() -> None:
    """Unknown names, wrong types, missing bodies: each is a fault."""
    with GrafanaServer():
        create = find("POST", "/api/annotations")
        assert create is not None
        assert list(request_faults(create, [], {"text": "x"})) == []
        for query, body in (
            ([], {"time": 1}),
            ([], {"text": "x", "timeEnd": "soon"}),
            ([], {"text": "x", "colour": "red"}),
            ([("tag", "x")], {"text": "x"}),
            ([], ...),
        ):
            assert list(request_faults(create, query, body))
        assert find("GET", "/api/annotation") is None
