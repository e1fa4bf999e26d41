"""Why brokers do not let a client in, in words: which setting it is about and what to do."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig, KafkaSecurity
from storage.kafka_security import ssl_context

PROBE_TIMEOUT_S = 2.0
#: SaslHandshake v1 for PLAIN: length, key, version, correlation id, no client id, mechanism. The answer begins with
#: length, correlation id and an error code.
_SASL_HANDSHAKE = struct.pack(">ihhihh5s", 17, 17, 1, 1, -1, 5, b"PLAIN")
STRANGE = "it accepts connections, but not as Kafka does"


class AccessError(PlanwatchError):
    """The brokers answer and do not let us do what we want: no use in trying again soon."""


def refusal(config: KafkaConfig, error: BaseException) -> str | None:
    """What a broker's refusal means and what to do; none for any other error."""
    security = config.security
    for one in _chain(error):
        if isinstance(one, SaslAuthenticationFailedError):
            return (
                f"the user «{security.user}» is refused ({security.mechanism}). Correct kafka.security.user or its "
                "password (password_file, or PLANWATCH_KAFKA_PASSWORD), or set the password on the brokers with kafka-configs"
            )
        if isinstance(one, UnsupportedSaslMechanismError):
            return (
                f"the brokers do not offer {security.mechanism} to this user. Set kafka.security.mechanism to one that "
                f"they do ({_offered(one)})"
            )
        if isinstance(one, IllegalSaslStateError):
            return f"the brokers ask for no password here. Set kafka.security.protocol to {'SSL' if security.tls else 'PLAINTEXT'}"
        if isinstance(one, AuthorizationError):
            return f"{type(one).__name__}: {forbidden(one)}"
        if isinstance(one, ssl.SSLError) and (said := _tls(security, one)):
            return said
    return None


def is_refusal(error: BaseException) -> bool:
    """Whether trying again changes nothing until a person has changed something."""
    return refusal(KafkaConfig(), error) is not None


def forbidden(error: AuthorizationError) -> str:
    """What an ACL forbids, and what to do."""
    names = ", ".join(str(part) for part in error.args if part)
    what = {"Topic": "topic", "Group": "group", "Cluster": "cluster"}
    kind = next((word for begin, word in what.items() if type(error).__name__.startswith(begin)), "resource")
    return (
        f"an ACL forbids the user of kafka.security this {kind}{': ' if names else ''}{names} – "
        "`planwatch topics acls` prints what each role needs"
    )


def probed(config: KafkaConfig) -> tuple[str, bool]:
    """Why no broker can be talked to, found by knocking at each once; and whether it is for kafka.security to mend."""
    for server in config.servers:
        if (found := _knock(config.security, server)) is not None:
            return found
    return STRANGE, False


def _knock(security: KafkaSecurity, server: str) -> tuple[str, bool] | None:
    """Why a server cannot be talked to, and whether settings are why; none when it answers as Kafka does."""
    host, _, port = server.rpartition(":")
    try:
        address = (host.strip("[]"), int(port))
    except ValueError:
        return f"«{server}» is not HOST:PORT", False
    try:
        with socket.create_connection(address, PROBE_TIMEOUT_S) as plain:
            if security.tls:
                with ssl_context(security).wrap_socket(plain, server_hostname=address[0]) as wrapped:
                    return _ask(security, wrapped)
            return _ask(security, plain)
    except ssl.SSLEOFError:
        return f"it ends the handshake: does it speak TLS? If not, {_plain(security)}", True
    except ssl.SSLError as error:
        said = _tls(security, error)
        return (said, True) if said else (f"TLS fails: {error.reason or error}", False)
    except OSError as error:
        if security.tls and isinstance(error, ConnectionResetError):
            return f"it breaks off the handshake: does it speak TLS? If not, {_plain(security)}", True
        if not security.tls and _speaks_tls(address):
            return "it speaks TLS. Set kafka.security.protocol to SASL_SSL or SSL", True
        return error.strerror or str(error), False


def _ask(security: KafkaSecurity, connection: socket.socket) -> tuple[str, bool] | None:
    """Ask by SaslHandshake whether a password is wanted: any listener answers that first of all."""
    connection.sendall(_SASL_HANDSHAKE)
    begin = connection.recv(10, socket.MSG_WAITALL) if not security.tls else connection.recv(10)
    if len(begin) < 10:  # one that speaks TLS has sent an alert
        raise ConnectionError(STRANGE)
    error_code = struct.unpack(">iih", begin)[2]
    if not security.sasl and error_code != IllegalSaslStateError.errno:
        protocol = "SASL_SSL" if security.tls else "SASL_PLAINTEXT"
        return f"it asks for a password. Set kafka.security.protocol to {protocol}, with user and password_file", True
    return None


def _speaks_tls(address: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: it is only asked what it speaks
    try:
        with (
            socket.create_connection(address, PROBE_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address[0]),
        ):
            return True
    except OSError:
        return False


def _tls(security: KafkaSecurity, error: ssl.SSLError) -> str | None:
    """An error of a handshake in words; none where it says nothing about settings."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        if "mismatch" in said.lower() or "doesn't match" in said.lower() or "not valid for" in said.lower():
            return (
                f"the broker's certificate is for another name ({said}). Use a name of the certificate in "
                "kafka.bootstrap and in advertised.listeners of the broker"
            )
        if "expired" in said:
            return f"the broker's certificate is not valid any more ({said}). Renew it; kafka.security needs no change"
        return (
            f"the broker's certificate is not vouched for ({said}). Set kafka.security.ca_file to the authority that "
            "signed it"
        )
    reason = error.reason or ""
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason:
        return f"it does not speak TLS: {_plain(security)}"
    if ("CERTIFICATE" in reason and "ALERT" in reason) or "BAD_CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            "the broker does not take our certificate. Set kafka.security.cert_file and key_file to one that its "
            "authority signed"
        )
    return None


def _plain(security: KafkaSecurity) -> str:
    protocol = "SASL_PLAINTEXT" if security.sasl else "PLAINTEXT"
    return f"set kafka.security.protocol to {protocol}, or kafka.bootstrap to the port with TLS"


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        yield from (part for part in at.args if isinstance(part, BaseException))
        at = at.__cause__ or at.__context__


def _offered(error: UnsupportedSaslMechanismError) -> str:
    _, found, names = str(error).partition("mechanisms: ")
    return names if found else "see sasl.enabled.mechanisms of the broker"
