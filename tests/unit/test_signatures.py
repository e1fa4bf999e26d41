"""Who sent a request: the vendors' published vectors, and what an attacker would try."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.signatures import SignedRequest, Verdict, allowed_signatures, verify
from schemas.sources import HookConfig, Signature, SourceConfig

SECRET = b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URI = "https://www.example.com/webhook_uri"
#: The body of HubSpot's example for its first signature.
BODY = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
    b'"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
SENT_MS = 1_700_000_000_000
NOW = SENT_MS * 1000
#: POST, URI?x=a:b, BODY, SENT_MS under SECRET.
V3 = "pGaqipPiYpnRzTHQquj/LJH83HMaMUaJ132HqlEOjx8="
V1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
MINUTE = 60 * 1_000_000

WHSEC = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
WEBHOOK_BODY = b'{"test": 2432232314}'
WEBHOOK_NOW = 1_614_265_330_000_000


def request(
    headers: dict[str, str],
    body: bytes = BODY,
    uris: Sequence[str] = (f"{URI}?x=a:b",),
    method: str = "POST",
    more: Sequence[tuple[bytes, bytes]] = (),
) -> SignedRequest:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return SignedRequest(method, uris, [*raw, *more], body)


def third(signature: str = V3, timestamp: object = SENT_MS) -> dict[str, str]:
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(timestamp)}


def judged(
    sent: SignedRequest,
    allowed: Sequence[Signature] = ("hubspot-v3",),
    secrets: Sequence[bytes] = (SECRET,),
    now: int = NOW,
) -> Verdict:
    return verify(sent, secrets, allowed, now, 300)


def webhook(
    body: bytes = WEBHOOK_BODY,
    secrets: Sequence[bytes] = (WHSEC,),
    *,
    id: str = WEBHOOK["webhook-id"],
    timestamp: str = WEBHOOK["webhook-timestamp"],
    signature: str = WEBHOOK["webhook-signature"],
) -> Verdict:
    headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    return judged(request(headers, body), ("standard-webhooks",), secrets, WEBHOOK_NOW)


# HubSpot


def test_hubspots_first_signature_as_published() -> None:
    """The example of its documentation."""
    headers = {"X-HubSpot-Signature": V1, "X-HubSpot-Signature-Version": "v1"}
    assert judged(request(headers), ["hubspot-v1"]) is Verdict.OK


@pytest.mark.parametrize(
    ("method", "body", "signature"),
    [
        ("GET", b"", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
        (
            "POST",
            b'{"example_field":"example_value"}',
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        ),
    ],
)
def test_hubspots_second_signature_as_published(method: str, body: bytes, signature: str) -> None:
    """Both examples of its documentation."""
    headers = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": "v2"}
    sent = request(headers, body, [URI], method)
    assert judged(sent, ["hubspot-v2"]) is Verdict.OK
    assert judged(request(headers, body, [f"{URI}?a=1"], method), ["hubspot-v2"]) is Verdict.BAD_SIGNATURE


def test_hubspots_third_signature_as_published() -> None:
    """The example of its own client library, whose time is in 1970."""
    headers = third("HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=", 15_000_000)
    sent = request(headers, b"{'example_field':'example_value'}", [URI])
    assert judged(sent, now=15_000_000_000) is Verdict.OK


@pytest.mark.parametrize("query", ["x=a:b", "x=a%3Ab", "x=a%3ab"])
def test_the_escapes_that_hubspot_decodes_are_decoded(query: str) -> None:
    """It signs the address with them decoded, whichever way it calls it."""
    assert judged(request(third(), uris=[f"{URI}?{query}"])) is Verdict.OK


@pytest.mark.parametrize("query", ["x=a%253Ab", "x=a%20b", "x=a;b", "x=a:b&", "X=a:b"])
def test_no_other_address_passes(query: str) -> None:
    """Other escapes stay, none is decoded twice, and the rest is compared to the letter."""
    assert judged(request(third(), uris=[f"{URI}?{query}"])) is Verdict.BAD_SIGNATURE


def test_any_address_that_the_sender_may_have_called() -> None:
    """Behind a proxy one of several candidates fits."""
    sent = request(third(), uris=["http://10.0.0.7:8351/webhook_uri?x=a:b", f"{URI}?x=a:b"])
    assert judged(sent) is Verdict.OK


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (5 * MINUTE, Verdict.OK),
        (5 * MINUTE + 1000, Verdict.STALE),
        (-5 * MINUTE, Verdict.OK),
        (-5 * MINUTE - 1000, Verdict.FROM_THE_FUTURE),
        (10**18, Verdict.STALE),
    ],
)
def test_a_request_is_good_for_five_minutes(age: int, verdict: Verdict) -> None:
    """Replayed afterwards it is stale; from a clock far ahead it is too early."""
    assert judged(request(third()), now=NOW + age) is verdict


@pytest.mark.parametrize("at", [0, 1, len(BODY) // 2, len(BODY) - 1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    """Wherever in the body it stands."""
    body = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
    assert judged(request(third(), body)) is Verdict.BAD_SIGNATURE


def test_method_and_time_are_signed_too() -> None:
    """A request under another method, or dated anew, is none of the sender's."""
    assert judged(request(third(), method="PUT")) is Verdict.BAD_SIGNATURE
    assert judged(request(third(timestamp=SENT_MS + 1))) is Verdict.BAD_SIGNATURE


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "", None])
def test_an_older_signature_is_no_way_round(version: str | None) -> None:
    """A valid first signature is refused where only the third is taken, whatever it calls itself."""
    headers = {"X-HubSpot-Signature": V1} | ({} if version is None else {"X-HubSpot-Signature-Version": version})
    assert judged(request(headers)) is Verdict.VERSION_NOT_ALLOWED


