"""docs/asyncapi.yaml: the topics as an AsyncAPI 3.0 document, made from the schemas."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

from pydantic.json_schema import models_json_schema
from ruamel.yaml import YAML

from planwatch import __version__
from schemas.change import Change
from schemas.events import AlertEvent, Disposition, DriftEvent, Refusal, StatusEvent
from schemas.stack import KafkaConfig, TopicName
from storage.kafka_topics import KEYS, wanted

REF = "#/components/schemas/{model}"
TITLES: dict[TopicName, str] = {
    "changes": "The change log: the truth from which everything else can be made again",
    "status": "The status of targets: the newest of each",
    "alerts": "Alerts: the newest state of each",
    "quarantine": "What was refused, and why",
    "drift": "What sources brought that the configuration does not know",
}
NOTES: dict[TopicName, str] = {
    "changes": (
        "A message holds one or more changes of one tenant, in order: one when it is quiet, up to 500 under load. All "
        "messages of a tenant are in one partition, which the key's murmur2 hash says; adding partitions to a topic that "
        "holds data would break that. Messages may come more than once, and a change that is known changes nothing."
    ),
    "status": "Compacted: the last record under a key stands. `position` is the last log message that is in it.",
    "alerts": "Compacted: the last record under a key stands; one without a value deletes its alert. `position` is the last "
    "log message that led to it.",
    "quarantine": (
        "The same refusal may come more than once: source, code, origin, position and payload together say that it is "
        "the same. A disposition says what became of one; of several about one refusal `replayed` counts, in any order."
    ),
    "drift": "Compacted: what was noticed first stands; a record without a value deletes it.",
}


class Sent(NamedTuple):
    """A message of a topic, and the operation that sends it."""

    topic: TopicName
    message: str
    operation: str
    summary: str


SENT = (
    Sent("changes", "Changes", "writeChanges", "Written by the bridge and the webhook server, read by the workers."),
    Sent("status", "StatusEvent", "publishStatus", "Written by the workers whenever a target's status changed."),
    Sent("alerts", "AlertEvent", "publishAlert", "Written by the workers whenever an alert changed."),
    Sent("quarantine", "Refusal", "quarantine", "Written by bridge, hooks and workers instead of losing input."),
    Sent(
        "quarantine",
        "Disposition",
        "settle",
        "Written by `planwatch quarantine` when a refusal is replayed or dropped.",
    ),
    Sent("drift", "DriftEvent", "noteDrift", "Written by whoever takes changes in: bridge, server, watched folders."),
)


def document() -> str:
    """The AsyncAPI document as YAML."""
    out = io.StringIO()
    out.write("# Made from schemas/ and storage/kafka_topics.py by `make docs`.\n")
    yaml = YAML()
    yaml.width = 1_000  # a sentence is a line
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda data: True
    yaml.dump(_document(), out)
    return out.getvalue()


def _document() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Planwatch",
            "version": __version__,
            "description": (
                "The topics of Planwatch on Kafka. `planwatch` in their names is the setting kafka.prefix. Keys are "
                "UTF-8 text, values are JSON. `planwatch topics apply` makes the topics as they stand here; partitions, "
                "replication and retention come from the configuration, and what is said here are its defaults."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": KafkaConfig().bootstrap, "protocol": "kafka", "description": "kafka.bootstrap"},
        },
        "channels": _channels(),
        "operations": {
            sent.operation: {
                "action": "send",
                "channel": {"$ref": f"#/channels/{sent.topic}"},
                "summary": sent.summary,
                "messages": [{"$ref": f"#/channels/{sent.topic}/messages/{sent.message}"}],
            }
            for sent in SENT
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> dict[str, Any]:
    config = KafkaConfig()
    topics = {topic.name: topic for topic in wanted(config)}
    channels: dict[str, Any] = {}
    for name in dict.fromkeys(sent.topic for sent in SENT):
        topic = topics[config.topic(name)]
        settings = topic.settings
        channels[name] = {
            "address": topic.name,
            "title": TITLES[name],
            "description": NOTES[name],
            "messages": {
                sent.message: {"$ref": f"#/components/messages/{sent.message}"} for sent in SENT if sent.topic == name
            },
            "bindings": {
                "kafka": {
                    "topic": topic.name,
                    "partitions": topic.partitions,
                    "replicas": topic.replication,
                    "topicConfiguration": {
                        "cleanup.policy": settings["cleanup.policy"].split(","),
                        "retention.ms": int(settings["retention.ms"]),
                        "retention.bytes": int(settings["retention.bytes"]),
                        "max.message.bytes": int(settings["max.message.bytes"]),
                    },
                    "bindingVersion": "0.5.0",
                }
            },
        }
    return channels


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for sent in SENT:
        one = {"$ref": REF.format(model="Change" if sent.message == "Changes" else sent.message)}
        messages[sent.message] = {
            "name": sent.message,
            "contentType": "application/json",
            "payload": {"type": "array", "items": one} if sent.message == "Changes" else one,
            "bindings": {
                "kafka": {"key": {"type": "string", "description": KEYS[sent.topic]}, "bindingVersion": "0.5.0"},
            },
        }
    messages["Changes"]["headers"] = {
        "type": "object",
        "required": ["produced_at", "schema"],
        "properties": {
            "produced_at": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "When the newest source record in the message was produced: milliseconds since 1970, UTC.",
            },
            "schema": {"type": "string", "const": "1", "description": "The version of the message's form."},
        },
    }
    return messages


def _schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [(model, "serialization") for model in (Change, StatusEvent, AlertEvent, Refusal, Disposition, DriftEvent)],
        ref_template=REF,
    )
    return dict(sorted(found["$defs"].items()))
