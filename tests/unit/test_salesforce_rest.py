"""The refetch port: what both adapters promise, and how the one over REST bears with what the API may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.base import PlanwatchError
from schemas.sources import SalesforceConfig
from storage.ports import Refetch, RefetchFailed
from storage.salesforce_memory import MemoryRefetch
from storage.salesforce_rest import ATTEMPTS_MAX, RETRY_MAX_S, SalesforceRest, Token, rest_of
from tests.unit.salesforce_server import TOKEN, SalesforceServer, serving

RECORDS: dict[str, dict[str, dict[str, Any]]] = {
    "Opportunity": {
        name: {"Id": name, "SystemModstamp": "2024-03-05T10:15:30.000+0000", "StageName": "New", "Amount": amount}
        for name, amount in (("006A", 5), ("006B", None), ("006C", 7))
    },
    "Account": {},
}


def columns(_name: str) -> tuple[str, ...]:
    """What is asked for; the organisation has no CurrencyIsoCode."""
    return ("Id", "SystemModstamp", "StageName", "Amount", "CurrencyIsoCode")


@pytest.fixture
def server() -> Iterator[SalesforceServer]:
    with serving(RECORDS) as running:
        yield running


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n", encoding="ascii")
    return path


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, in seconds."""
    return []


@pytest.fixture
def rest(server: SalesforceServer, token: Path, waits: list[float]) -> Iterator[SalesforceRest]:
    with SalesforceRest(server.url, Token(token), "v62.0", columns, timeout_s=5, sleep=waits.append) as made:
        yield made


@pytest.fixture(params=["memory", "rest"])
def port(request: pytest.FixtureRequest) -> Refetch:
    if request.param == "memory":
        return MemoryRefetch(RECORDS)
    found: Refetch = request.getfixturevalue("rest")
    return found


def test_a_record(port: Refetch) -> None:
    """Its fields under the CRM's names; an empty one is there and none."""
    assert port.fetch("Opportunity", "006B") == RECORDS["Opportunity"]["006B"]


def test_a_record_that_is_gone(port: Refetch) -> None:
    """None, and no error."""
    assert port.fetch("Opportunity", "006Z") is None
    assert port.fetch("Account", "006A") is None


def test_all_records(port: Refetch) -> None:
    """Every record once, over all pages."""
    assert list(port.fetch_all("Opportunity")) == list(RECORDS["Opportunity"].values())
    assert list(port.fetch_all("Account")) == []


def test_decimals_are_exact(server: SalesforceServer, rest: SalesforceRest) -> None:
    """An amount comes as it is written."""
    server.records["Opportunity"]["006A"] = {**RECORDS["Opportunity"]["006A"], "Amount": 1000.1}
    assert (rest.fetch("Opportunity", "006A") or {})["Amount"] == Decimal("1000.1")


def test_an_object_that_does_not_exist(rest: SalesforceRest) -> None:
    """Told apart from a record that is gone."""
    with pytest.raises(RefetchFailed, match="Case") as failed:
        rest.fetch("Case", "500A")
    assert failed.value.kind == "absent"


def test_an_id_cannot_lead_elsewhere(server: SalesforceServer, rest: SalesforceRest) -> None:
    """An id from the wire is one segment of the path."""
    assert rest.fetch("Opportunity", "../../query?q=x") is None
    assert server.asked[-1].startswith("/services/data/v62.0/sobjects/Opportunity/..%2F..%2Fquery%3Fq%3Dx?fields=")


def test_an_expired_token(server: SalesforceServer, rest: SalesforceRest, token: Path) -> None:
    """The file is named; once it is renewed the very next request goes through."""
    server.token = "renewed"
    with pytest.raises(RefetchFailed, match=str(token)) as failed:
        rest.fetch("Opportunity", "006A")
    assert failed.value.kind == "unauthorised"
    assert TOKEN not in str(failed.value)
    token.write_text("renewed", encoding="ascii")
    assert rest.fetch("Opportunity", "006A") is not None


@pytest.mark.parametrize("content", ["", "two words", "ü"])
def test_a_token_file_without_a_token(rest: SalesforceRest, token: Path, content: str) -> None:
    """Said before anything is sent."""
    token.write_text(content, encoding="utf-8")
    with pytest.raises(RefetchFailed, match=str(token)):
        rest.fetch("Opportunity", "006A")