def test_a_weaker_signature_does_not_rescue_a_stronger_one() -> None:
    """Where both are taken, a wrong or stale third one decides, though the first one beside it is right."""
    both: list[Signature] = ["hubspot-v1", "hubspot-v3"]
    old = {"X-HubSpot-Signature": V1, "X-HubSpot-Signature-Version": "v1"}
    assert judged(request(old), both) is Verdict.OK
    assert judged(request(old | third("A" * 44)), both) is Verdict.BAD_SIGNATURE
    assert judged(request(old | third()), both, now=NOW + 6 * MINUTE) is Verdict.STALE


@pytest.mark.parametrize(
    "timestamp",
    ["", "now", "-1700000000000", "+1700000000000", "1.7e12", "1700000000000.0", "1_700_000_000_000", "9" * 400, "١٧"],
)
def test_a_time_that_is_none(timestamp: str) -> None:
    """Not a number, signed, in another notation, huge, in other digits: refused, never an error."""
    assert judged(request(third(timestamp=timestamp))) in (Verdict.BAD_TIMESTAMP, Verdict.BAD_HEADER)


def test_a_time_in_seconds_is_stale() -> None:
    """HubSpot counts milliseconds."""
    assert judged(request(third(timestamp=SENT_MS // 1000))) is Verdict.STALE


def test_missing_parts() -> None:
    """No signature, and one without its time."""
    assert judged(request({})) is Verdict.MISSING_SIGNATURE
    assert judged(request({"X-HubSpot-Request-Timestamp": str(SENT_MS)})) is Verdict.MISSING_SIGNATURE
    assert judged(request({"X-HubSpot-Signature-v3": V3})) is Verdict.BAD_TIMESTAMP


@pytest.mark.parametrize("name", [b"x-hubspot-signature-v3", b"X-HUBSPOT-REQUEST-TIMESTAMP"])
def test_headers_that_stand_twice(name: bytes) -> None:
    """Which one was meant is not guessed, though one of them fits."""
    value = V3.encode() if b"signature" in name else str(SENT_MS).encode()
    assert judged(request(third(), more=[(name, value)])) is Verdict.DUPLICATE_HEADER
    assert judged(request(third(), more=[(name, b"x")])) is Verdict.DUPLICATE_HEADER


@pytest.mark.parametrize("value", [b"\xff\xfe", "ünïcode".encode(), "ünïcode".encode("latin-1"), b"", b"   "])
def test_headers_that_are_no_text(value: bytes) -> None:
    """Bytes beyond ASCII and nothing at all are refused, never an error."""
    headers = {"X-HubSpot-Request-Timestamp": str(SENT_MS)}
    assert judged(request(headers, more=[(b"X-HubSpot-Signature-v3", value)])) is Verdict.BAD_HEADER


# Secrets


@pytest.mark.parametrize("secrets", [[], [b""], [b"", b""]])
def test_without_a_secret_nobody_comes_in(secrets: list[bytes]) -> None:
    """Nor with a signature that was made with an empty one."""
    signed = f"POST{URI}".encode() + BODY + str(SENT_MS).encode()
    empty = base64.b64encode(hmac.digest(b"", signed, hashlib.sha256)).decode()
    for sent in (request(third()), request(third(empty), uris=[URI]), request({"Authorization": "Bearer "})):
        assert judged(sent, ["hubspot-v3", "bearer"], secrets) is Verdict.NO_SECRET


@pytest.mark.parametrize("secrets", [[SECRET, b"new"], [b"new", SECRET], [b"a", SECRET, b"b"]])
def test_any_secret_counts_while_they_are_exchanged(secrets: list[bytes]) -> None:
    """The old and the new one, in any order; afterwards the old one no more."""
    assert judged(request(third()), secrets=secrets) is Verdict.OK
    assert judged(request(third()), secrets=[one for one in secrets if one != SECRET]) is Verdict.BAD_SIGNATURE


def test_nothing_of_a_secret_is_shown() -> None:
    """Not in what a request looks like in a traceback."""
    sent = request({"Authorization": "Bearer open-sesame"}, b"of the customer")
    assert "sesame" not in repr(sent)
    assert "customer" not in repr(sent)


# Standard Webhooks


def test_standard_webhooks_as_published() -> None:
    """The example of its own libraries."""
    assert webhook() is Verdict.OK
    assert webhook(b'{"test": 2432232315}') is Verdict.BAD_SIGNATURE
    assert webhook(id="msg_other") is Verdict.BAD_SIGNATURE
    assert webhook(timestamp="1614265331") is Verdict.BAD_SIGNATURE


def test_a_webhook_signed_with_two_keys() -> None:
    """While keys are exchanged: several signatures in a header, of which one fits, and others' versions are passed by."""
    right = WEBHOOK["webhook-signature"]
    wrong = "v1," + "A" * 43 + "="
    assert webhook(signature=f"{wrong} {right}") is Verdict.OK
    assert webhook(signature=f"v1a,hnO3f9T8Ytu9 {right}") is Verdict.OK
    assert webhook(signature=wrong) is Verdict.BAD_SIGNATURE
    assert webhook(signature=right.replace("v1,", "v1a,")) is Verdict.VERSION_NOT_ALLOWED
    assert webhook(signature=right.removeprefix("v1,")) is Verdict.VERSION_NOT_ALLOWED
    assert webhook(secrets=[b"whsec_" + base64.b64encode(b"k" * 24), WHSEC]) is Verdict.OK


def test_a_webhook_secret_in_its_forms() -> None:
    """Base64 after whsec_, also without its padding; anything else is the key as it is; no base64 is no secret."""
    key = b"twenty-four bytes or more"
    signed = b"msg_1.1614265330." + WEBHOOK_BODY
    signature = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    encoded = b"whsec_" + base64.b64encode(key)
    for secret in (key, encoded, encoded.rstrip(b"=")):
        assert webhook(secrets=[secret], id="msg_1", signature=signature) is Verdict.OK
    assert webhook(secrets=[b"whsec_not base64"]) is Verdict.NO_SECRET
    assert webhook(secrets=[b"whsec_"]) is Verdict.NO_SECRET


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"timestamp": "1614265030"}, Verdict.BAD_SIGNATURE),
        ({"timestamp": "1614265029"}, Verdict.STALE),
        ({"timestamp": "1614265631"}, Verdict.FROM_THE_FUTURE),
        ({"timestamp": "1614265330000"}, Verdict.FROM_THE_FUTURE),
        ({"timestamp": "-1"}, Verdict.BAD_TIMESTAMP),
        ({"id": ""}, Verdict.BAD_HEADER),
        ({"signature": ""}, Verdict.BAD_HEADER),
        ({"signature": " ".join(["v1,AAAA"] * 17)}, Verdict.BAD_HEADER),
    ],
)
def test_webhook_headers_that_are_wrong(change: dict[str, Any], verdict: Verdict) -> None:
    """Each has its reason."""
    assert webhook(**change) is verdict


