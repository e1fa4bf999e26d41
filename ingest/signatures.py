"""Who sent a request: the signature schemes of HubSpot and Standard Webhooks, and bearer tokens.

Pure: the clock's time comes in as a value, a verdict goes out. A request may carry signatures of several schemes; of
those that are allowed the strongest decides, so that a weaker one never rescues what a stronger one refuses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from schemas import standard_webhooks
from schemas.sources import Signature, SourceConfig

#: The strongest first: those that cover the request and its time, then those that can be replayed.
STRENGTH: tuple[Signature, ...] = ("standard-webhooks", "hubspot-v3", "hubspot-v2", "hubspot-v1", "bearer")
#: Signatures in one `webhook-signature` header that are compared; a sender has as many as it has keys.
SIGNATURES_MAX = 16

_DIGITS = re.compile(rb"\d{1,15}")
#: HubSpot hashes the address with these escapes decoded, and no others.
_DECODED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

_V3, _V3_TIME = "x-hubspot-signature-v3", "x-hubspot-request-timestamp"
_OLD, _OLD_VERSION = "x-hubspot-signature", "x-hubspot-signature-version"
_BEARER = b"bearer "

_Headers = dict[str, list[bytes]]  # names in lower case


class Verdict(StrEnum):
    """Why a request is taken or not. True only when it is taken."""

    OK = "ok"
    NO_SECRET = "no_secret"  # noqa: S105 - a reason: we have none to compare with
    MISSING_SIGNATURE = "missing_signature"  # no header of any scheme
    VERSION_NOT_ALLOWED = "version_not_allowed"  # signed, but by no scheme that the source takes
    DUPLICATE_HEADER = "duplicate_header"  # a header of the scheme stands twice: which one was meant?
    BAD_HEADER = "bad_header"  # a header of the scheme that no sender writes so
    BAD_TIMESTAMP = "bad_timestamp"  # missing, or not a number
    STALE = "stale"
    FROM_THE_FUTURE = "from_the_future"
    BAD_SIGNATURE = "bad_signature"

    def __bool__(self) -> bool:
        return self is Verdict.OK


@dataclass(frozen=True)
class SignedRequest:
    """A request as it came: headers as ASGI has them (names in any case), the body before anything reads it.

    `uris` are the whole addresses that the sender may have called (behind a proxy there are several candidates).
    """

    method: str
    uris: Sequence[str]
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)  # a bearer token is among them
    body: bytes = field(repr=False)


class _Refused(Exception):
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


@dataclass(frozen=True)
class _Check:
    """A request while it is checked."""

    request: SignedRequest
    headers: _Headers = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    now_us: int
    tolerance_us: int

    def one(self, name: str, missing: Verdict) -> bytes:
        """The only value of a header: ASCII, not empty."""
        values = self.headers.get(name, [])
        if not values:
            raise _Refused(missing)
        if len(values) > 1:
            raise _Refused(Verdict.DUPLICATE_HEADER)
        value = values[0].strip()
        if not value or not value.isascii():
            raise _Refused(Verdict.BAD_HEADER)
        return value

    def time(self, name: str, unit_us: int) -> bytes:
        """The timestamp of a header as it is written, in that unit; the request is neither old nor early."""
        text = self.one(name, Verdict.BAD_TIMESTAMP)
        if not _DIGITS.fullmatch(text):
            raise _Refused(Verdict.BAD_TIMESTAMP)
        age_us = self.now_us - int(text) * unit_us
        if age_us > self.tolerance_us:
            raise _Refused(Verdict.STALE)
        if age_us < -self.tolerance_us:
            raise _Refused(Verdict.FROM_THE_FUTURE)
        return text


def allowed_signatures(source: SourceConfig) -> tuple[Signature, ...]:
    """The schemes that a source takes: as configured, else HubSpot's third for hubspot and Standard Webhooks."""
    configured = source.hook.signatures if source.hook is not None else ()
    return configured or (("hubspot-v3",) if source.kind == "hubspot" else ("standard-webhooks",))


def verify(
    request: SignedRequest,
    secrets: Sequence[bytes],
    allowed: Sequence[Signature],
    now_us: int,
    tolerance_s: int,
) -> Verdict:
    """Whether the sender of a request knows one of the secrets, by the strongest allowed scheme that it offers.

    `now_us` is the time in microseconds since 1970, `tolerance_s` how old or early a dated signature may be. Every
    secret is compared, in constant time, whichever fits. Never raises.
    """
    headers: _Headers = {}
    for name, value in request.headers:
        headers.setdefault(name.lower().decode("latin-1"), []).append(value)
    usable = tuple(secret for secret in secrets if secret)
    if not usable:
        return Verdict.NO_SECRET
    offered = [scheme for scheme in STRENGTH if _OFFERED[scheme](headers)]
    if not offered:
        return Verdict.MISSING_SIGNATURE
    taken = next((scheme for scheme in offered if scheme in allowed), None)
    if taken is None:
        return Verdict.VERSION_NOT_ALLOWED
    try:
        genuine = _GENUINE[taken](_Check(request, headers, usable, now_us, tolerance_s * 1_000_000))
    except _Refused as refused:
        return refused.verdict
    return Verdict.OK if genuine else Verdict.BAD_SIGNATURE


