"""A listener with TLS, passwords and ACLs for the native Kafka: what its properties are, and who its users are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class Secured(NamedTuple):
    """How the listener for clients is closed; what brokers and controllers say to one another stays on loopback.

    `keystore` (PEM: PKCS 8 key, then certificates) and `truststore` (PEM) are needed for TLS. `users` are made with
    their passwords at the first start, for SCRAM and PLAIN alike. With `acls` they may do what an ACL allows, and
    nothing without one.
    """

    protocol: str
    users: Mapping[str, str]
    mechanisms: tuple[str, ...] = ("SCRAM-SHA-512",)
    keystore: Path | None = None
    truststore: Path | None = None
    client_certificates: bool = False
    acls: bool = False

    def properties(self, listeners: tuple[str, ...]) -> dict[str, str]:
        """For server.properties."""
        protocols = {name.upper(): "PLAINTEXT" for name in listeners} | {"CLIENT": self.protocol}
        found = {"listener.security.protocol.map": ",".join(f"{name}:{said}" for name, said in protocols.items())}
        listener = "listener.name.client."
        if self.keystore is not None:
            found |= {f"{listener}ssl.keystore.type": "PEM", f"{listener}ssl.keystore.location": str(self.keystore)}
        if self.truststore is not None:
            found |= {
                f"{listener}ssl.truststore.type": "PEM",
                f"{listener}ssl.truststore.location": str(self.truststore),
            }
        if self.client_certificates:
            found[f"{listener}ssl.client.auth"] = "required"
        if "SASL" in self.protocol:
            found[f"{listener}sasl.enabled.mechanisms"] = ",".join(self.mechanisms)
            for mechanism in self.mechanisms:
                found[f"{listener}{mechanism.lower()}.sasl.jaas.config"] = self._jaas(mechanism)
        if self.acls:
            found |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # whoever comes by the broker's own listener: itself
            }
        return found

    def format_arguments(self) -> list[str]:
        """What makes the users of SCRAM when the broker's folder is made."""
        found: list[str] = []
        for mechanism in set(self.mechanisms) & set(SCRAM):
            for user, password in self.users.items():
                found += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        return found

    def _jaas(self, mechanism: str) -> str:
        if mechanism in SCRAM:
            return f"{SCRAM_MODULE} required;"
        users = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
        return f"{PLAIN_MODULE} required {users};"
