"""The refetch port over Salesforce's REST API.

GET /services/data/vNN.0/sobjects/OBJECT/ID gives a record, /sobjects/OBJECT/describe its fields, and /query pages of
a SOQL query, each with the address of the next one. (developer.salesforce.com, REST API Developer Guide)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from schemas.base import PlanwatchError
from schemas.sources import SalesforceConfig
from storage.backoff import jittered_s
from storage.ports import RefetchFailed

TIMEOUT_S = 20.0
ATTEMPTS_MAX = 4
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0
ANSWER_BYTES_MAX = 64 << 20
#: Pages of one query; Salesforce puts up to 2,000 records on each.
PAGES_MAX = 100_000
TOKEN_BYTES_MAX = 16 << 10
#: Hosts to which nothing goes over a network.
LOOPBACK = ("127.0.0.1", "::1", "[::1]", "localhost")
#: Salesforce's word for a request that exceeds the day's allowance; it comes with 403.
_LIMIT = "REQUEST_LIMIT_EXCEEDED"
#: The id is none of this object; it comes with 400.
_MALFORMED = "MALFORMED_ID"


class Token:
    """An access token in a file, read each time it is asked for: whoever renews it needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> str:
        """The token. Raises RefetchFailed where there is none."""
        try:
            with self.path.open("rb") as file:
                text = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RefetchFailed("unauthorised", f"{self.path}: the access token cannot be read: {error}.") from error
        if not text or not text.isprintable() or " " in text:
            raise RefetchFailed("unauthorised", f"{self.path}: holds no access token; put one line with it there.")
        return text


