"""The standard HubSpot objects and properties, and what they are called here."""

from __future__ import annotations

from ingest.objects import ObjectMap

#: The objects by the type id with which HubSpot names them in events of the form `object.creation`.
TYPE_IDS = {
    "0-1": "contact",
    "0-2": "company",
    "0-3": "deal",
    "0-5": "ticket",
    "0-7": "product",
    "0-8": "line_item",
    "0-14": "quote",
    "0-27": "task",
    "0-46": "note",
    "0-47": "meeting",
    "0-48": "call",
    "0-49": "email",
    "0-53": "invoice",
    "0-69": "subscription",
    "0-74": "goal_target",
    "0-115": "user",
    "0-123": "order",
    "0-136": "lead",
}

#: The property of a deal that holds what its primary association to a company says too.
PRIMARY_COMPANY = "hs_primary_associated_company"
CREATED = "createdate"

STANDARD: dict[str, ObjectMap] = {
    "deal": ObjectMap(
        "opportunity",
        {
            "dealname": "name",
            "dealstage": "stage",
            "amount": "amount",
            "deal_currency_code": "currency",
            "hs_deal_stage_probability": "probability",
            "hubspot_owner_id": "owner",
            PRIMARY_COMPANY: "account",
            CREATED: "created_date",
            "closedate": "close_date",
        },
    ),
    "company": ObjectMap("account", {"name": "name", "industry": "segment", "hubspot_owner_id": "owner"}),
    "contact": ObjectMap(
        "lead",
        {
            "hs_full_name_or_email": "name",
            "hs_lead_status": "status",
            "hubspot_owner_id": "owner",
            CREATED: "created_date",
            "lifecyclestage": "converted",
            "hs_lifecyclestage_opportunity_date": "converted_date",
            "hs_analytics_source": "channel",
        },
    ),
    "product": ObjectMap(
        "product",
        {"name": "name", "hs_product_type": "family", "price": "list_price", "hs_cost_of_goods_sold": "unit_cost"},
    ),
}

#: (object, property) whose number is a share of one and becomes percent.
SHARES = frozenset({("deal", "hs_deal_stage_probability")})
#: A contact has been converted once it is an opportunity or beyond. Stages of one's own: `aliases` of the mapping.
LIFECYCLE = ("contact", "lifecyclestage")
CONVERTED = {
    "subscriber": False,
    "lead": False,
    "marketingqualifiedlead": False,
    "salesqualifiedlead": False,
    "opportunity": True,
    "customer": True,
    "evangelist": True,
    "other": False,
}


def object_name(name_or_id: str) -> str:
    """The name of an object, whether it is called by name or by type id; a custom object is called by its id alone."""
    return TYPE_IDS.get(name_or_id, name_or_id)
