"""Where changes come from: a source, its door, and how it may reach us."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Strict

SourceKind = Literal["csv", "field-history", "salesforce", "hubspot", "debezium", "cloudevents", "webhook", "simulator"]
#: How a request proves who sent it.
Signature = Literal["hubspot-v3", "hubspot-v2", "hubspot-v1", "standard-webhooks", "bearer"]


class HookConfig(Strict):
    """Requests to /hooks/SOURCE. The secret is in `secret_file`, else in PLANWATCH_<SOURCE>_SECRET.

    The file may hold several secrets, one a line, while they are exchanged: any of them counts.
    """

    signatures: tuple[Signature, ...] = ()  # those that are taken; none: hubspot-v3 for hubspot, else standard-webhooks
    secret_file: str | None = None  # relative to the home; read again when it changes
    public_url: str | None = None  # the address that the sender calls, where a proxy hides it
    tolerance_s: Annotated[int, Field(ge=1, le=3600)] = 300  # how old or early a signed request may be


class SalesforceConfig(Strict):
    """What the salesforce door needs beyond the events themselves."""

    avro_schemas: str | None = None  # a folder with NAME.avsc or SCHEMA-ID.avsc, for events with bitmaps
    instance_url: str | None = None  # https://example.my.salesforce.com: records are fetched from it after a gap
    token_file: str | None = None  # an access token for it, relative to the home
    api_version: Annotated[str, Field(pattern=r"^v\d+\.0$")] = "v62.0"
    channels: tuple[str, ...] = ()  # change events to subscribe to, for example /data/ChangeEvents; needs all of these
    organisation: str | None = None  # the id of the organisation, 00D..., for the subscription
    pubsub: str = "api.pubsub.salesforce.com:7443"  # host and port of the Pub/Sub API


class SourceConfig(Strict):
    """A door and how its fields are named."""

    kind: SourceKind
    mapping: str | None = None  # a YAML file, relative to the home
    paths: tuple[str, ...] = ()  # files that `planwatch run` takes in at its start
    watch: str | None = None  # a folder, relative to the home: each file that is put there is taken in once
    watch_settle_s: Annotated[float, Field(ge=0, le=3600)] = 2.0  # a file that has not changed for so long is complete
    topic: str | None = None  # the Kafka topic that `planwatch bridge` reads: the source's own
    hook: HookConfig | None = None  # requests to /hooks/NAME are taken by `planwatch serve`
    salesforce: SalesforceConfig = SalesforceConfig()


class ServeConfig(Strict):
    """`planwatch serve`: where it listens, and its bounds."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8351  # 0: any free port
    queue_requests_max: Annotated[int, Field(ge=1)] = 1_000  # waiting to be written; more are told to come again
    queue_bytes_max: Annotated[int, Field(ge=1 << 16)] = 64 << 20
    body_bytes_max: Annotated[int, Field(ge=1 << 10, le=1 << 20)] = 1 << 20  # a refused one is kept whole
    batch_events_max: Annotated[int, Field(ge=1)] = 1_000  # events in one request
    nesting_max: Annotated[int, Field(ge=4, le=200)] = 32
    request_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