def test_a_signed_text_has_one_reading() -> None:
    """A full stop in the id could move the time of a genuine signature into the body; so an id has none."""
    body = b"9999999999.{}"
    signed = b"msg_1.1614265330." + body
    signature = "v1," + base64.b64encode(hmac.digest(b"k" * 24, signed, hashlib.sha256)).decode()
    secrets = [b"k" * 24]
    assert webhook(body, secrets, id="msg_1", signature=signature) is Verdict.OK
    moved = request(
        {"webhook-id": "msg_1.1614265330", "webhook-timestamp": "9999999999", "webhook-signature": signature}, b"{}"
    )
    assert judged(moved, ["standard-webhooks"], secrets, 9_999_999_999_000_000) is Verdict.BAD_HEADER


# Bearer tokens, and what is taken when nothing is configured


def test_bearer_tokens() -> None:
    """The scheme's name in any case, the token to the letter."""
    for header in ("Bearer open-sesame", "bearer  open-sesame "):
        assert judged(request({"Authorization": header}), ["bearer"], [b"open-sesame"]) is Verdict.OK
    for header in ("Bearer open-sesam", "Bearer open-sesame2", "Bearer OPEN-SESAME", "Bearer "):
        verdict = judged(request({"Authorization": header}), ["bearer"], [b"open-sesame"])
        assert verdict is Verdict.BAD_SIGNATURE
    assert judged(request({"Authorization": "Basic b3Blbg=="}), ["bearer"]) is Verdict.MISSING_SIGNATURE
    assert judged(request({"Authorization": "Bearer x"}), ["hubspot-v3"]) is Verdict.VERSION_NOT_ALLOWED


