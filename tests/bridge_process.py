"""A bridge as a process of its own, for tests that kill it: BOOTSTRAP PREFIX TOPIC TENANT."""

from __future__ import annotations

import signal
import sys
import threading

from ingest.bridge import Bridge
from ingest.bridge_batch import Route
from ingest.door import Context
from ingest.salesforce import SalesforceDoor
from schemas.clock import SystemClock
from schemas.config import Config
from schemas.stack import KafkaConfig


def main(bootstrap: str, prefix: str, topic: str, tenant: str) -> None:
    """Run until SIGTERM; says on standard output when it is ready."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = KafkaConfig(bootstrap=bootstrap, prefix=prefix, session_timeout_s=6)
    context = Context(tenant, "sf", Config(tenant=tenant, time="log"), None, SystemClock())
    bridge = Bridge(config, {topic: Route(context, SalesforceDoor())})
    thread = threading.Thread(target=bridge.run, args=(stop,))
    thread.start()
    while not bridge.ready and not stop.wait(0.05):
        pass
    print("ready", flush=True)
    thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
