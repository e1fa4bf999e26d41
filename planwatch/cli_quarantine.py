"""`planwatch quarantine`: what was refused, and what people do about it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from planwatch.cli_common import JsonFlag, open_store
from planwatch.printing import console, print_json, print_table, when

if TYPE_CHECKING:
    from ingest.refusal_states import Kept, RefusalCounts
    from planwatch.quarantining import Replayed

quarantine_app = typer.Typer(
    help="What was refused at the doors. After mending a mapping, `planwatch quarantine replay` takes it in.",
    no_args_is_help=True,
)
Source = Annotated[str | None, typer.Option(help="Only what this source sent.")]
Code = Annotated[str | None, typer.Option(help="Only what was refused for this reason, for example bad_date.")]
Ids = Annotated[list[str], typer.Argument(help="Ids, or their first letters, as `list` shows them.")]
REASON_CHARS, SHOWN_ITEMS = 160, 50


@quarantine_app.command("list")
def list_(
    source: Source = None,
    code: Code = None,
    state: Annotated[
        Literal["open", "replayed", "dropped", "all"], typer.Option(help="open, replayed, dropped or all.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show.")] = 20,
    json: JsonFlag = False,
) -> None:
    """What was refused, the newest first, with counts by source and code."""
    from planwatch.quarantining import counts_of, matching, newest

    store = open_store()
    counts = counts_of(store, source, code)
    found = newest(matching(store, source, code, None if state == "all" else state), limit)
    if json:
        rows = [{"source": s, "code": c, **n._asdict()} for (s, c), n in counts.items()]
        print_json({"items": [_row(kept) for kept in found], "counts": rows})
        return
    if found:
        _print_items(found)
    else:
        console.print("Nothing is in quarantine." if state in ("open", "all") else f"Nothing was {state}.")
    if counts:
        _print_counts([(*about, each) for about, each in counts.items()])


@quarantine_app.command("show")
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id, or its first letters.")], json: JsonFlag = False
) -> None:
    """One refusal with everything that is known of it, its bytes too."""
    from planwatch.quarantining import named
    from planwatch.rereading import Rereader
    from planwatch.shown import shown_lines, visible

    store = open_store()
    (kept,) = named(store, [id_])
    again = Rereader(store).read(kept.refused)
    item = kept.refused
    if json:
        print_json(
            {
                **_row(kept),
                "identity": kept.id,
                "around": dict(item.around),
                "cut": item.cut,
                "size": len(item.payload),
                "payload": base64.b64encode(item.payload).decode(),
                "disposition": kept.disposition.model_dump(exclude={"tenant", "refusal"}) if kept.disposition else None,
                "today": {"result": again.result, "changes": len(again.changes), "reason": again.reason},
            }
        )
        return
    row = _row(kept)
    lines = [(name, str(row[name])) for name in ("id", "state", "source", "place", "code", "reason")]
    lines.insert(2, ("refused", row["at"] or "not known"))
    lines += [(f"with {name}", text) for name, text in item.around.items()]
    if (made := kept.disposition) is not None:
        what = f", {_many(made.changes, 'change')}" if made.state == "replayed" else f": {made.reason}"
        lines.append((made.state, f"{when(made.at)} by {made.by}{what}"))
    lines.append(("today", _today(again.result, len(again.changes), again.reason)))
    for name, text in lines:
        _say(f"{visible(name):<12}  {visible(text)}")
    _say(f"{_many(len(item.payload), 'byte')}{', only the beginning of the input' if item.cut else ''}:")
    for line in shown_lines(item.payload):
        _say(f"  {line}")


@quarantine_app.command("replay")
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, or their first letters; or say which below.")] = None,
    source: Source = None,
    code: Code = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that is open.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would happen.")] = False,
    json: JsonFlag = False,
) -> None:
    """Read refused input again, with today's mapping, and take in what is good now. What is still bad stays open.

    Exit code 3 when there was something to replay and nothing of it could be taken in.
    """
    from planwatch.quarantining import matching, named
    from planwatch.quarantining import replay as go

    filtered = source is not None or code is not None
    if bool(ids) + filtered + all_ != 1:
        raise typer.BadParameter("say which: ids, or --source and --code, or --all.")
    store = open_store()
    done = go(store, named(store, ids) if ids else matching(store, source, code), dry_run=dry_run)
    taken = [each for each in done if each.result == "replayed"]
    if json:
        results = {name: sum(each.result == name for each in done) for name in _RESULTS}
        summary = {"dry_run": dry_run, **results, "changes": sum(each.changes for each in done)}
        print_json({**summary, "items": [each._asdict() for each in done]})
    else:
        _print_replayed(done, dry_run)
    if done and not taken and any(each.result != "already" for each in done):
        raise typer.Exit(3)


@quarantine_app.command("drop")
def drop(
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why it is refused for good; it is kept with it.")],
    json: JsonFlag = False,
) -> None:
    """Refuse for good: it stays in the account as quarantined, and is open no more."""
    from planwatch.quarantining import drop as go
    from planwatch.shown import visible

    done = go(open_store(), ids, reason)
    if json:
        print_json({"items": [each._asdict() for each in done]})
        return
    for each in done:
        said = {"dropped": "dropped", "already": "was dropped before, and stays so", "replayed": "not dropped"}
        why = f": {each.reason}" if each.reason else ""
        _say(f"{each.id}  {said[each.result]}{visible(why)}")


_RESULTS = ("replayed", "still_refused", "impossible", "already")


def _row(kept: Kept) -> dict[str, Any]:
    """A refusal as lists have it."""
    from boards.health_page import place_words
    from planwatch.quarantining import short

    item = kept.refused
    return {
        "id": short(kept.id),
        "state": kept.state,
        "at": when(kept.at) if kept.at else None,
        "source": item.source,
        "origin": item.origin,
        "position": item.position,
        "place": place_words(item.origin, item.position),
        "code": item.code,
        "reason": item.reason,
    }


def _print_items(found: Sequence[Kept]) -> None:
    """Two lines each: what and where, then why. Ids are whole at any width, so that they can be copied."""
    from planwatch.shown import escaped, visible

    for row in map(_row, found):
        where = f"{row['source']}  {row['place']}  {row['code']}"
        _say(f"{row['id']}  {row['state']}  {row['at'] or '–'}  {visible(where)}")
        _say(f"    {escaped(row['reason'], REASON_CHARS)}")


def _print_counts(found: Sequence[tuple[str, str, RefusalCounts]]) -> None:
    from planwatch.shown import escaped

    rows = [
        [escaped(source, REASON_CHARS), escaped(code, REASON_CHARS), *(f"{count:,}" for count in counts)]
        for source, code, counts in found
    ]
    _print_rows("By source and code", ["source", "code", "open", "replayed", "dropped"], rows)


def _print_replayed(done: Sequence[Replayed], dry_run: bool) -> None:
    from boards.health_page import place_words
    from planwatch.shown import visible

    for each in done[:SHOWN_ITEMS]:
        place = visible(f"{each.source}, {place_words(each.origin, each.position)}")
        _say(f"{each.id}  {place}: {visible(_outcome(each, dry_run))}")
    if len(done) > SHOWN_ITEMS:
        _say(f"… and {len(done) - SHOWN_ITEMS:,} more.")
    taken = sum(each.result == "replayed" for each in done)
    changes = sum(each.changes for each in done)
    left = sum(each.result in ("still_refused", "impossible") for each in done)
    verb = "would be replayed" if dry_run else "replayed"
    stay = "would stay" if dry_run else "stays" if left == 1 else "stay"
    _say(f"{taken:,} {verb} as {_many(changes, 'change')}; {left:,} {stay} open.")


def _outcome(each: Replayed, dry_run: bool) -> str:
    if each.result != "replayed":
        return _today(each.result, 0, each.reason)
    more = "" if len(each.records) == each.changes or not each.records else ", …"
    records = f" of {', '.join(each.records)}{more}" if each.records else ""
    parts = f"; {_many(each.refused, 'part')} of it refused still" if each.refused else ""
    return f"{'would give' if dry_run else 'gave'} {_many(each.changes, 'change')}{records}{parts}"


def _today(result: str, changes: int, reason: str) -> str:
    """What reading it again gives, in words."""
    return {
        "readable": f"would be taken in as {_many(changes, 'change')}",
        "still_refused": f"still refused: {reason}",
        "impossible": f"cannot be replayed: {reason}",
        "already": reason,
    }[result]


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of text that anybody may have written: brackets in it are no markup."""
    print_table(title, columns, [[escape(cell) for cell in row] for row in rows])


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
