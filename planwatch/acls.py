"""`planwatch topics acls`: what an administrator of Kafka runs so that each role may do its work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planwatch.doctor_stack import source_topics
from planwatch.home import Home
from planwatch.roles import kafka_of
from schemas.base import PlanwatchError
from storage.kafka_access import ROLES, acl_commands


def commands(home: Home, users: Sequence[str]) -> Iterator[str]:
    """A comment and the commands for each role. `users` are ROLE=USER; raises PlanwatchError for a role that is none."""
    named = dict(_role_and_user(text) for text in users)
    kafka, sources = kafka_of(home), source_topics(home.tenants().values())
    for role in ROLES:
        user = named.get(role, f"planwatch-{role}")
        yield f"# {role}: {user}"
        yield from acl_commands(kafka, role, sources, user)


def _role_and_user(text: str) -> tuple[str, str]:
    role, _, user = text.partition("=")
    if role not in ROLES or not user:
        raise PlanwatchError(f"--user {text}: expected ROLE=USER, where ROLE is one of {', '.join(ROLES)}.")
    return role, user
