"""Kafka with TLS, passwords and ACLs on the real broker: who is let in works as ever, who is not is told why, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from planwatch.native_build import KAFKA
from planwatch.native_secured import Secured
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.stack import KafkaConfig
from storage.kafka_access import KafkaRole, acl_commands
from tests.brief_company import brief_company
from tests.secured_kafka import (
    Certificates,
    allow,
    client_security,
    forbid,
    password,
    refusals,
    secured,
    set_password,
)
from tests.servers import need
from tests.stack import ROOT, Role, Stack, get, wait_for

USERS = ("admin", "bridge", "worker", "board", "scheduler", "stranger")
#: For so long tries are counted; so many a second bridge and worker may make together, and so many lines each.
OBSERVED_S, TRIES_PER_S_MAX, LINES_MAX = 8.0, 3.0, 40
MakeStack = Callable[..., Stack]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of the broker of this module."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[KafkaServer]:
    """A broker with TLS, SCRAM and ACLs, which allows nobody anything at first."""
    need(KAFKA)
    listener = secured(certificates, *USERS, acls=True)
    with KafkaServer(tmp_path_factory.mktemp("kafka"), secured=listener) as server:
        yield server


@pytest.fixture
def make_stack(
    tmp_path: Path, guarded: KafkaServer, influx: InfluxServer, certificates: Certificates, prefix: str
) -> Iterator[MakeStack]:
    """Makes a stack whose commands are the administrator's; every role has a user with what it needs."""
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        security = client_security(certificates, "admin")
        source = f"{prefix}.demo.cdc"
        config = KafkaConfig.model_validate({"bootstrap": guarded.bootstrap, "prefix": prefix, "security": security})
        roles: dict[str, tuple[KafkaRole, ...]] = {
            "admin": ("admin", "simulate"),
            "bridge": ("bridge",),
            "worker": ("worker",),
            "board": ("board",),
            "scheduler": ("scheduler",),
        }
        for user, names in roles.items():
            for role in names:
                allow(guarded, acl_commands(config, role, [source], user))
        made.append(Stack(tmp_path / "stack", guarded, influx, prefix, kafka={"security": security}, **options))
        return made[-1]

    yield make
    for stack in made:
        stack.close()
    for user in USERS:
        forbid(guarded, user)


def start(stack: Stack, certificates: Certificates, user: str, *words: str) -> Role:
    """A role with a user of its own, as its service would set it."""
    security = client_security(certificates, user)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANWATCH_KAFKA__SECURITY__USER", user)
        patch.setenv("PLANWATCH_KAFKA__SECURITY__PASSWORD_FILE", security["password_file"])
        return stack.start(*words)


