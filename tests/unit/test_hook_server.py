"""The webhook server on a real port: what each request is answered, and that 2xx means kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import hook_protocol
from ingest.door import Context, Received, RecordReader, Refused
from schemas.change import Change
from schemas.sources import ServeConfig
from tests.hooks import SECRET, event, event_id, raw_request, signed
from tests.stack import wait_for
from tests.unit.hook_samples import Served, connected, hook, read_to_end, serving

BODY = event(1)


def post(served: Served, body: bytes = BODY, path: str = "/hooks/crm", **headers: str) -> httpx.Response:
    """A signed request; `headers` are more, or others, with _ for -."""
    given = {**signed(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(served.url + path, content=body, headers=given, timeout=30)


@pytest.fixture(scope="module")
def usual() -> Iterator[Served]:
    with serving(body_bytes_max=4096, nesting_max=8, batch_events_max=3) as served:
        yield served


def test_a_signed_request_is_kept_and_answered() -> None:
    """The change is in the sink when the answer comes, and the answer counts it."""
    with serving() as served:
        answer = post(served)
        assert (answer.status_code, answer.json()) == (200, {"received": 1, "accepted": 1, "quarantined": 0})
        assert served.sink.event_ids == [event_id(1)]
        assert (served.told.answers, served.told.changes) == ({("crm", "accepted"): 1}, 1)


def test_bad_input_is_quarantined_and_the_answer_is_still_200() -> None:
    """Sending it again would not help: what was refused is kept with its bytes, and with no header that proves anything."""
    with serving() as served:
        answer = post(served, b'{"x"', authorization="Bearer abc", cookie="a=b", ce_id="7")
        assert (answer.status_code, answer.json()) == (200, {"received": 1, "accepted": 0, "quarantined": 1})
        (taken,) = served.sink.taken
        (refused,) = taken.refused
        assert (refused.code, refused.payload, refused.origin, refused.position) == (
            "bad_json",
            b'{"x"',
            "hooks/crm",
            0,
        )
        assert set(refused.around) == {"content-type", "webhook-id", "webhook-timestamp", "ce-id"}


def test_a_door_with_an_error_in_it_loses_nothing() -> None:
    """The body is in the quarantine, the answer is 200, and the next request is taken."""

    class Failing:
        def reader(self, context: Context) -> RecordReader:
            return self

        def take(self, message: Received, origin: str, position: int) -> Sequence[Change | Refused]:
            raise ZeroDivisionError("oh")

    with serving(hook(door=Failing())) as served:
        assert [post(served).json()["quarantined"] for _ in range(2)] == [1, 1]
        assert served.sink.codes == ["door_failed"] * 2


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_signature"),
        (signed(BODY, secret="whsec_bm90IG91cnMgYXQgYWxsIQ=="), "bad_signature"),
        (signed(BODY + b" "), "bad_signature"),
        (signed(BODY, at=1_700_000_000), "stale"),
    ],
)
def test_strangers_learn_one_word_and_leave_nothing(usual: Served, headers: dict[str, str], reason: str) -> None:
    """401 with the reason; nothing is kept, not even in the quarantine."""
    before = len(usual.sink.taken)
    answer = httpx.post(f"{usual.url}/hooks/crm", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": reason})
    assert len(usual.sink.taken) == before
    assert usual.told.reasons["crm", reason] >= 1


def test_unknown_places_and_methods(usual: Served) -> None:
    """404 where no source is, 405 for anything but POST where one is."""
    for path in ("/hooks/other", "/hooks/", "/hooks/acme/other", "/hooks/crm/", "/hooks/crm/acme", "/elsewhere"):
        assert post(usual, path=path).status_code == 404, path
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"):
        answer = httpx.request(method, f"{usual.url}/hooks/crm")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), method
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_tenants_with_a_source_of_one_name_need_their_own() -> None:
    """The short form goes while it is clear whose it is; the long one always does, each to its own tenant."""
    with serving(hook("acme", "crm"), hook("bolt", "crm"), hook("bolt", "web")) as served:
        paths = ("/hooks/crm", "/hooks/acme/crm", "/hooks/bolt/crm", "/hooks/web", "/hooks/bolt/web", "/hooks/acme/web")
        assert [post(served, path=path).status_code for path in paths] == [404, 200, 200, 200, 200, 404]
        assert [t.context.tenant for t in served.sink.taken] == ["acme", "bolt", "bolt", "bolt"]


class TestLimits:
    """What is too large, too many, too deep, too slow."""

    def test_a_body_that_says_it_is_too_large(self, usual: Served) -> None:
        """Refused by its Content-Length: not a byte of it is asked for."""
        with connected(usual.port) as connection:
            connection.sendall(
                b"POST /hooks/crm HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4097\r\n\r\n"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")

    def test_a_body_that_turns_out_too_large(self, usual: Served) -> None:
        """Refused as it comes in chunks; the sender gets the answer while it still sends."""

        def chunks() -> Iterator[bytes]:
            for _ in range(64):
                yield b"x" * 4096

        assert httpx.post(f"{usual.url}/hooks/crm", content=chunks()).status_code == 413

    def test_what_is_compressed(self, usual: Served) -> None:
        """No encoding but identity: nothing unfolds here."""
        assert post(usual, content_encoding="gzip").status_code == 415
        assert post(usual, content_encoding="identity").status_code == 200

    def test_a_head_that_is_too_large(self, usual: Served) -> None:
        """Refused before it is read to its end."""
        with connected(usual.port) as connection:
            connection.sendall(b"POST /hooks/crm HTTP/1.1\r\nx: " + b"y" * (hook_protocol.HEAD_BYTES_MAX + 1))
            assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")

    def test_nesting(self, usual: Served) -> None:
        """Too deep is bad input: kept, counted, and answered with 200, without a parser seeing it."""
        assert post(usual, b"[" * 9 + b"]" * 9).json()["quarantined"] == 1
        assert usual.sink.codes[-1] == "too_deep"

    def test_events(self, usual: Served) -> None:
        """More events than one request may hold: the sender is to send fewer, so nothing of it is kept."""
        before = len(usual.sink.taken)
        answer = post(usual, b"[1, 2, 3, 4]")
        assert answer.status_code == 413
        assert "serve.batch_events_max" in answer.json()["error"]
        assert len(usual.sink.taken) == before

    def test_a_body_that_does_not_come(self) -> None:
        """408 once the time is over, and what was held for it is free again."""
        with serving(request_timeout_s=0.3) as served, connected(served.port) as connection:
            connection.sendall(raw_request(BODY)[:-1])
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
            assert served.told.answers["crm", "too_slow"] == 1
            assert served.queue.hold(64 << 20)

    def test_a_head_that_does_not_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Slow senders of heads (slow loris) are told so and cut off; those who send nothing are cut off."""
        monkeypatch.setattr(hook_protocol, "PATIENCE_S", 0.2)
        with serving() as served, connected(served.port) as slow, connected(served.port) as silent:
            slow.sendall(b"POST /hooks/crm HTTP/1.1\r\nx: ")
            assert read_to_end(slow).startswith(b"HTTP/1.1 408 ")
            assert read_to_end(silent) == b""

    def test_a_refused_body_that_goes_on_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """After its answer the rest of a body is not read for longer than the patience lasts."""
        monkeypatch.setattr(hook_protocol, "PATIENCE_S", 0.2)
        with serving(body_bytes_max=1024) as served, connected(served.port) as connection:
            connection.sendall(b"POST /hooks/crm HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n")
            assert read_to_end(connection).startswith(b"HTTP/1.1 413 ")

    def test_too_many_connections(self) -> None:
        """Beyond the bound a new connection is told to come again; those before it go on."""
        with (
            serving(settings={"limit_concurrency": 3}) as served,
            connected(served.port) as first,
            connected(served.port),
            connected(served.port) as third,
        ):
            answer = read_to_end(third)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 5\r\n" in answer
            first.sendall(raw_request(BODY))
            assert first.recv(4096).startswith(b"HTTP/1.1 200 ")