class SalesforceRest:
    """Records over HTTPS. What fails for a while is tried again, ATTEMPTS_MAX times in all.

    `columns` says which fields of an object are wanted; those that the organisation does not have are left out.
    """

    def __init__(
        self,
        instance_url: str,
        token: Token,
        api_version: str,
        columns: Callable[[str], Sequence[str]],
        *,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._base = checked_url(instance_url)
        self._root = f"/services/data/{api_version}"
        self._token = token
        self._columns = columns
        self._sleep = sleep
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)
        self._known: dict[str, tuple[str, ...]] = {}

    def __enter__(self) -> SalesforceRest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def fetch(self, object_name: str, record_id: str) -> Mapping[str, Any] | None:
        """The current version of a record; none when it is gone."""
        fields = ",".join(self._fields(object_name))
        where = f"{self._root}/sobjects/{quote(object_name, safe='')}/{quote(record_id, safe='')}"
        return _record(self._get(f"{where}?fields={quote(fields, safe=',')}", missing_ok=True))

    def fetch_all(self, object_name: str) -> Iterator[Mapping[str, Any]]:
        """Every record of an object that is not deleted, a page in memory at a time."""
        soql = f"SELECT {','.join(self._fields(object_name))} FROM {object_name}"  # noqa: S608 - SOQL of described names
        path = f"{self._root}/query?q={quote(soql, safe='')}"
        for _ in range(PAGES_MAX):
            page = self._get(path) or {}
            records = page.get("records")
            if not isinstance(records, list):
                raise RefetchFailed("refused", f"{self._base}: the answer to a query of {object_name} has no records.")
            for item in records:
                if (record := _record(item)) is not None:
                    yield record
            if page.get("done") is not False:
                return
            path = self._next(page.get("nextRecordsUrl"), path)

    def _next(self, path: object, before: str) -> str:
        """The next page's address. It may not lead away from the API: the token goes with it."""
        if not isinstance(path, str) or not path.startswith(f"{self._root}/query/") or ".." in path or path == before:
            raise RefetchFailed("refused", f"{self._base}: the address of a query's next page is not one: {path!r}.")
        return path

    def _fields(self, object_name: str) -> tuple[str, ...]:
        """The wanted fields that the object has."""
        known = self._known.get(object_name)
        if known is None:
            found = self._get(f"{self._root}/sobjects/{quote(object_name, safe='')}/describe") or {}
            names = {str(field.get("name")) for field in found.get("fields") or () if isinstance(field, dict)}
            known = self._known[object_name] = tuple(name for name in self._columns(object_name) if name in names)
            if "Id" not in known:
                raise RefetchFailed("refused", f"{self._base}: the description of {object_name} names no field Id.")
        return known

    def _get(self, path: str, *, missing_ok: bool = False) -> dict[str, Any] | None:
        """A JSON object of the API; none for what is not there, where that may be."""
        token, refused = self._token.read(), None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            wait_s = jittered_s(attempt, RETRY_FIRST_S, RETRY_MAX_S)
            try:
                answer = self._ask(path, token)
            except httpx.HTTPError as error:
                failed = RefetchFailed("unavailable", f"{self._base} does not answer: {type(error).__name__}: {error}.")
            else:
                status, retry_after, content = answer
                if status == 200 and isinstance(content, dict):
                    return content
                if missing_ok and (status == 404 or _code(content) == _MALFORMED):
                    return None
                failed = self._failure(path, status, content)
                if failed.kind == "unauthorised" and refused != token:
                    # It may have been renewed since it was read.
                    refused, token = token, self._token.read()
                    if token != refused:
                        continue
                wait_s = max(wait_s, retry_after)
            if failed.kind not in ("limited", "unavailable") or attempt == ATTEMPTS_MAX or wait_s > RETRY_MAX_S:
                raise failed
            self._sleep(wait_s)
        raise failed

    def _ask(self, path: str, token: str) -> tuple[int, float, Any]:
        """Status, the seconds to wait that the answer names, and its JSON."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        with self._client.stream("GET", self._base + path, headers=headers) as answer:
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise RefetchFailed(
                        "refused", f"{self._base}: an answer is larger than {ANSWER_BYTES_MAX:,} bytes."
                    )
        try:
            content = json.loads(body, parse_float=Decimal) if body else None
        except (ValueError, RecursionError):
            content = None
        after = answer.headers.get("Retry-After", "")
        return (
            answer.status_code,
            float(after) if after.isascii() and after.isdigit() and len(after) < 7 else 0.0,
            content,
        )

    def _failure(self, path: str, status: int, content: Any) -> RefetchFailed:
        code = _code(content)
        said = f"{self._base}{path.partition('?')[0]}: answered {status}{f' {code}' if code else ''}"
        if status == 401:
            return RefetchFailed("unauthorised", f"{said}; renew the access token in {self._token.path}.")
        if status == 404:
            return RefetchFailed("absent", f"{said}; check the mapping's objects.")
        if status == 429 or code == _LIMIT:
            return RefetchFailed("limited", f"{said}: too many requests; it is tried again later.")
        if status == 403:
            return RefetchFailed("forbidden", f"{said}; let the token's user read the object and all its records.")
        if status >= 500:
            return RefetchFailed("unavailable", f"{said}; it is tried again later.")
        return RefetchFailed(
            "refused", f"{said}; check salesforce.instance_url, api_version and the mapping's objects."
        )


def rest_of(
    config: SalesforceConfig, setting: str, home: Path, columns: Callable[[str], Sequence[str]]
) -> SalesforceRest | None:
    """The adapter for a source, where its configuration names an organisation. `setting` names it in messages."""
    if config.instance_url is None:
        return None
    if config.token_file is None:
        raise PlanwatchError(f"{setting}.token_file is not set: records cannot be fetched without an access token.")
    return SalesforceRest(config.instance_url, Token(home / config.token_file), config.api_version, columns)


def checked_url(url: str) -> str:
    """An organisation's address without a path. Raises PlanwatchError where a token could be read on the way to it."""
    parts = urlsplit(url)
    loopback = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or loopback) or not parts.netloc or parts.path.strip("/") or "@" in parts.netloc:
        raise PlanwatchError(
            f"salesforce.instance_url «{url}» must be https:// and a host, such as https://example.my.salesforce.com."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _code(content: Any) -> str:
    """The first error that an answer names."""
    first = content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else {}
    return str(first.get("errorCode", ""))[:80]


def _record(content: Any) -> dict[str, Any] | None:
    """A record without what the API says about it."""
    if not isinstance(content, dict):
        return None
    return {name: value for name, value in content.items() if name != "attributes"}