def _same(given: Iterable[bytes], expected: Iterable[bytes]) -> bool:
    """Whether any given value is any expected one; all are compared."""
    found = False
    wanted = list(expected)
    for one in given:
        for other in wanted:
            found |= hmac.compare_digest(one, other)
    return found


def _text(value: str) -> bytes:
    # What is no text in UTF-8 (half a character out of a header) is nobody's address; it must not raise.
    return value.encode("utf-8", "replace")


def _hubspot_v3(check: _Check) -> bool:
    given = check.one(_V3, Verdict.MISSING_SIGNATURE)
    timestamp = check.time(_V3_TIME, 1_000)
    request = check.request
    uris = dict.fromkeys(_decoded(uri) for uri in request.uris)
    signed = [_text(request.method + uri) + request.body + timestamp for uri in uris]
    digests = (hmac.digest(secret, text, hashlib.sha256) for secret in check.secrets for text in signed)
    return _same([given], map(base64.b64encode, digests))


def _decoded(uri: str) -> str:
    return _DECODED.sub(lambda escape: chr(int(escape[1], 16)), uri.split("#")[0])


def _hubspot_v2(check: _Check) -> bool:
    given = check.one(_OLD, Verdict.MISSING_SIGNATURE)
    request = check.request
    texts = [_text(request.method + uri) + request.body for uri in request.uris]
    return _same([given], (_hex(secret + text) for secret in check.secrets for text in texts))


def _hubspot_v1(check: _Check) -> bool:
    given = check.one(_OLD, Verdict.MISSING_SIGNATURE)
    return _same([given], (_hex(secret + check.request.body) for secret in check.secrets))


def _hex(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _standard_webhooks(check: _Check) -> bool:
    message_id = check.one(standard_webhooks.ID_HEADER, Verdict.MISSING_SIGNATURE)
    header = check.one(standard_webhooks.SIGNATURE_HEADER, Verdict.MISSING_SIGNATURE)
    timestamp = check.time(standard_webhooks.TIMESTAMP_HEADER, 1_000_000)
    if b"." in message_id:  # a full stop divides the signed text: two readings of one signature must not exist
        raise _Refused(Verdict.BAD_HEADER)
    written = header.split()
    if len(written) > SIGNATURES_MAX:
        raise _Refused(Verdict.BAD_HEADER)
    given = [one for one in written if one.startswith(standard_webhooks.VERSION)]
    if not given:
        raise _Refused(Verdict.VERSION_NOT_ALLOWED)
    keys = [key for key in map(standard_webhooks.signing_key, check.secrets) if key is not None]
    if not keys:
        raise _Refused(Verdict.NO_SECRET)
    seconds, body = int(timestamp), check.request.body
    return _same(given, (standard_webhooks.signature(key, message_id, seconds, body) for key in keys))


def _bearer(check: _Check) -> bool:
    given = check.one("authorization", Verdict.MISSING_SIGNATURE)
    return _same([given[len(_BEARER) :].strip()], check.secrets)


def _old_version(headers: _Headers) -> bytes:
    """Which of the two old schemes a request says that it uses; the first, where it says nothing."""
    return headers.get(_OLD_VERSION, [b"v1"])[0].strip().lower()


_OFFERED: dict[Signature, Callable[[_Headers], bool]] = {
    "standard-webhooks": lambda headers: standard_webhooks.SIGNATURE_HEADER in headers,
    "hubspot-v3": lambda headers: _V3 in headers,
    "hubspot-v2": lambda headers: _OLD in headers and _old_version(headers) == b"v2",
    "hubspot-v1": lambda headers: _OLD in headers and _old_version(headers) != b"v2",
    "bearer": lambda headers: any(v.lower().startswith(_BEARER) for v in headers.get("authorization", [])),
}
_GENUINE: dict[Signature, Callable[[_Check], bool]] = {
    "standard-webhooks": _standard_webhooks,
    "hubspot-v3": _hubspot_v3,
    "hubspot-v2": _hubspot_v2,
    "hubspot-v1": _hubspot_v1,
    "bearer": _bearer,
}