class TestOverload:
    """More comes than can be written."""

    def test_a_full_queue(self) -> None:
        """429 with Retry-After, before the body is read; what waited is written and answered with 200."""
        with serving(queue_requests_max=2) as served, ThreadPoolExecutor(2) as pool:
            served.sink.open.clear()
            waiting = [pool.submit(post, served, event(number)) for number in (1, 2)]
            wait_for(lambda: served.queue.depth == 2, "both wait")
            answer = post(served)
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            with connected(served.port) as connection:
                request = raw_request(BODY, headers={"expect": "100-continue"})
                connection.sendall(request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")  # and not 100: the body is not wanted
            served.sink.open.set()
            assert [one.result().status_code for one in waiting] == [200, 200]
            assert sorted(served.sink.event_ids) == [event_id(1), event_id(2)]
            assert served.queue.depth == 0
            assert post(served, event(3)).status_code == 200

    def test_bytes_are_bounded_too(self) -> None:
        """Large bodies fill the queue before their number does."""
        large = b'{"x": "' + b"y" * 60_000 + b'"}'
        with serving(queue_bytes_max=1 << 17) as served, ThreadPoolExecutor(2) as pool:
            served.sink.open.clear()
            waiting = [pool.submit(post, served, large) for _ in range(2)]
            wait_for(lambda: served.queue.depth == 2, "both wait")
            assert post(served, large).status_code == 429
            served.sink.open.set()
            assert [one.result().status_code for one in waiting] == [200, 200]
            assert post(served, large).status_code == 200

    def test_what_is_not_written_in_time(self) -> None:
        """503 and not 200, whatever becomes of it; its room is free only once the writer has let go of it."""
        with serving(request_timeout_s=0.3) as served:
            served.sink.open.clear()
            answer = post(served)
            assert (answer.status_code, served.told.answers) == (503, {("crm", "too_late"): 1})
            assert "retry-after" in answer.headers
            assert served.queue.depth == 1
            wait_for(lambda: served.queue.trouble, "a write that takes so long is trouble")
            assert post(served).status_code == 503
            served.sink.open.set()
            wait_for(lambda: served.queue.depth == 0, "the writer is done with it")

    def test_requests_that_come_together_are_written_together(self) -> None:
        """While one write is under way the next ones gather."""
        with serving() as served, ThreadPoolExecutor(9) as pool:
            served.sink.open.clear()
            first = pool.submit(post, served, event(0))
            assert served.sink.begun.wait(20)
            others = [pool.submit(post, served, event(number)) for number in range(1, 9)]
            wait_for(lambda: served.queue.depth == 9, "all wait")
            served.sink.open.set()
            assert {one.result().status_code for one in [first, *others]} == {200}
            assert sorted(served.sink.event_ids) == sorted(event_id(number) for number in range(9))


class TestOutage:
    """What is taken in cannot be written."""

    def test_it_says_so_and_comes_back_by_itself(self) -> None:
        """503 with Retry-After while it lasts, nothing kept; it finds out alone that it can write again."""
        with serving() as served:
            served.sink.broken = True
            answer = post(served)
            assert (answer.status_code, served.sink.taken) == (503, [])
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert served.queue.trouble == "the disk is full."
            assert post(served).status_code == 503
            wait_for(lambda: served.told.failures >= 2, "it tries by itself")
            served.sink.broken = False
            wait_for(lambda: served.queue.trouble is None, "it can write")
            assert post(served).status_code == 200

    def test_it_is_not_ready_before_it_has_looked(self) -> None:
        """A server that begins during an outage says so from the start."""
        served = Served([hook()], ServeConfig())
        assert served.queue.trouble is not None
        served.sink.broken = True
        served.queue.start()
        wait_for(lambda: served.told.failures, "it has looked")
        assert served.queue.trouble is not None
        served.sink.broken = False
        wait_for(lambda: served.queue.trouble is None, "it can write")
        served.stop()
        assert served.sink.closed


class TestConnections:
    """One connection, several requests."""

    def test_kept_alive(self, usual: Served) -> None:
        """Good and bad requests on one connection, each with its answer."""
        with httpx.Client(base_url=usual.url) as client:
            bad = {**signed(BODY), "webhook-signature": "v1,AAAA"}
            for headers, status in ((signed(BODY), 200), (bad, 401), (signed(BODY), 200)):
                assert client.post("/hooks/crm", content=BODY, headers=headers).status_code == status

    def test_pipelined(self, usual: Served) -> None:
        """Requests sent without waiting are answered in their order."""
        before = len(usual.sink.taken)
        last = raw_request(BODY, "/hooks/none", {"connection": "close"})
        with connected(usual.port) as connection:
            connection.sendall(b"".join(raw_request(event(number)) for number in range(20, 23)) + last)
            answers = read_to_end(connection)
        assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"404"]
        assert usual.sink.event_ids[-3:] == [event_id(number) for number in range(20, 23)]
        assert len(usual.sink.taken) == before + 3

    def test_stopping_answers_what_waits(self) -> None:
        """At the end nothing new is taken; what was taken is written and answered."""
        with serving() as served, ThreadPoolExecutor(3) as pool:
            served.sink.open.clear()
            waiting = [pool.submit(post, served, event(number)) for number in range(3)]
            wait_for(lambda: served.queue.depth == 3, "all wait")
            stopping = threading.Thread(target=served.stop)
            stopping.start()

            def refused() -> bool:
                try:
                    with connected(served.port):
                        return False
                except OSError:
                    return True

            wait_for(refused, "no new connection is taken")
            served.sink.open.set()
            assert [one.result().status_code for one in waiting] == [200, 200, 200]
            stopping.join(20)
            assert sorted(served.sink.event_ids) == [event_id(number) for number in range(3)]
            assert served.sink.closed


