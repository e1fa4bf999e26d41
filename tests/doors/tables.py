"""The story in files that people export: CSV with a row for each time a record was written, and field histories."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tests.doors import story
from tests.doors.salesforce import IDS, NAMES
from tests.doors.story import ROWS, Step
from tests.doors.wire import Files, Wire

MAPPING = """files:
  - match: "*reps.csv"
    entity: rep
    id: Rep
    snapshot_at: 2024-02-01
    fields: {name: Name}
  - match: "*accounts.csv"
    entity: account
    id: Account
    snapshot_at: 2024-02-01
    fields: {name: Name, segment: Branch}
  - match: "*deals.csv"
    entity: opportunity
    id: Deal
    milestones:
      - name: written
        date: Written
        when: {Gone: ["no"]}
        set:
          name: {column: Name}
          stage: {column: Stage}
          amount: {column: Amount}
          owner: {column: Owner}
          account: {column: Account}
          created_date: {column: Created}
          close_date: {column: Closes}
      - {name: gone, date: Written, when: {Gone: ["yes"]}, op: delete}
"""
#: Salesforce's names in histories, where lookups go without their Id; these are of the record itself.
HISTORY_NAMES = {**NAMES, "owner": "Owner", "account": "Account"}
EVENTS = {"created": "created", "deleted": "deleted", "restored": "undeleted"}


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _deals(steps: Sequence[Step]) -> str:
    rows = [["Deal", "Name", "Stage", "Amount", "Owner", "Account", "Created", "Closes", "Written", "Gone"]]
    for step in steps:
        after = ROWS[step].after
        row = ROWS[step].before if after is None else after
        assert row is not None
        created = next(s for s in (*story.FIRST, story.BAD) if s.record == step.record)
        values = [row[name] for name in ("name", "stage", "amount", "owner", "account")]
        gone = "yes" if after is None else "no"
        rows.append([step.record, *values, created.iso[:10], row["closes"], step.iso, gone])
    return _table(rows)


def _csv_files() -> list[Files]:
    rep, account = story.REP, story.ACCOUNT
    first = {
        "1-reps.csv": _table([["Rep", "Name"], [rep.record, rep.fields["name"]]]),
        "2-accounts.csv": _table([["Account", "Name", "Branch"], [account.record, *account.fields.values()]]),
        "3-deals.csv": _deals([step for step in story.FIRST if step.kind == "deal"]),
    }
    return [first, {"4-deals.csv": _deals(story.THEN)}]


def csv_rows(*, folder: bool) -> Wire:
    """CSV by command, or put into a watched folder."""
    settings = {"mapping": "mapping.yaml"}
    return Wire(
        "csv",
        "ada",
        (11, 1, 1),
        settings=settings,
        beside={"mapping.yaml": MAPPING},
        files=_csv_files(),
        folder=folder,
    )


def _history(column: str, steps: Sequence[Step]) -> str:
    rows = [[column, "CreatedDate", "CreatedById", "Field", "OldValue", "NewValue"]]
    for step in steps:
        about = [IDS[step.record], step.at.strftime("%Y-%m-%dT%H:%M:%S.000+0000"), IDS["ada"]]
        if step.what in EVENTS and step is not story.BAD:
            rows.append([*about, EVENTS[step.what], "", ""])
        for name, value in step.fields.items():
            if step is not story.BAD or name == "amount":
                rows.append([*about, HISTORY_NAMES[name], "", IDS.get(value, value)])
    return _table(rows)


def history(*, folder: bool) -> Wire:
    """Salesforce's AccountHistory and OpportunityFieldHistory, which have a row for each field that changed."""
    deals = [step for step in story.FIRST if step.kind == "deal"]
    first = {
        "1-AccountHistory.csv": _history("AccountId", [story.ACCOUNT]),
        "2-OpportunityFieldHistory.csv": _history("OpportunityId", deals),
    }
    then = {"3-OpportunityFieldHistory.csv": _history("OpportunityId", story.THEN)}
    return Wire("field-history", IDS["ada"], (32, 2, 1), files=[first, then], folder=folder)
