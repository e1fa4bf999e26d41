"""Ports and adapters: log, series, snapshots, journal. One module per technology."""
