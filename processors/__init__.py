"""The pure core: fold, measures, KPIs, targets, projection. No clock, no randomness, no I/O in here."""
