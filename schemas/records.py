"""The fields that Planwatch knows of each entity, with their kinds. Any other field may be mapped too.

A mapped field that is not listed here is text, unless the configuration's ``fields`` says otherwise.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["text", "decimal", "date", "time", "flag"]

#: Of any entity: the source could not say what changed in the record, so it is to be fetched again.
INCOMPLETE = "incomplete"

#: entity → field → kind. `rep.team` and `team.territory` are effective-dated: a change that sets
#: them may carry `effective_from` (a date); without it they hold from the day the change occurred.
FIELDS: dict[str, dict[str, Kind]] = {
    "opportunity": {
        "name": "text",
        "stage": "text",
        "amount": "decimal",
        "currency": "text",
        "probability": "decimal",  # 0 to 100, overrides the stage's own
        "owner": "text",  # a rep's record id
        "account": "text",  # an account's record id
        "product": "text",  # a product's record id
        "created_date": "date",
        "close_date": "date",
    },
    "account": {"name": "text", "segment": "text", "owner": "text"},
    "lead": {
        "name": "text",
        "status": "text",
        "owner": "text",
        "created_date": "date",
        "converted": "flag",
        "converted_date": "date",
        "channel": "text",
    },
    "rep": {"name": "text", "team": "text", "email": "text", "active": "flag", "effective_from": "date"},
    "team": {"name": "text", "territory": "text", "manager": "text", "email": "text", "effective_from": "date"},
    "territory": {"name": "text", "manager": "text", "email": "text"},
    "product": {"name": "text", "family": "text", "list_price": "decimal", "currency": "text", "unit_cost": "decimal"},
    "contract": {
        "account": "text",
        "owner": "text",
        "product": "text",
        "start_date": "date",
        "end_date": "date",  # the last day it is in force; absent: until further notice
        "annual_value": "decimal",
        "currency": "text",
    },
    "spend": {
        "date": "date",
        "amount": "decimal",
        "currency": "text",
        "kind": "text",  # kind: cost | marketing | sales
        "channel": "text",
        "territory": "text",
        "team": "text",
        "rep": "text",
        "product": "text",
        "segment": "text",
    },
    "traffic": {"date": "date", "visits": "decimal", "channel": "text"},
    "rate": {"currency": "text", "rate": "decimal", "date": "date"},  # one unit of currency in the tenant's own
}
for _kinds in FIELDS.values():
    _kinds[INCOMPLETE] = "flag"

#: Decimals are held as integers in units of 1/10,000: enough for every ISO 4217 currency.
DECIMAL_PLACES = 4
DECIMAL_SCALE: int = 10**DECIMAL_PLACES
