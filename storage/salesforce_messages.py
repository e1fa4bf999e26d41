"""The messages of Salesforce's Pub/Sub API that we exchange, declared by their documented names and numbers.

(developer.salesforce.com, Pub/Sub API: RPC Method Reference; package eventbus.v1, syntax proto3)
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "eventbus.v1"
SERVICE = f"/{PACKAGE}.PubSub"
#: Where a subscription begins.
LATEST, CUSTOM = 0, 2

_Type = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Type.TYPE_STRING,
    "bytes": _Type.TYPE_BYTES,
    "int32": _Type.TYPE_INT32,
    "bool": _Type.TYPE_BOOL,
    "enum": _Type.TYPE_ENUM,
}
#: message → (number, name, type); a type that is none of the scalars is a message, `*` says that there are several.
_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "TopicRequest": ((1, "topic_name", "string"),),
    "TopicInfo": (
        (1, "topic_name", "string"),
        (2, "tenant_guid", "string"),
        (3, "can_publish", "bool"),
        (4, "can_subscribe", "bool"),
        (5, "schema_id", "string"),
        (6, "rpc_id", "string"),
    ),
    "SchemaRequest": ((1, "schema_id", "string"),),
    "SchemaInfo": ((1, "schema_json", "string"), (2, "schema_id", "string"), (3, "rpc_id", "string")),
    "EventHeader": ((1, "key", "string"), (2, "value", "bytes")),
    "ProducerEvent": (
        (1, "id", "string"),
        (2, "schema_id", "string"),
        (3, "payload", "bytes"),
        (4, "headers", "*EventHeader"),
    ),
    "ConsumerEvent": ((1, "event", "ProducerEvent"), (2, "replay_id", "bytes")),
    "FetchRequest": (
        (1, "topic_name", "string"),
        (2, "replay_preset", "enum"),
        (3, "replay_id", "bytes"),
        (4, "num_requested", "int32"),
        (5, "auth_refresh", "string"),
    ),
    "FetchResponse": (
        (1, "events", "*ConsumerEvent"),
        (2, "latest_replay_id", "bytes"),
        (3, "rpc_id", "string"),
        (4, "pending_num_requested", "int32"),
    ),
}


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="planwatch/pubsub.proto", package=PACKAGE, syntax="proto3")
    preset = file.enum_type.add(name="ReplayPreset")
    for number, value in enumerate(("LATEST", "EARLIEST", "CUSTOM")):
        preset.value.add(name=value, number=number)
    for name, found in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in found:
            label = _Type.LABEL_REPEATED if kind.startswith("*") else _Type.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            added.type = _SCALARS.get(kind, _Type.TYPE_MESSAGE)
            if kind not in _SCALARS:
                added.type_name = f".{PACKAGE}.{kind.removeprefix('*')}"
            elif kind == "enum":
                added.type_name = f".{PACKAGE}.ReplayPreset"
    return file


# A pool of its own: another library may know the same names.
_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


TopicRequest, TopicInfo = _class("TopicRequest"), _class("TopicInfo")
SchemaRequest, SchemaInfo = _class("SchemaRequest"), _class("SchemaInfo")
FetchRequest, FetchResponse = _class("FetchRequest"), _class("FetchResponse")
