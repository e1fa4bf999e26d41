"""`kafka.security`: what is refused as a setting, what a handshake's failure is said to mean, and that secrets stay hidden."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import SaslAuthenticationFailed
from kafka.errors import TopicAuthorizationFailedError

from planwatch import logs
from planwatch.acls import commands
from planwatch.hidden import hide_secrets, secret_files
from planwatch.home import Home
from processors.runners import kafka_gate
from processors.runners.kafka_gate import Gate
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig, KafkaSecurity
from storage import kafka_client
from storage.kafka_client import admin, describe, unreachable
from storage.kafka_refusal import AccessError
from storage.kafka_security import client_settings, password_of, ssl_context, weaknesses
from tests.secured_kafka import Certificates
from tests.stack import ROOT


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of a broker that is called kafka.example."""
    return Certificates(tmp_path_factory.mktemp("certificates"), "kafka.example")


def home_with(folder: Path, text: str) -> Home:
    (folder / "planwatch.yaml").write_text(text)
    return Home(folder)


class TestSettings:
    """A setting that would have no effect is an error: its writer believes that it protects something."""

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"user": "a"}, "have no effect with protocol PLAINTEXT"),
            ({"protocol": "SSL", "password_file": "p"}, "have no effect with protocol SSL"),
            ({"protocol": "SASL_SSL"}, "SASL_SSL needs a `user`"),
            (
                {"protocol": "SASL_PLAINTEXT", "user": "a", "ca_file": "c"},
                "have no effect with protocol SASL_PLAINTEXT",
            ),
            ({"check_hostname": False}, "have no effect with protocol PLAINTEXT"),
            ({"protocol": "SSL", "key_file": "k"}, "need a `cert_file`"),
            ({"protocol": "TLS"}, "Input should be 'PLAINTEXT', 'SSL'"),
            ({"protocol": "SASL_SSL", "user": "a", "mechanism": "GSSAPI"}, "Input should be 'PLAIN', 'SCRAM-SHA-256'"),
        ],
    )
    def test_what_does_not_fit(self, given: dict[str, Any], said: str) -> None:
        """Each with what to do."""
        with pytest.raises(ValueError, match=said):
            KafkaSecurity.model_validate(given)

    def test_files_are_the_homes(self, tmp_path: Path) -> None:
        """Relative ones are looked for in the home that names them, absolute ones where they say."""
        text = "kafka: {security: {protocol: SASL_SSL, user: w, password_file: secrets/kafka, ca_file: /etc/ca.pem}}"
        kafka = home_with(tmp_path, text).config.kafka
        assert kafka is not None
        assert kafka.security.password_file == str(tmp_path / "secrets" / "kafka")
        assert kafka.security.ca_file == "/etc/ca.pem"

    def test_a_role_has_its_own_user_by_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One configuration file for all roles; what differs is set where the role is started."""
        monkeypatch.setenv("PLANWATCH_KAFKA__SECURITY__USER", "planwatch-worker")
        kafka = home_with(tmp_path, "kafka: {security: {protocol: SASL_SSL, user: all, ca_file: ca}}").config.kafka
        assert kafka is not None
        assert kafka.security.user == "planwatch-worker"
        assert kafka.security.ca_file == str(tmp_path / "ca")

    def test_the_password_is_read_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """From its file each time, unless the environment has one."""
        file = tmp_path / "password"
        security = KafkaSecurity(protocol="SASL_PLAINTEXT", user="a", password_file=str(file))
        file.write_text("first\n")
        assert client_settings(security)["sasl_plain_password"] == "first"
        file.write_text("second\n")
        assert client_settings(security)["sasl_plain_password"] == "second"
        monkeypatch.setenv("PLANWATCH_KAFKA_PASSWORD", "third")
        assert password_of(security) == "third"

    @pytest.mark.parametrize(
        ("content", "said"), [(None, "No such file"), ("", "is empty"), ("a\nb\n", "several lines")]
    )
    def test_a_password_file_that_does_not_do(self, tmp_path: Path, content: str | None, said: str) -> None:
        """The setting, the file and the reason; never the content."""
        file = tmp_path / "password"
        if content is not None:
            file.write_text(content)
        with pytest.raises(PlanwatchError, match=rf"kafka\.security\.password_file: .*{said}"):
            password_of(KafkaSecurity(protocol="SASL_SSL", user="a", password_file=str(file)))

    def test_certificates_that_do_not_do(self, tmp_path: Path, certificates: Certificates) -> None:
        """What is missing, no PEM file, or a certificate without its key."""
        junk = tmp_path / "junk.pem"
        junk.write_text("this is no certificate")
        for ca_file in (str(junk), str(tmp_path / "absent.pem")):
            with pytest.raises(PlanwatchError, match=r"kafka\.security\.ca_file: "):
                ssl_context(KafkaSecurity(protocol="SSL", ca_file=ca_file))
        with pytest.raises(PlanwatchError, match=r"kafka\.security\.cert_file: .*OpenSSL cannot use it"):
            ssl_context(KafkaSecurity(protocol="SSL", cert_file=str(certificates.ca)))

    def test_what_is_weak(self) -> None:
        """A password that can be read on the way, and a broker that anybody can pose as; not on this machine."""
        plain = KafkaSecurity(protocol="SASL_PLAINTEXT", user="a", mechanism="PLAIN")
        unchecked = KafkaSecurity(protocol="SSL", check_hostname=False)
        far, near = "kafka.example:9092", "127.0.0.1:9092,localhost:9093"
        assert "the password itself is sent unencrypted" in weaknesses(KafkaConfig(bootstrap=far, security=plain))[0]
        assert "pose as the broker" in weaknesses(KafkaConfig(bootstrap=far, security=unchecked))[0]
        assert weaknesses(KafkaConfig(bootstrap=near, security=plain)) == []
        assert weaknesses(KafkaConfig(bootstrap=far, security=KafkaSecurity(protocol="SSL"))) == []


@contextmanager
def listening(certificates: Certificates | None) -> Iterator[str]:
    """A port that shakes hands by TLS, or that closes every connection, and says nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = None
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server)

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    try:
                        if context is not None:
                            context.wrap_socket(client, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


class TestHandshake:
    """What the end of a handshake is said to mean."""

    def test_the_certificate_of_another_host(self, certificates: Certificates) -> None:
        """A client fails at once, and says which name is wrong; with check_hostname off this is no reason."""
        with listening(certificates) as bootstrap:
            security = KafkaSecurity(protocol="SSL", ca_file=str(certificates.ca))
            with pytest.raises(AccessError, match=r"certificate is for another name .*kafka\.bootstrap"):
                admin(KafkaConfig(bootstrap=bootstrap, security=security))
            unchecked = security.model_copy(update={"check_hostname": False})
            assert "another name" not in unreachable(KafkaConfig(bootstrap=bootstrap, security=unchecked))

    def test_an_authority_that_we_do_not_know(self, certificates: Certificates) -> None:
        """The same for an authority."""
        with listening(certificates) as bootstrap:
            security = KafkaSecurity(protocol="SSL", ca_file=str(certificates.other_ca))
            with pytest.raises(AccessError, match=r"is not vouched for .*kafka\.security\.ca_file"):
                admin(KafkaConfig(bootstrap=bootstrap, security=security))

    def test_what_is_no_kafka(self, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
        """TLS where we speak none, and none where we do."""
        monkeypatch.setattr(kafka_client, "CONNECT_TIMEOUT_S", 1.0)
        with listening(certificates) as bootstrap, pytest.raises(PlanwatchError, match="it speaks TLS"):
            admin(KafkaConfig(bootstrap=bootstrap))
        security = KafkaSecurity(protocol="SSL", ca_file=str(certificates.ca))
        with listening(None) as bootstrap, pytest.raises(PlanwatchError, match=r"set kafka\.security\.protocol"):
            admin(KafkaConfig(bootstrap=bootstrap, security=security))


class TestGate:
    """How Faust's connections wait after a refusal."""

    def test_one_tries_and_the_others_wait_for_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ten connections at once are three tries: two that are refused, one that is let in and lets the rest in."""
        monkeypatch.setattr(kafka_gate, "WAIT_FIRST_S", 0.02)
        file = tmp_path / "password"
        file.write_text("wrong")
        security = KafkaSecurity(protocol="SASL_PLAINTEXT", user="w", password_file=str(file))
        gate = Gate(KafkaConfig(security=security))
        tries: list[str] = []
        problems: list[str] = []

        class Connection:
            _sasl_plain_password = ""

        async def attempt() -> None:
            connection = Connection()

            async def connect() -> None:
                tries.append(connection._sasl_plain_password)
                if tries[-1] == "wrong":
                    raise SaslAuthenticationFailed("no")

            while True:
                try:
                    return await gate.passed(connection, connect)
                except SaslAuthenticationFailed:
                    problems.append(gate.problem)
                    if len(tries) == 2:
                        file.write_text("right")

        async def all_at_once() -> None:
            await attempt()
            await asyncio.gather(*(attempt() for _ in range(9)))

        asyncio.run(all_at_once())
        assert tries[:3] == ["wrong", "wrong", "right"]
        assert tries.count("wrong") == 2
        assert all("the user «w» is refused" in text for text in problems)
        assert gate.problem == ""


def test_what_an_acl_forbids() -> None:
    """The resource and where to read what to allow."""
    said = describe(TopicAuthorizationFailedError("planwatch.changes"))
    assert "topic: planwatch.changes" in said
    assert "`planwatch topics acls`" in said


class TestAcls:
    """`planwatch topics acls`."""

    def test_the_bridges(self, tmp_path: Path) -> None:
        """It reads the sources and writes the log, and may nothing else."""
        home = home_with(tmp_path, "kafka: {prefix: pw}\nsources: {crm: {kind: salesforce, topic: crm.cdc}}")
        lines = list(commands(home, ["bridge=eve"]))
        start = lines.index("# bridge: eve") + 1
        begin = "kafka-acls --bootstrap-server 127.0.0.1:9092 --command-config admin.properties --add --allow-principal User:eve"
        assert lines[start : start + 5] == [
            f"{begin} --operation Read --topic crm.cdc",
            f"{begin} --operation Write --topic pw.changes",
            f"{begin} --operation Write --topic pw.quarantine",
            f"{begin} --operation Read --operation Write --topic pw.drift",
            f"{begin} --operation Read --group pw-bridge",
        ]

    def test_a_role_that_is_none(self, tmp_path: Path) -> None:
        """The roles are named."""
        home = home_with(tmp_path, "kafka: {}")
        with pytest.raises(PlanwatchError, match="where ROLE is one of admin, bridge"):
            list(commands(home, ["brigde=eve"]))


HOME = """
kafka: {security: {protocol: SASL_SSL, user: w, password_file: k/password, ca_file: k/ca, cert_file: k/cert, key_file: k/key, key_password_file: k/key-password}}
sources: {hub: {kind: hubspot, hook: {secret_file: hook}, salesforce: {token_file: sf}}}
board: {token_file: board, tokens: [{name: north, scope: 'team:North', token_file: north}]}
receivers: [{name: chat, kind: webhook, url: 'https://u:pass-in-url@chat.example/services/T0123/B0123/verysecret'}]
"""
SECRETS = {
    "k/password": "kafka-password",
    "k/key-password": "key-password",
    "hook": "first-hook-secret\nsecond-hook-secret",
    "sf": "salesforce-token",
    "board": "board-token",
    "north": "north-token",
}


class TestHidden:
    """Secrets are found by a rule: whatever a `..._file` points to."""

    def test_every_file_of_a_setting(self, tmp_path: Path) -> None:
        """Also deep inside lists and names; certificates are public."""
        found = {str(path.relative_to(tmp_path)) for path in secret_files(home_with(tmp_path, HOME))}
        assert found == {*SECRETS, "k/key"}

    def test_a_crash_shows_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A role that ends in an error with all secrets in its text, its locals and its cause prints none of them."""
        (tmp_path / "k").mkdir()
        for name, text in SECRETS.items():
            (tmp_path / name).write_text(text + "\n")
        (tmp_path / "planwatch.yaml").write_text(HOME)
        monkeypatch.setenv("PLANWATCH_HUB_SECRET", "hook-secret-of-environment")
        monkeypatch.setenv("PLANWATCH_KAFKA_PASSWORD", "kafka-password-of-environment")
        done = subprocess.run(
            [sys.executable, "-c", CRASH, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert "RuntimeError" in said
        secrets = [line for text in SECRETS.values() for line in text.splitlines()]
        secrets += ["hook-secret-of-environment", "kafka-password-of-environment", "pass-in-url", "verysecret"]
        assert [secret for secret in secrets if secret in said] == []

    def test_a_key_is_hidden_line_by_line(self, tmp_path: Path, certificates: Certificates) -> None:
        """However it is cut: a part of a private key is a secret too."""
        (tmp_path / "k").mkdir()
        (tmp_path / "k" / "key").write_bytes(certificates.server.read_bytes())
        hide_secrets(home_with(tmp_path, HOME))
        out = io.StringIO()
        handler = logs.setup("json", stream=out)
        handler.handle(
            logs.logging.LogRecord("x", 20, "", 0, certificates.server.read_text().split("\n")[1], None, None)
        )
        assert '"message": "***"' in out.getvalue()


#: A bridge whose work fails as badly as it can.
CRASH = """
import os, sys
from pathlib import Path
from planwatch import bridging, cli
def fail(home):
    texts = [p.read_text() for p in Path(sys.argv[1]).rglob("*") if p.is_file() and p.name != "planwatch.yaml"]
    texts += [v for n, v in os.environ.items() if n.startswith("PLANWATCH_")]
    url = home.config.receivers[0].url
    try:
        raise ValueError(url)
    except ValueError as error:
        raise RuntimeError(repr(home.config) + repr(texts) + "\\n".join(texts)) from error
bridging.routes_of = fail
sys.argv = ["planwatch", "--home", sys.argv[1], "bridge"]
cli.main()
"""