def test_the_secrets_of_the_moment_count() -> None:
    """A secret that is exchanged counts from the next request on; without any nobody gets in."""
    now: list[bytes] = [b"other"]
    with serving(hook(secrets=lambda: tuple(now))) as served:
        assert post(served).json() == {"error": "bad_signature"}
        now[:] = [b"other", SECRET.encode()]
        assert post(served).status_code == 200
        now.clear()
        assert post(served).json() == {"error": "no_secret"}


@pytest.mark.parametrize("path", ["/hooks/crm", "/hooks/none"], ids=["while-its-body-is-read", "answered-at-once"])
def test_a_body_that_is_no_http_any_more(usual: Served, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A chunk without a size ends the connection after one answer; the program has not failed."""
    before = len(usual.sink.taken)
    for after in (b"g\r\n", b"2\r\n{}\r\n-1\r\n", b"2\r\n{}x"):
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        with connected(usual.port) as connection:
            connection.sendall(head + after)
            answer = read_to_end(connection)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.split()[1] in (b"400", b"404")
    assert post(usual).status_code == 200
    assert len(usual.sink.taken) == before + 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_the_server_stays(usual: Served, data: st.DataObject) -> None:
    """Bytes that are no request, and signed bodies of any content: each is answered or cut off, and the next is served."""
    if data.draw(st.booleans()):
        request = bytearray(raw_request(BODY))
        for _ in range(data.draw(st.integers(1, 8))):
            request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
        with connected(usual.port) as connection:
            connection.sendall(bytes(request))
            connection.shutdown(1)
            read_to_end(connection)
    else:
        body = data.draw(st.binary(max_size=300) | st.text('[]{}",:\\u0D', max_size=300).map(str.encode))
        answer = post(usual, body)
        assert answer.status_code in (200, 413)
    assert post(usual).status_code == 200