def test_what_a_source_takes() -> None:
    """As configured; else HubSpot's third for hubspot and Standard Webhooks for the others."""
    assert allowed_signatures(SourceConfig(kind="hubspot", hook=HookConfig())) == ("hubspot-v3",)
    assert allowed_signatures(SourceConfig(kind="hubspot")) == ("hubspot-v3",)
    assert allowed_signatures(SourceConfig(kind="webhook", hook=HookConfig())) == ("standard-webhooks",)
    chosen = HookConfig(signatures=("bearer",))
    assert allowed_signatures(SourceConfig(kind="hubspot", hook=chosen)) == ("bearer",)


def test_only_one_verdict_is_true() -> None:
    """A verdict may stand in a condition."""
    assert [verdict for verdict in Verdict if verdict] == [Verdict.OK]


NAMES = st.sampled_from(
    [
        *(name.encode() for name in WEBHOOK),
        b"X-HubSpot-Signature",
        b"x-hubspot-signature-v3",
        b"x-hubspot-request-timestamp",
        b"x-hubspot-signature-version",
        b"authorization",
        b"\xff",
    ]
)
VALUES = st.binary(max_size=60) | st.sampled_from([b"v1", b"v2", b"Bearer x", b"v1,", b"1700000000", V3.encode()])
SCHEMES: list[Signature] = ["hubspot-v3", "hubspot-v2", "hubspot-v1", "standard-webhooks", "bearer"]


@given(
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    body=st.binary(max_size=50),
    uris=st.lists(st.text(st.characters(codec=None), max_size=20), max_size=3),
    allowed=st.lists(st.sampled_from(SCHEMES), max_size=5),
    now=st.integers(0, 2**62),
)
def test_no_request_is_taken_by_chance_or_raises(
    headers: list[tuple[bytes, bytes]], body: bytes, uris: list[str], allowed: list[Signature], now: int
) -> None:
    """Whatever a stranger sends, the verdict is another than OK."""
    verdict = verify(SignedRequest("POST", uris, headers, body), [b"a secret of ours", WHSEC], allowed, now, 300)
    assert not verdict
