"""The standard Salesforce objects and fields, and what they are called here."""

from __future__ import annotations

from ingest.objects import ObjectMap

#: `__c` fields are custom in Salesforce; these names are the ones that need no mapping file.
STANDARD: dict[str, ObjectMap] = {
    "Opportunity": ObjectMap(
        "opportunity",
        {
            "Name": "name",
            "StageName": "stage",
            "Amount": "amount",
            "CurrencyIsoCode": "currency",
            "Probability": "probability",
            "OwnerId": "owner",
            "AccountId": "account",
            "Product__c": "product",
            "CreatedDate": "created_date",
            "CloseDate": "close_date",
        },
    ),
    "Account": ObjectMap("account", {"Name": "name", "Industry": "segment", "OwnerId": "owner"}),
    "Lead": ObjectMap(
        "lead",
        {
            "Name": "name",
            "Status": "status",
            "OwnerId": "owner",
            "CreatedDate": "created_date",
            "IsConverted": "converted",
            "ConvertedDate": "converted_date",
            "LeadSource": "channel",
        },
    ),
    "User": ObjectMap(
        "rep",
        {
            "Name": "name",
            "Email": "email",
            "IsActive": "active",
            "Team__c": "team",
            "EffectiveFrom__c": "effective_from",
        },
    ),
    "Product2": ObjectMap(
        "product",
        {
            "Name": "name",
            "Family": "family",
            "ListPrice__c": "list_price",
            "UnitCost__c": "unit_cost",
            "CurrencyIsoCode": "currency",
        },
    ),
    "Contract": ObjectMap(
        "contract",
        {
            "AccountId": "account",
            "OwnerId": "owner",
            "Product__c": "product",
            "StartDate": "start_date",
            "EndDate": "end_date",
            "AnnualValue__c": "annual_value",
            "CurrencyIsoCode": "currency",
        },
    ),
    "Team__c": ObjectMap(
        "team",
        {
            "Name": "name",
            "Territory__c": "territory",
            "Manager__c": "manager",
            "Email__c": "email",
            "EffectiveFrom__c": "effective_from",
        },
    ),
    "Territory2": ObjectMap("territory", {"Name": "name", "Manager__c": "manager", "Email__c": "email"}),
    "Spend__c": ObjectMap(
        "spend",
        {
            "Date__c": "date",
            "Amount__c": "amount",
            "CurrencyIsoCode": "currency",
            "Kind__c": "kind",
            "Channel__c": "channel",
            "Territory__c": "territory",
            "Team__c": "team",
            "Rep__c": "rep",
            "Product__c": "product",
            "Segment__c": "segment",
        },
    ),
    "Traffic__c": ObjectMap("traffic", {"Date__c": "date", "Visits__c": "visits", "Channel__c": "channel"}),
    # Salesforce counts units of the currency for one of the corporate currency; we count the reverse.
    "CurrencyType": ObjectMap("rate", {"IsoCode": "currency", "ConversionRate": "rate", "StartDate": "date"}),
}

#: (object, field) whose number is turned into one divided by it.
INVERTED = frozenset({("CurrencyType", "ConversionRate")})
