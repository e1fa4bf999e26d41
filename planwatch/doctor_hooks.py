"""What `planwatch doctor` says about sources that are called: may they be, by whom, and under which address. Shows no secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from boards.guard import is_loopback
from ingest.hook_secrets import HookSecrets, variable
from ingest.signatures import allowed_signatures
from planwatch.doctor_stack import Check
from planwatch.home import Home
from planwatch.logs import hide
from schemas.base import PlanwatchError
from schemas.sources import HookConfig, Signature

#: Schemes that do not say when a request was signed: whoever has seen one can send it again.
REPLAYABLE: frozenset[Signature] = frozenset({"hubspot-v1", "hubspot-v2", "bearer"})


def examine_hooks(home: Home, tenants: Sequence[Home]) -> list[Check]:
    """A check for every source with a hook; none where there is no such source."""
    called = [
        (tenant, name, source, source.hook)
        for tenant in tenants
        for name, source in tenant.config.sources.items()
        if source.hook is not None
    ]
    if not called:
        return []
    shared = Counter(variable(name) for _, name, _, hook in called if hook.secret_file is None)
    found: list[Check] = []
    for tenant, name, source, hook in called:
        of = f" of {tenant.config.tenant}" if len(tenants) > 1 else ""
        wrong = list(_wrong(home, tenant, name, hook))
        if shared[variable(name)] > 1 and hook.secret_file is None:
            wrong.append(f"another tenant's source reads {variable(name)} too: name a `secret_file` for each")
        detail = "; ".join(wrong) or f"takes {', '.join(_named(one) for one in allowed_signatures(source))}"
        found.append(Check(f"hook {name}{of}", not wrong, detail))
    try:
        from planwatch.serving import hooks_of  # with the server, and the clients of Kafka, which take long to import

        list(hooks_of(home))
    except PlanwatchError as error:
        found.append(Check("hooks", False, str(error)))
    return found


def _named(signature: Signature) -> str:
    return f"{signature} (who has seen a request can repeat it)" if signature in REPLAYABLE else signature


def _wrong(home: Home, tenant: Home, name: str, hook: HookConfig) -> Iterator[str]:
    if problem := HookSecrets(name, hook, tenant.path, hide=hide).problem():
        yield problem
    reached = not is_loopback(home.config.serve.host)
    if reached and hook.public_url is None:
        yield (
            f"serve.host is {home.config.serve.host}, where requests come unencrypted: put a proxy with TLS in front and "
            "name its address as `public_url` of the hook"
        )
    elif hook.public_url is not None and not hook.public_url.startswith("https://"):
        yield f"public_url {hook.public_url} is not https: what is sent can be read on its way"
