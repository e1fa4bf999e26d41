"""A broker with TLS, passwords and ACLs for tests, and what its clients are configured with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from planwatch.native_secured import Secured
from planwatch.native_servers import KafkaServer


class Certificates:
    """An authority, the broker's certificate, a client's, and an authority that has signed neither."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        server = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
        client = authority.issue_cert("client.planwatch.test")
        self.ca = self._write("ca.pem", authority.cert_pem.bytes())
        self.other_ca = self._write("other-ca.pem", trustme.CA().cert_pem.bytes())
        self.server = self._write("server.pem", _joined(server))
        self.client = self._write("client.pem", _joined(client))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def password(user: str) -> str:
    """A user's password at first."""
    return f"{user}-secret-7f3a"


def secured(certificates: Certificates, *users: str, **options: Any) -> Secured:
    """A listener with TLS and passwords."""
    return Secured("SASL_SSL", {user: password(user) for user in users}, keystore=certificates.server, **options)


def client_security(certificates: Certificates, user: str, **others: Any) -> dict[str, Any]:
    """The section `kafka.security` of a user; the password is in a file of its own, which a test may write anew."""
    file = certificates.folder / f"{user}.password"
    file.write_text(password(user) + "\n")
    return {
        "protocol": "SASL_SSL",
        "user": user,
        "password_file": str(file),
        "ca_file": str(certificates.ca),
        **others,
    }


def _joined(made: trustme.LeafCert) -> bytes:
    # Kafka reads keys in PKCS 8 only.
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key_pem + b"".join(blob.bytes() for blob in made.cert_chain_pems)


def allow(broker: KafkaServer, commands: Iterable[str]) -> None:
    """Do what commands of kafka-acls say, by the broker's own listener."""
    with _inside(broker) as admin:
        done = admin.create_acls([acl for command in commands if not command.startswith("#") for acl in _acls(command)])
    assert not done["failed"], done


def forbid(broker: KafkaServer, user: str) -> None:
    """Take every right away from a user."""
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    with _inside(broker) as admin:
        admin.delete_acls([ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything)])


def set_password(broker: KafkaServer, user: str, new: str) -> None:
    """Another password for a user of SCRAM-SHA-512."""
    with _inside(broker) as admin:
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, new)])


def refusals(broker: KafkaServer) -> list[datetime]:
    """When the broker did not let somebody in, as its log says."""
    lines = broker.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [datetime.fromisoformat(line[:23]) for line in lines if "Failed authentication" in line]


@contextmanager
def _inside(broker: KafkaServer) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=broker.inner)
    try:
        yield admin
    finally:
        admin.close()


def _acls(command: str) -> list[ACL]:
    words = iter(shlex.split(command)[1:])
    operations: list[ACLOperation] = []
    given: dict[str, str] = {}
    for word in words:
        if word == "--add":
            continue
        value = next(words)
        if word == "--operation":
            operations.append(ACLOperation[re.sub("(?<!^)([A-Z])", r"_\1", value).upper()])
        else:
            given[word.removeprefix("--")] = value
    kind = "topic" if "topic" in given else "group"
    pattern = ACLResourcePatternType[given.get("resource-pattern-type", "literal").upper()]
    resource = ResourcePattern(ResourceType[kind.upper()], given[kind], pattern)
    return [ACL(given["allow-principal"], "*", one, ACLPermissionType.ALLOW, resource) for one in operations]
