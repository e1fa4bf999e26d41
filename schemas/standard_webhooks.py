"""The Standard Webhooks scheme: what is signed, and with which key. Whoever signs and whoever verifies uses these.

The signed text is `ID.TIMESTAMP.BODY` with the timestamp in whole seconds, the signature `v1,` and the base64 of its
HMAC-SHA256 (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = b"whsec_"
VERSION = b"v1,"
#: The headers in which id, timestamp and signature travel, in lower case.
ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"


def signing_key(secret: bytes) -> bytes | None:
    """The key of a secret: the bytes after `whsec_` in base64, else the secret as it is; none where it holds no key."""
    if not secret.startswith(PREFIX):
        return secret or None
    encoded = secret.removeprefix(PREFIX)
    try:
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True) or None
    except binascii.Error:
        return None


def signature(key: bytes, message_id: bytes, timestamp_s: int, body: bytes) -> bytes:
    """One signature of a message as the header writes it: `v1,BASE64`."""
    signed = b"%s.%d.%s" % (message_id, timestamp_s, body)
    return VERSION + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
