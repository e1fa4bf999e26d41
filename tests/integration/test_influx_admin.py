"""`planwatch influx apply` and what `planwatch doctor` asks, on a real InfluxDB: buckets, and tokens that may do one job."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from influxdb_client.client.bucket_api import BucketsApi
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.authorization import Authorization
from influxdb_client.domain.bucket import Bucket
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException

from planwatch.native_servers import InfluxServer
from schemas.base import PlanwatchError
from schemas.stack import InfluxRole
from storage import flux
from storage.influx_admin import Applied, apply
from storage.influx_check import check
from tests.contracts import point
from tests.integration.influx_stack import Stack, applied, unapplied

ROLES: tuple[InfluxRole, ...] = ("worker", "board", "grafana")


@pytest.fixture
def fresh(influx: InfluxServer, tmp_path: Path) -> Stack:
    """A home for which nothing has been made yet."""
    return unapplied(influx, tmp_path / "home")


def outcomes(done: list[Applied]) -> dict[str, str]:
    return {item.what: item.outcome for item in done}


def ours(stack: Stack) -> list[Authorization]:
    """The authorizations of a stack, found by its buckets."""
    with stack.connect("admin") as admin:
        known = admin.authorizations_api().find_authorizations()
    return [one for one in known if stack.influx.bucket in (one.description or "")]


def status_of(call: Callable[[], object]) -> int:
    """204 for a call that succeeds, else the status with which InfluxDB refuses it."""
    try:
        call()
    except ApiException as error:
        return int(error.status)
    return 204


def write(client: InfluxDBClient, bucket: str) -> int:
    return status_of(lambda: client.write_api(SYNCHRONOUS).write(bucket, record="m f=1 1"))


def read(client: InfluxDBClient, bucket: str) -> int:
    return status_of(lambda: list(client.query_api().query_stream(flux.source(bucket))))


class TestApply:
    """Making what has to be there."""

    def test_all_is_made_and_then_kept(self, fresh: Stack) -> None:
        """The first run makes everything, the second finds it right and changes nothing."""
        done = outcomes(apply(fresh.config, fresh.home))
        things = [f"bucket {fresh.influx.bucket}", f"bucket {fresh.influx.live_bucket}"]
        things += [f"token of the {role}" for role in ROLES]
        assert {what: done[what] for what in things} == dict.fromkeys(things, "created")
        tokens = [fresh.token(role) for role in ROLES]
        known = sorted(one.id for one in ours(fresh))
        assert len(set(tokens)) == len(known) == 3
        assert set(outcomes(apply(fresh.config, fresh.home)).values()) == {"kept"}
        assert [fresh.token(role) for role in ROLES] == tokens
        assert sorted(one.id for one in ours(fresh)) == known

    def test_the_retention_of_the_buckets(self, fresh: Stack) -> None:
        """Daily series for good, series by the minute for as long as the configuration says."""
        config = fresh.config.model_copy(update={"live_series_days": 3})
        apply(config, fresh.home)
        assert retentions(fresh) == {fresh.influx.bucket: 0, fresh.influx.live_bucket: 3 * 86_400}

    def test_another_retention_is_reported_and_not_altered(self, fresh: Stack) -> None:
        """Unless it is wanted by force: a shorter time would delete points."""
        apply(fresh.config, fresh.home)
        shorter = fresh.config.model_copy(update={"live_series_days": 2})
        done = {item.what: item for item in apply(shorter, fresh.home)}
        item = done[f"bucket {fresh.influx.live_bucket}"]
        assert item.outcome == "differs"
        assert "for 7 days, not for 2 days" in item.detail
        assert "--force" in item.detail
        assert retentions(fresh)[fresh.influx.live_bucket] == 7 * 86_400
        assert outcomes(apply(shorter, fresh.home, force=True))[item.what] == "renewed"
        assert retentions(fresh)[fresh.influx.live_bucket] == 2 * 86_400
        assert outcomes(apply(shorter, fresh.home))[item.what] == "kept"

    def test_an_organisation_of_ones_own(self, influx: InfluxServer, tmp_path: Path, prefix: str) -> None:
        """It is made when it is not there, with its buckets and tokens in it."""
        stack = unapplied(influx, tmp_path / "home", org=prefix)
        assert outcomes(apply(stack.config, stack.home))[f"organisation {prefix}"] == "created"
        assert outcomes(apply(stack.config, stack.home))[f"organisation {prefix}"] == "kept"
        with stack.connect("worker") as worker:
            assert write(worker, stack.influx.bucket) == 204

    def test_files_that_only_their_owner_reads(self, fresh: Stack) -> None:
        """Tokens are made so, and a file that was opened up is closed again."""
        folder = fresh.home / "secrets"
        folder.chmod(0o755)
        apply(fresh.config, fresh.home)
        files = [folder / f"influx-{role}.token" for role in ROLES]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
        files[0].chmod(0o644)
        apply(fresh.config, fresh.home)
        assert files[0].stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in folder.iterdir()) == [
            "influx-admin.token",
            "influx-board.token",
            "influx-grafana.token",
            "influx-worker.token",
        ]

    def test_a_lost_file(self, fresh: Stack) -> None:
        """A new token is made, and the old one is worth nothing any more; the others stay as they are."""
        apply(fresh.config, fresh.home)
        old, board = fresh.token("worker"), fresh.token("board")
        (fresh.home / "secrets" / "influx-worker.token").unlink()
        done = outcomes(apply(fresh.config, fresh.home))
        assert (done["token of the worker"], done["token of the board"]) == ("renewed", "kept")
        assert fresh.token("worker") != old
        assert fresh.token("board") == board
        assert len(ours(fresh)) == 3
        with InfluxDBClient(fresh.influx.url, old, org=fresh.influx.org) as stale:
            assert write(stale, fresh.influx.bucket) == 401

    @pytest.mark.parametrize("fault", ["unknown", "inactive", "too much"])
    def test_a_token_that_does_not_do(self, fresh: Stack, fault: str) -> None:
        """One that InfluxDB does not know, that was switched off, or that may do more is replaced."""
        apply(fresh.config, fresh.home)
        path, old = fresh.home / "secrets" / "influx-board.token", fresh.token("board")
        if fault == "unknown":
            path.write_text("made-up\n")
        elif fault == "too much":
            path.write_text(fresh.token("worker"))
        else:
            with fresh.connect("admin") as admin:
                (one,) = [one for one in ours(fresh) if one.token == old]
                one.status = "inactive"
                admin.authorizations_api().update_authorization(one)
        done = {item.what: item for item in apply(fresh.config, fresh.home)}
        assert done["token of the board"].outcome == "renewed"
        assert done["token of the worker"].outcome == "kept"
        assert len(ours(fresh)) == 3
        with fresh.connect("board") as board:
            assert read(board, fresh.influx.bucket) == 204
        assert set(outcomes(apply(fresh.config, fresh.home)).values()) == {"kept"}

    def test_what_is_left_of_an_interrupted_run(self, fresh: Stack) -> None:
        """A token that was made and never written down is taken back."""
        apply(fresh.config, fresh.home)
        with fresh.connect("admin") as admin:
            (one,) = [one for one in ours(fresh) if one.token == fresh.token("board")]
            lost = Authorization(org_id=one.org_id, permissions=one.permissions)
            lost.description = one.description
            admin.authorizations_api().create_authorization(authorization=lost)
        assert len(ours(fresh)) == 4
        assert set(outcomes(apply(fresh.config, fresh.home)).values()) == {"kept"}
        assert fresh.token("board") in [one.token for one in ours(fresh)]
        assert len(ours(fresh)) == 3

    def test_other_homes_keep_their_tokens(self, influx: InfluxServer, fresh: Stack, tmp_path: Path) -> None:
        """Two installations on one server do not take each other's."""
        other = applied(influx, tmp_path / "other")
        apply(fresh.config, fresh.home)
        assert set(outcomes(apply(other.config, other.home)).values()) == {"kept"}

    def test_without_the_rights(self, fresh: Stack) -> None:
        """A token that may not do this ends in advice, and is not shown."""
        apply(fresh.config, fresh.home)
        worker = fresh.token("worker")
        (fresh.home / "secrets" / "influx-admin.token").write_text(worker)
        with pytest.raises(PlanwatchError, match=r"InfluxDB answers 40\d.*") as caught:
            apply(fresh.config, fresh.home)
        assert worker not in str(caught.value)

    def test_tokens_are_not_shown(self, fresh: Stack, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in what is returned nor in any log, at any level."""
        with caplog.at_level(logging.DEBUG):
            done = [*apply(fresh.config, fresh.home), *apply(fresh.config, fresh.home)]
            for role in (*ROLES, "admin"):
                done += check(fresh.config, role, fresh.home)
        for role in (*ROLES, "admin"):
            assert fresh.token(role) not in caplog.text + json.dumps(done)


def retentions(stack: Stack) -> dict[str, int]:
    with stack.connect("admin") as admin:
        buckets: BucketsApi = admin.buckets_api()
        found = {name: buckets.find_bucket_by_name(name) for name in (stack.influx.bucket, stack.influx.live_bucket)}
        return {name: sum(rule.every_seconds for rule in bucket.retention_rules) for name, bucket in found.items()}


class TestLeastPrivilege:
    """What a token may do, and that it may do nothing else."""

    def test_each_role(self, influx: InfluxServer, fresh: Stack) -> None:
        """A worker writes both buckets, board and Grafana read both; none does the other, and none sees another bucket."""
        apply(fresh.config, fresh.home)
        buckets = (fresh.influx.bucket, fresh.influx.live_bucket)
        for role in ROLES:
            with fresh.connect(role) as client:
                writes, reads = role == "worker", role != "worker"
                assert [write(client, fresh.influx.bucket)] == [204 if writes else 403], role
                assert [read(client, bucket) for bucket in buckets] == [204 if reads else 404] * 2, role
                assert write(client, influx.bucket) == 403, role
                assert read(client, influx.bucket) == 404, role

    def test_no_role_rules(self, fresh: Stack) -> None:
        """None of them sees tokens, makes tokens or makes buckets."""
        apply(fresh.config, fresh.home)
        for role in ROLES:
            with fresh.connect(role) as client:
                tokens, buckets = client.authorizations_api(), client.buckets_api()
                assert not [one for one in tokens.find_authorizations() if one.token]
                org_id = ours(fresh)[0].org_id
                made = Authorization(org_id=org_id, permissions=ours(fresh)[0].permissions)
                assert status_of(lambda t=tokens, m=made: t.create_authorization(authorization=m)) in (401, 403)  # type: ignore[misc]
                more = Bucket(name="more", org_id=org_id, retention_rules=[BucketRetentionRules(every_seconds=0)])
                assert status_of(lambda b=buckets, m=more: b.create_bucket(m)) in (401, 403)  # type: ignore[misc]

    def test_a_running_worker_takes_up_its_new_token(self, fresh: Stack) -> None:
        """`apply` after a lost file takes the old token away under a worker; it goes on with the new one by itself."""
        apply(fresh.config, fresh.home)
        writer = fresh.writer()
        writer.add("day", "t", 1, [point(1, 1.0)])
        assert writer.flush(10)
        (fresh.home / "secrets" / "influx-worker.token").unlink()
        apply(fresh.config, fresh.home)
        writer.add("day", "t", 2, [point(2, 2.0)])
        assert writer.flush(10)
        assert writer.retries == 1
        found = fresh.series("t", writer).read("day", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(1, 1.0), point(2, 2.0)]
        writer.close(5)

    def test_a_bucket_that_is_made_later(self, fresh: Stack) -> None:
        """A worker that was started too soon says what is missing, keeps its points, and writes them once they can be."""
        apply(fresh.config, fresh.home)
        with fresh.connect("admin") as admin:
            buckets = admin.buckets_api()
            buckets.delete_bucket(buckets.find_bucket_by_name(fresh.influx.bucket))
        writer = fresh.writer()
        writer.add("day", "t", 1, [point(1, 1.0)])
        assert not writer.flush(0.5)
        assert "`planwatch influx apply`" in writer.last_error
        apply(fresh.config, fresh.home)
        assert writer.flush(30)
        found = fresh.series("t", writer).read("day", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(1, 1.0)]
        writer.close(5)


class TestCheck:
    """What `planwatch doctor` finds."""

    @pytest.mark.parametrize("role", [*ROLES, "admin"])
    def test_all_in_order(self, fresh: Stack, role: InfluxRole) -> None:
        """Every finding is good after `apply`, for every role, and nothing was written for it."""
        apply(fresh.config, fresh.home)
        findings = check(fresh.config, role, fresh.home)
        assert len(findings) == (3 if role == "admin" else 4)
        assert all(finding.ok for finding in findings), findings
        assert "InfluxDB 2.7" in findings[0].detail
        assert fresh.reader().rows(flux.source(fresh.influx.bucket)) == []

    def test_before_apply(self, fresh: Stack) -> None:
        """No token and no buckets: the finding says who makes them."""
        for role in (*ROLES, "admin"):
            *good, bad = check(fresh.config, role, fresh.home)
            assert all(finding.ok for finding in good)
            assert not bad.ok
            assert "`planwatch influx apply`" in bad.detail

    @pytest.mark.parametrize("role", ROLES)
    def test_a_token_of_another_role(self, fresh: Stack, role: InfluxRole) -> None:
        """It is known and may do something, but not this."""
        apply(fresh.config, fresh.home)
        other = fresh.token("board" if role == "worker" else "worker")
        (fresh.home / "secrets" / f"influx-{role}.token").write_text(other)
        bad = [finding for finding in check(fresh.config, role, fresh.home) if not finding.ok]
        assert len(bad) == 2
        assert all("`planwatch influx apply`" in finding.detail for finding in bad)

    def test_a_token_that_is_not_known(self, fresh: Stack) -> None:
        """The finding says so, without the token."""
        apply(fresh.config, fresh.home)
        (fresh.home / "secrets" / "influx-worker.token").write_text("MADEUP")
        bad = [finding for finding in check(fresh.config, "worker", fresh.home) if not finding.ok]
        assert ["does not know the token" in finding.detail for finding in bad] == [True, True]
        assert "MADEUP" not in json.dumps(bad)

    def test_another_retention(self, fresh: Stack) -> None:
        """The finding names both."""
        apply(fresh.config, fresh.home)
        config = fresh.config.model_copy(update={"live_series_days": 30})
        bad = check(config, "admin", fresh.home)[-1]
        assert not bad.ok
        assert "for 7 days, not for 30 days" in bad.detail
