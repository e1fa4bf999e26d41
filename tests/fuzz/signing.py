"""`signatures.verify`: it never raises, takes what is signed as it is, and nothing whose signature does not fit.

What fits is said here anew, from the descriptions of the schemes, with the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote

from ingest.signatures import STRENGTH, SignedRequest, Verdict, verify
from schemas.sources import Signature
from tests.fuzz.checks import NOW, Account, Case, Target
from tests.fuzz.mutate import Mutator

KEY = b"my key is no secret here!"
SECRETS: dict[Signature, bytes] = {
    "standard-webhooks": b"whsec_" + base64.b64encode(KEY),
    "hubspot-v3": b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
    "hubspot-v2": b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
    "hubspot-v1": b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
    "bearer": b"a-long-token",
}
URIS = (
    "https://www.example.com/hooks/hs",
    "https://www.example.com/hooks/hs?a=b%20c&d=%2F%3a",
    "http://x/hooks/%E2%82%AC?q=é#f",
)
BODIES = (b"", b"{}", b'{"a": "\xc3\xa9\xe2\x82\xac"}', b"\xff\x00", b'[{"eventId": 1}]' * 20)
TOLERANCE_S = 300
#: What HubSpot decodes in an address before it signs it.
_ESCAPES = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]


def case(chance: random.Random) -> Case:
    """A signed request, with up to three injuries; those that have none must be taken."""
    mutator = Mutator(chance)
    scheme: Signature = mutator.pick(STRENGTH)
    uri, body = mutator.pick(URIS), mutator.pick(BODIES)
    request = SignedRequest("POST", (uri,), _signed(scheme, uri, body), body)
    whole = mutator.often(0.15)
    injured = request if whole else _injured(mutator, request)
    allowed = (scheme,) if whole else tuple(dict.fromkeys(mutator.pick(STRENGTH) for _ in range(3)))
    secrets = [SECRETS[scheme]]
    if not whole and mutator.often(0.3):
        secrets = [
            mutator.pick((b"", b"\xff", b"whsec_", b"whsec_!!", SECRETS[scheme])) for _ in range(chance.randrange(4))
        ]
    return Case((injured, allowed, secrets), lambda: _check(injured, allowed, secrets, whole=whole))


def _check(request: SignedRequest, allowed: Sequence[Signature], secrets: Sequence[bytes], *, whole: bool) -> Account:
    verdict = verify(request, secrets, allowed, NOW, TOLERANCE_S)
    assert isinstance(verdict, Verdict)
    assert verify(request, secrets, allowed, NOW, TOLERANCE_S) is verdict
    if whole:
        assert verdict is Verdict.OK
    if verdict:
        assert any(FITS[scheme](request, secret) for scheme in allowed for secret in secrets if secret)
    return Account(changes=1) if verdict else Account(refused=1)


def _signed(scheme: Signature, uri: str, body: bytes) -> Headers:
    ms, secret = str(NOW // 1_000).encode(), SECRETS[scheme]
    match scheme:
        case "standard-webhooks":
            text = b"msg_1." + str(NOW // 1_000_000).encode() + b"." + body
            signature = b"v1," + base64.b64encode(hmac.digest(KEY, text, "sha256"))
            return [
                (b"Webhook-Id", b"msg_1"),
                (b"webhook-timestamp", text.split(b".")[1]),
                (b"webhook-signature", b"v1,x " + signature),
            ]
        case "hubspot-v3":
            return [
                (b"X-HubSpot-Signature-v3", _v3(secret, "POST", uri, body, ms)),
                (b"X-HubSpot-Request-Timestamp", ms),
            ]
        case "hubspot-v2":
            digest = hashlib.sha256(secret + b"POST" + uri.encode() + body).hexdigest().encode()
            return [(b"x-hubspot-signature", digest), (b"x-hubspot-signature-version", b"v2")]
        case "hubspot-v1":
            return [(b"x-hubspot-signature", hashlib.sha256(secret + body).hexdigest().encode())]
        case "bearer":
            return [(b"authorization", b"Bearer " + secret)]


def _v3(secret: bytes, method: str, uri: str, body: bytes, timestamp: bytes) -> bytes:
    plain = _ESCAPES.sub(lambda found: unquote(found[0]), uri.partition("#")[0])
    text = method.encode("utf-8", "replace") + plain.encode("utf-8", "replace") + body + timestamp
    return base64.b64encode(hmac.digest(secret, text, "sha256"))


def _all(request: SignedRequest, name: bytes) -> list[bytes]:
    return [value.strip() for given, value in request.headers if given.lower() == name]


def _fits_standard(request: SignedRequest, secret: bytes) -> bool:
    ids, times = _all(request, b"webhook-id"), _all(request, b"webhook-timestamp")
    signatures = _all(request, b"webhook-signature")
    if secret != SECRETS["standard-webhooks"] or not (
        len(ids) == len(times) == len(signatures) == 1 and times[0].isdigit()
    ):
        return False
    seconds = int(times[0])
    digest = hmac.digest(KEY, ids[0] + b"." + str(seconds).encode() + b"." + request.body, "sha256")
    return (
        abs(NOW - seconds * 1_000_000) <= TOLERANCE_S * 1_000_000
        and b"v1," + base64.b64encode(digest) in signatures[0].split()
    )


def _fits_v3(request: SignedRequest, secret: bytes) -> bool:
    times, given = _all(request, b"x-hubspot-request-timestamp"), _all(request, b"x-hubspot-signature-v3")
    if (
        len(times) != 1
        or len(given) != 1
        or not times[0].isdigit()
        or abs(NOW - int(times[0]) * 1_000) > TOLERANCE_S * 1_000_000
    ):
        return False
    return any(_v3(secret, request.method, uri, request.body, times[0]) == given[0] for uri in request.uris)


def _fits_v2(request: SignedRequest, secret: bytes) -> bool:
    texts = [(request.method + uri).encode("utf-8", "replace") + request.body for uri in request.uris]
    return _all(request, b"x-hubspot-signature") in [
        [hashlib.sha256(secret + text).hexdigest().encode()] for text in texts
    ]


def _fits_v1(request: SignedRequest, secret: bytes) -> bool:
    return _all(request, b"x-hubspot-signature") == [hashlib.sha256(secret + request.body).hexdigest().encode()]


def _fits_bearer(request: SignedRequest, secret: bytes) -> bool:
    return [(given[:7].lower(), given[7:].strip()) for given in _all(request, b"authorization")] == [
        (b"bearer ", secret)
    ]


FITS: dict[Signature, Callable[[SignedRequest, bytes], bool]] = {
    "standard-webhooks": _fits_standard,
    "hubspot-v3": _fits_v3,
    "hubspot-v2": _fits_v2,
    "hubspot-v1": _fits_v1,
    "bearer": _fits_bearer,
}


def _injured(mutator: Mutator, request: SignedRequest) -> SignedRequest:
    method, uris, headers, body = request.method, list(request.uris), list(request.headers), request.body
    for _ in range(mutator.chance.randint(0, 3)):
        at = mutator.chance.randrange(len(headers)) if headers else 0
        match mutator.chance.randrange(8):
            case 0:
                body = mutator.raw(body)
            case 1:
                uris = [mutator.text(uris[0]) if uris else "", *uris[: mutator.chance.randrange(2)]]
            case 2:
                method = mutator.pick(("GET", "post", "\ud800", ""))
            case 3 if headers:
                headers[at] = (headers[at][0], mutator.raw(headers[at][1]))
            case 4 if headers:
                headers.append(headers[at])
            case 5 if headers:
                del headers[at]
            case 6:
                headers += _signed(mutator.pick(STRENGTH), uris[0] if uris and uris[0].isascii() else URIS[0], body)
            case _:
                name = (
                    mutator.pick(headers)[0] if headers and mutator.often(0.7) else mutator.raw(b"x-hubspot-signature")
                )
                headers.append((name, mutator.text().encode("utf-8", "replace")))
    return SignedRequest(method, tuple(uris), headers, body)


@contextmanager
def _opened() -> Iterator[Callable[[random.Random], Case]]:
    yield case


TARGETS = (Target("signatures", 90, _opened),)
