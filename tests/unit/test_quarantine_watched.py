"""What the running program says of the quarantine: its account, the page for operators, the alert."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.door import Refused
from planwatch.board_health import pipeline_standing
from planwatch.board_pages import Pages
from planwatch.pipeline import Pipeline
from planwatch.quarantining import drop, matching, replay
from tests.unit.alert_samples import Recorder
from tests.unit.quarantine_samples import Sample, row

HOUR = 3_600_000_000
MINUTE = 60_000_000


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A home without input."""
    return Sample(tmp_path)


def running(sample: Sample) -> Pipeline:
    """The pipeline of a process that has caught up."""
    pipeline = Pipeline(sample.store, {})
    pipeline.catch_up()
    pipeline.step()
    pipeline.tick()
    return pipeline


def pass_time(sample: Sample, pipeline: Pipeline, minutes: int) -> None:
    """Read what is new, then let time pass, a tick each minute."""
    while pipeline.step():
        pass
    for _ in range(minutes):
        sample.clock.now_us += MINUTE
        pipeline.tick()


def fired(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Alerts about bad input: source and state."""
    return [(a.scope, a.state) for a in pipeline.engine.history() if a.kind == "bad_input"]


def test_a_jump_is_told_and_over_when_input_is_good(sample: Sample) -> None:
    """Good input, then a file of which a third is refused: one alert, also through restarts, over after good input."""
    sample.ingest([row(n, "100") for n in range(100)], "one.csv")
    pipeline = running(sample)
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == []
    sample.ingest([row(n, "much" if n % 3 == 0 else "1") for n in range(100, 160)], "two.csv")
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == [("crm", "firing")]
    (alert,) = [a for a in pipeline.engine.active() if a.kind == "bad_input"]
    assert alert.sentence.startswith("Source crm: 20 of the last 60 inputs were refused (33 %), mostly as bad_number.")
    pipeline = running(sample)
    pass_time(sample, pipeline, 90)
    sample.ingest([row(n, "100") for n in range(200, 300)], "three.csv")
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == [("crm", "resolved")]


def test_the_very_first_input_may_be_bad(sample: Sample) -> None:
    """A new home into whose log nothing has come: the alert fires and is sent; good input later is judged as ever."""
    told = Recorder()
    pipeline = Pipeline(sample.store, {"console": told})
    pipeline.catch_up()
    pass_time(sample, pipeline, 1)
    assert (fired(pipeline), pipeline.cursor.at) == ([], 0)
    sample.ingest([row(n, "much") for n in range(40)], "one.csv")
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == [("crm", "firing")]
    assert [(a.kind, a.fired_at) for n in told.got for a in n.alerts] == [
        ("bad_input", sample.clock.now_us - 2 * MINUTE)
    ]
    pipeline = running(sample)
    pass_time(sample, pipeline, 90)
    sample.ingest([row(n, "100") for n in range(100, 200)], "two.csv")
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == [("crm", "resolved")]


def test_lost_events_need_no_log(sample: Sample) -> None:
    """A subscription whose replay id has expired before anything came through it."""
    pipeline = running(sample)
    sample.store.quarantine.add([Refused("sf", "/data/ChangeEvents", 0, b"7", "replay_expired", "kept no longer")])
    pass_time(sample, pipeline, 1)
    assert [(a.kind, a.scope) for a in pipeline.engine.active()] == [("replay_expired", "sf")]


def test_where_time_comes_from_the_log_it_begins_with_it(sample: Sample) -> None:
    """No alert of 1970: bad input is judged once the log has a time."""
    file = sample.path / "planwatch.yaml"
    file.write_text(f"time: log\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    sample.store = sample.opened()
    pipeline = running(sample)
    sample.ingest([row(n, "much") for n in range(40)], "one.csv")
    pass_time(sample, pipeline, 3)
    assert pipeline.engine.history() == []
    sample.ingest([row(100, "100")], "two.csv")
    pass_time(sample, pipeline, 2)
    assert fired(pipeline) == [("crm", "firing")]


def test_history_of_before_is_no_jump(sample: Sample) -> None:
    """A home whose files were bad long before anybody watched: no alert when the program starts."""
    sample.ingest([row(n, "much" if n % 2 else "1") for n in range(100)])
    pipeline = running(sample)
    pass_time(sample, pipeline, 3)
    assert fired(pipeline) == []


def test_a_log_that_is_behind_is_no_jump(sample: Sample) -> None:
    """While changes of a file wait to be folded, its refusals alone say nothing."""
    pipeline = running(sample)
    sample.ingest([row(1, "1")], "first.csv")
    pass_time(sample, pipeline, 2)
    for part in range(55):  # a message each, and most of the deals in the last ones
        sample.ingest([row(1000 * part + n, "100") for n in range(1 if part < 50 else 400)], f"{part}.csv")
    sample.ingest([row(n, "much") for n in range(100_000, 100_040)], "bad.csv")
    pipeline.step()
    sample.clock.now_us += MINUTE
    pipeline.tick()
    pass_time(sample, pipeline, 2)
    assert fired(pipeline) == []


def test_the_page_for_operators(sample: Sample) -> None:
    """Counts by source, code and state; the newest with their state and how to look at them; received is the sum."""
    sample.ingest([row(1, "100"), row(2, "1,5"), row(3, "much"), row(4, "more")])
    pipeline = running(sample)
    pages = Pages(pipeline, pipeline_standing(pipeline))
    assert [(r.open, r.dropped, r.replayed) for r in pages.health().refusals] == [(3, 0, 0)]
    sample.mend()
    replay(sample.store, matching(sample.store))
    hopeless = [kept.id for kept in matching(sample.store)]
    drop(sample.store, hopeless[:1], "a test")
    pass_time(sample, pipeline, 1)
    view = pages.health()
    (source,) = view.trust.sources
    assert (source.received, source.applied, source.quarantined) == (4, 2, 2)
    (counts,) = view.refusals
    assert (counts.count, counts.open, counts.dropped, counts.replayed) == (2, 1, 1, 1)
    assert [(r.position, r.state) for r in view.refused] == [(5, "open"), (4, "dropped"), (3, "replayed")]
    assert view.refused[0].id == hopeless[1][:12]
    assert view.refused[0].at == sample.clock.now_us - MINUTE
