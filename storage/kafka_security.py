"""How a client is let in by the brokers: what `kafka.security` means to the libraries that connect."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig, KafkaSecurity

PASSWORD_VARIABLE = "PLANWATCH_KAFKA_PASSWORD"  # noqa: S105 – a variable's name
SETTING = "planwatch.yaml: kafka.security"


def password_of(security: KafkaSecurity) -> str:
    """The user's password as it is now: from the environment, else from its file.

    Raises PlanwatchError, which never shows it, where there is none or it cannot be one.
    """
    if given := os.environ.get(PASSWORD_VARIABLE, "").strip():
        return given
    if security.password_file is None:
        raise PlanwatchError(f"{SETTING}: no password. Set password_file, or put it into {PASSWORD_VARIABLE}.")
    password = _secret(security.password_file, "password_file")
    if "\n" in password:
        raise PlanwatchError(
            f"{SETTING}.password_file: {security.password_file} has several lines; write the password alone."
        )
    return password


def ssl_context(security: KafkaSecurity) -> ssl.SSLContext:
    """What a client checks of a broker, and shows of itself. Raises PlanwatchError naming the setting and its file."""
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except OSError as error:  # also what is no certificate
        raise _unusable("ca_file", security.ca_file, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = security.check_hostname
    if security.cert_file is not None:
        # Without a word of ours OpenSSL would ask for one on the terminal.
        secret = _secret(security.key_password_file, "key_password_file") if security.key_password_file else ""
        try:
            context.load_cert_chain(security.cert_file, security.key_file, lambda: secret)
        except OSError as error:
            raise _unusable("cert_file", security.key_file or security.cert_file, error) from None
    return context


def client_settings(security: KafkaSecurity) -> dict[str, Any]:
    """The settings of kafka-python. Secrets and certificates are read anew at every call."""
    found: dict[str, Any] = {"security_protocol": security.protocol}
    if security.tls:
        found["ssl_context"] = ssl_context(security)
    if security.sasl:
        found |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.user,
            "sasl_plain_password": password_of(security),
        }
    return found


def weaknesses(config: KafkaConfig) -> list[str]:
    """How somebody on the way to these brokers could get the password or pose as them; none on this machine itself."""
    security, hosts = config.security, [server.rpartition(":")[0].strip("[]") for server in config.servers]
    if all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts):
        return []
    found = []
    if security.protocol == "SASL_PLAINTEXT":
        sent = "the password itself is" if security.mechanism == "PLAIN" else "what the password protects is"
        found.append(f"{sent} sent unencrypted: set kafka.security.protocol to SASL_SSL")
    if security.tls and not security.check_hostname:
        found.append("any holder of a certificate may pose as the broker: set kafka.security.check_hostname to true")
    return found


def _secret(path: str, setting: str) -> str:
    try:
        found = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(setting, path, error) from None
    if not found:
        raise PlanwatchError(f"{SETTING}.{setting}: {path} is empty.")
    return found


def _unusable(setting: str, path: str | None, error: OSError | UnicodeDecodeError) -> PlanwatchError:
    if isinstance(error, ssl.SSLError):
        reason = f"OpenSSL cannot use it ({error.reason or 'it is no PEM file'})"
        reason += "; is its key_file or the key's password another's?" if setting == "cert_file" else ""
    else:
        reason = "this is no text" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
    return PlanwatchError(f"{SETTING}.{setting}: {path}: {reason}.")
