"""Fuzzing: each target is a parser, an endless supply of broken inputs for it, and what must hold of every one.

An input is a function of its target and a seed, so a finding is replayed by `python -m tests.fuzz.campaign TARGET SEED`.
"""
