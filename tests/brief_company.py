"""A simulated company with a short past, for load in which days pass soon."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.change import Change
from tests.stack import company

#: What has a past of thousands of records in the simulated company.
LONG_PAST = ("lead", "traffic", "contract", "spend")
DECIDED = ("Won", "Lost")


def brief_company(tenant: str, seed: int = 7) -> Iterator[Change]:
    """People, products, accounts and open deals (some 1,200 changes at one moment), then some hundred changes a day.

    The whole company begins with 5,800 changes at one moment, so that less of it than that knows no second day.
    """
    for change in company(tenant, seed):
        past = change.op == "snapshot"
        decided = change.entity == "opportunity" and change.fields.get("stage") in DECIDED
        if not (past and (change.entity in LONG_PAST or decided)):
            yield change