def run(home: Path, *words: str) -> tuple[int, str]:
    """A command's exit code and all that it said."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def home_with(folder: Path, bootstrap: str, **security: Any) -> Path:
    """A home with nothing but Kafka."""
    folder.mkdir()
    (folder / "planwatch.yaml").write_text(json.dumps({"kafka": {"bootstrap": bootstrap, "security": security}}))
    return folder


def why(role: Role) -> str:
    """Why a role is not ready; empty where it is."""
    status, body = get(f"{role.url}/readyz", 5)
    return "" if status == 200 else body.decode()


class TestLetIn:
    """Who brings the right password and may do what is needed."""

    def test_each_role_with_its_own_user(self, make_stack: MakeStack, certificates: Certificates) -> None:
        """With exactly the rights that `topics acls` prints, the roles come to the export of the embedded form."""
        stack = make_stack()
        stack.send("demo", islice(brief_company("demo"), 2500))
        roles = [start(stack, certificates, name, name) for name in ("bridge", "worker", "board", "scheduler")]
        for role in roles:
            role.wait_ready()
        stack.verify("demo")
        assert run(stack.path, "topics", "check")[0] == 0

    def test_by_certificate(self, tmp_path: Path, certificates: Certificates) -> None:
        """A broker that asks for certificates takes ours, and of whoever has none it is said what to set."""
        need(KAFKA)
        listener = Secured(
            "SSL", {}, keystore=certificates.server, truststore=certificates.ca, client_certificates=True
        )
        with KafkaServer(tmp_path / "kafka", secured=listener) as broker:
            ours = {"protocol": "SSL", "ca_file": str(certificates.ca)}
            with_one = home_with(tmp_path / "with", broker.bootstrap, cert_file=str(certificates.client), **ours)
            assert run(with_one, "topics", "apply")[0] == 0
            code, said = run(home_with(tmp_path / "without", broker.bootstrap, **ours), "topics", "check")
            assert code == 1
            assert "kafka.security.cert_file" in said


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "wrong user": ({"user": "nobody"}, "the user «nobody» is refused (SCRAM-SHA-512). Correct kafka.security.user"),
    "wrong mechanism": (
        {"mechanism": "SCRAM-SHA-256"},
        "do not offer SCRAM-SHA-256 to this user. Set kafka.security.mech",
    ),
    "wrong authority": ({"ca_file": "other-ca.pem"}, "is not vouched for"),
    "no password": (
        {"protocol": "SSL", "user": None, "password_file": None},
        "Set kafka.security.protocol to SASL_SSL",
    ),
    "no TLS": ({"protocol": "SASL_PLAINTEXT", "ca_file": None}, "it speaks TLS. Set kafka.security.protocol"),
}


class TestRefused:
    """Who does not: one sentence that says which setting it is about, and no storm of tries."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_command(self, guarded: KafkaServer, certificates: Certificates, tmp_path: Path, fault: str) -> None:
        """Exit code 1 and one line; the password is not in it."""
        changed, expected = FAULTS[fault]
        security = {**client_security(certificates, "admin"), **changed}
        security["ca_file"] = security["ca_file"] and str(certificates.folder / security["ca_file"])
        code, said = run(home_with(tmp_path / "home", guarded.bootstrap, **security), "topics", "check")
        assert code == 1
        assert expected in said
        assert said.startswith(f"planwatch: Kafka at {guarded.bootstrap}: ")
        assert said.count("\n") == 1
        assert password("admin") not in said

    def test_a_wrong_password_is_tried_once(
        self, guarded: KafkaServer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A command that is refused asks no second time, whichever client it uses."""
        home = home_with(tmp_path / "home", guarded.bootstrap, **client_security(certificates, "admin"))
        monkeypatch.setenv("PLANWATCH_KAFKA_PASSWORD", "wrong-secret")
        before = len(refusals(guarded))
        code, said = run(home, "topics", "check")
        assert code == 1
        assert "the user «admin» is refused (SCRAM-SHA-512)" in said
        assert "wrong-secret" not in said
        wait_for(lambda: len(refusals(guarded)) > before, "the broker says so")
        assert len(refusals(guarded)) == before + 1

    def test_tls_to_a_port_without(self, guarded: KafkaServer, certificates: Certificates, tmp_path: Path) -> None:
        """And a password where none is asked for."""
        tls = home_with(tmp_path / "tls", guarded.inner, **client_security(certificates, "admin"))
        code, said = run(tls, "topics", "check")
        assert (code, "does it speak TLS? If not, set kafka.security.protocol" in said) == (1, True)
        plain = client_security(certificates, "admin", protocol="SASL_PLAINTEXT", ca_file=None)
        code, said = run(home_with(tmp_path / "plain", guarded.inner, **plain), "topics", "check")
        assert (code, "Set kafka.security.protocol to PLAINTEXT" in said) == (1, True)

    def test_an_acl_forbids(self, make_stack: MakeStack, certificates: Certificates, guarded: KafkaServer) -> None:
        """A command says so and ends; roles are not ready and say why, log it once, and work once they may."""
        stack = make_stack()
        stack.send("demo", islice(brief_company("demo"), 300))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PLANWATCH_KAFKA__SECURITY__USER", "stranger")
            patch.setenv(
                "PLANWATCH_KAFKA__SECURITY__PASSWORD_FILE", client_security(certificates, "stranger")["password_file"]
            )
            code, said = run(stack.path, "topics", "check")
        assert code == 1
        assert "an ACL forbids the user of kafka.security this topic" in said
        assert "planwatch topics acls" in said
        bridge = start(stack, certificates, "stranger", "bridge")
        wait_for(lambda: "an ACL forbids" in bridge.tail() and why(bridge), "the bridge says so")
        lines = bridge.tail().count("the bridge failed")
        allow(guarded, acl_commands(stack.config, "bridge", [stack.topic("demo")], "stranger"))
        bridge.wait_ready()
        assert lines == 1

    def test_a_worker_whose_rights_are_taken_away(
        self, make_stack: MakeStack, certificates: Certificates, guarded: KafkaServer
    ) -> None:
        """It is not ready and says why; it works again by itself when it may, and nothing is missing."""
        stack = make_stack()
        stack.send("demo", islice(brief_company("demo"), 1500))
        start(stack, certificates, "bridge", "bridge").wait_ready()
        worker = start(stack, certificates, "worker", "worker").wait_ready()
        forbid(guarded, "worker")
        wait_for(lambda: "an ACL forbids" in why(worker), "the worker says so")
        assert worker.process.poll() is None
        allow(guarded, acl_commands(stack.config, "worker", [], "worker"))
        stack.send("demo", islice(brief_company("demo"), 1500, 1700))
        worker.wait_ready()
        stack.verify("demo", series=False)

    def test_a_password_that_is_changed(
        self, make_stack: MakeStack, certificates: Certificates, guarded: KafkaServer
    ) -> None:
        """Running roles are refused after the broker's restart: few tries, few lines; the new password is taken up."""
        stack = make_stack()
        stack.send("demo", islice(brief_company("demo"), 1500))
        roles = [start(stack, certificates, name, name).wait_ready() for name in ("bridge", "worker")]
        before = len(refusals(guarded))
        for name in ("bridge", "worker"):
            set_password(guarded, name, f"{name}-changed-91")
        guarded.stop()
        guarded.start()

        def waited_s() -> float:
            tries = refusals(guarded)[before:]
            return (tries[-1] - tries[0]).total_seconds() if tries else 0.0

        wait_for(lambda: waited_s() > OBSERVED_S, "the roles have tried for a while")
        tries = len(refusals(guarded)) - before
        assert tries / waited_s() < TRIES_PER_S_MAX, tries
        for role in roles:
            wait_for(lambda role=role: "is refused" in why(role), "it is not ready and says why")  # type: ignore[misc]
            assert "is refused" in role.log.read_text()
        assert all(role.log.read_text().count("\n") < LINES_MAX for role in roles)
        for name in ("bridge", "worker"):
            (certificates.folder / f"{name}.password").write_text(f"{name}-changed-91")
        stack.send("demo", islice(brief_company("demo"), 1500, 1700))
        for role in roles:
            role.wait_ready()
        stack.verify("demo", series=False)
        assert not any("-changed-91" in role.log.read_text() for role in roles)
        for name in ("bridge", "worker"):
            set_password(guarded, name, password(name))
