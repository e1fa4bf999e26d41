"""What feeds the core from Kafka. Unlike the core, it does I/O; it knows tenants only by the protocol in `partition`."""
