"""Measurements on a whole company: run by hand, reported, never asserted on a clock."""
