"""What doctor says about sources that are called, what `planwatch serve` refuses to begin with, and when a stack runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planwatch.doctor import examine
from planwatch.doctor_stack import Check
from planwatch.home import Home
from planwatch.metrics import Metrics
from planwatch.serving import WebhookServer, hooks_of
from schemas.base import PlanwatchError
from tests.hooks import SECRET, make_home


def hook_checks(home: Path) -> list[Check]:
    return [check for check in examine(home) if check.name.startswith("hook")]


def with_hook(path: Path, hook: dict[str, Any], kind: str = "salesforce", **more: Any) -> Path:
    return make_home(path, sources={"crm": {"kind": kind, "hook": hook}}, **more)


def test_a_hook_in_order(tmp_path: Path) -> None:
    """Its secret is there: ok, with the proofs that it takes, and without the secret."""
    (check,) = hook_checks(make_home(tmp_path))
    assert (check.name, check.ok) == ("hook crm", True)
    assert "standard-webhooks" in check.detail
    assert SECRET not in check.detail


def test_no_hook_no_check(tmp_path: Path) -> None:
    """A home whose sources are files has nothing to say about it."""
    assert hook_checks(make_home(tmp_path, sources={"crm": {"kind": "csv"}})) == []


def test_a_hook_without_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which variable or file to fill; once that is done it is content."""
    home = with_hook(tmp_path, {})
    (check,) = hook_checks(home)
    assert not check.ok
    assert "PLANWATCH_CRM_SECRET" in check.detail
    monkeypatch.setenv("PLANWATCH_CRM_SECRET", SECRET)
    assert hook_checks(home)[0].ok
    (check,) = hook_checks(with_hook(tmp_path, {"secret_file": "none.secret"}))
    assert "none.secret" in check.detail


def test_a_host_that_others_reach(tmp_path: Path) -> None:
    """Plain HTTP for everybody: a proxy is asked for, until the hook names its address."""
    hook = {"secret_file": "crm.secret"}
    (check,) = hook_checks(with_hook(tmp_path, hook, serve={"host": "0.0.0.0"}))
    assert not check.ok
    assert "public_url" in check.detail
    public = {**hook, "public_url": "https://hooks.example.com/hooks/crm"}
    assert hook_checks(with_hook(tmp_path, public, serve={"host": "0.0.0.0"}))[0].ok
    (check,) = hook_checks(with_hook(tmp_path, {**hook, "public_url": "http://hooks.example.com/hooks/crm"}))
    assert not check.ok
    assert "https" in check.detail


def test_proofs_that_can_be_repeated_are_named(tmp_path: Path) -> None:
    """Allowed is allowed, but said."""
    (check,) = hook_checks(with_hook(tmp_path, {"secret_file": "crm.secret", "signatures": ["bearer"]}))
    assert check.ok
    assert "repeat" in check.detail


def test_tenants_that_share_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of one name in two tenants would have one secret: who knows it could write into both."""
    monkeypatch.setenv("PLANWATCH_CRM_SECRET", SECRET)
    for name in ("acme", "bolt"):
        with_hook(tmp_path / "tenants" / name, {}, tenant=name)
    found = hook_checks(make_home(tmp_path, sources={}, tenants=["tenants/*"]))
    assert [check.ok for check in found] == [False, False]
    assert all("secret_file" in check.detail for check in found)


def test_kinds_and_names_that_cannot_be_called(tmp_path: Path) -> None:
    """A file source and a name that does not fit into an address: refused, with the setting."""
    for name, kind, words in (("crm", "csv", "kind csv"), ("a/b", "salesforce", "letters, digits")):
        home = make_home(tmp_path, sources={name: {"kind": kind, "hook": {}}})
        with pytest.raises(PlanwatchError, match=words):
            list(hooks_of(Home(home)))
        assert any(check.name == "hooks" and not check.ok for check in hook_checks(home))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The second server on a port says so and which setting to change; its own port is known before it starts."""
    home = Home(make_home(tmp_path, {"port": 0}))
    with WebhookServer(home, Metrics("serve")) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(PlanwatchError, match=r"serve\.port"):
            WebhookServer(home, Metrics("serve"), port=port)