@pytest.mark.parametrize(
    "trouble",
    [
        (429, "", {"Retry-After": "7"}),
        (403, "REQUEST_LIMIT_EXCEEDED", {}),
        (503, "SERVER_UNAVAILABLE", {}),
        (500, "", {}),
    ],
)
def test_what_passes_is_tried_again(
    server: SalesforceServer, rest: SalesforceRest, waits: list[float], trouble: tuple[int, str, dict[str, str]]
) -> None:
    """Limits and failures of the server: after a wait that the answer may name, and with success."""
    server.trouble = [trouble, trouble]
    assert rest.fetch("Opportunity", "006A") is not None
    assert len(waits) == 2
    assert all(wait >= 7 for wait in waits) or "Retry-After" not in trouble[2]


@pytest.mark.parametrize(("status", "kind"), [(429, "limited"), (503, "unavailable")])
def test_attempts_are_bounded(
    server: SalesforceServer, rest: SalesforceRest, waits: list[float], status: int, kind: str
) -> None:
    """What does not pass is said in the end."""
    server.trouble = [(status, "", {})] * 50
    with pytest.raises(RefetchFailed) as failed:
        rest.fetch("Opportunity", "006A")
    assert failed.value.kind == kind
    assert len(waits) == ATTEMPTS_MAX - 1


def test_a_long_wait_is_left_to_the_next_round(
    server: SalesforceServer, rest: SalesforceRest, waits: list[float]
) -> None:
    """Told to come back in an hour, it does not sit and wait."""
    server.trouble = [(429, "", {"Retry-After": "3600"})]
    with pytest.raises(RefetchFailed):
        rest.fetch("Opportunity", "006A")
    assert max(waits, default=0) <= RETRY_MAX_S


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(403, "INSUFFICIENT_ACCESS", "forbidden"), (400, "INVALID_FIELD", "refused")]
)
def test_what_does_not_pass_is_not_tried_again(
    server: SalesforceServer, rest: SalesforceRest, waits: list[float], status: int, code: str, kind: str
) -> None:
    """Rights and wrong settings are for people to mend."""
    server.trouble = [(status, code, {})]
    with pytest.raises(RefetchFailed, match=code) as failed:
        rest.fetch("Opportunity", "006A")
    assert (failed.value.kind, waits) == (kind, [])


def test_no_connection(token: Path, waits: list[float]) -> None:
    """Nobody listens: unavailable, after bounded attempts."""
    with serving({}) as gone:
        url = gone.url
    with (
        SalesforceRest(url, Token(token), "v62.0", columns, timeout_s=1, sleep=waits.append) as rest,
        pytest.raises(RefetchFailed) as failed,
    ):
        rest.fetch("Opportunity", "006A")
    assert (failed.value.kind, len(waits)) == ("unavailable", ATTEMPTS_MAX - 1)


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/services/data/v62.0/query/x", "//evil.example/x", "/services/data/v62.0/query/../x"],
)
def test_the_next_page_cannot_lead_the_token_away(server: SalesforceServer, rest: SalesforceRest, address: str) -> None:
    """An address of a next page outside the query API is not followed."""
    server.next_url = address
    with pytest.raises(RefetchFailed, match="next page"):
        list(rest.fetch_all("Opportunity"))


@pytest.mark.parametrize(
    "url", ["http://example.my.salesforce.com", "ftp://x", "https://", "https://a@b.example", "https://x/y"]
)
def test_addresses_that_would_give_the_token_away(url: str, token: Path) -> None:
    """Only https, and a host alone."""
    with pytest.raises(PlanwatchError, match="instance_url"):
        SalesforceRest(url, Token(token), "v62.0", columns)


def test_settings(tmp_path: Path) -> None:
    """Without an instance there is no adapter; without a token file that is said."""
    make: Callable[..., Any] = rest_of
    assert make(SalesforceConfig(), "sources.sf.salesforce", tmp_path, columns) is None
    with pytest.raises(PlanwatchError, match=r"sources.sf.salesforce.token_file"):
        make(SalesforceConfig(instance_url="https://x.example"), "sources.sf.salesforce", tmp_path, columns)
