"""A small share of the fuzzing campaign, the same each time; `make fuzz` runs a million inputs."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.campaign import TARGETS
from tests.fuzz.checks import Account, Target

#: Inputs of each target; of those that take long fewer.
INPUTS = 300
FEWER = {"mapping-file": 60, "configuration": 60, "plan": 60, "measures": 60, "rules": 60, "board": 150, "csv": 150}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
def test_broken_input_is_accounted_for(target: Target) -> None:
    """Nothing raises, every part of an input is in a change, refused or to be skipped, and both kinds of input occur."""
    account = Account()
    with target.opened() as make:
        for seed in range(1, FEWER.get(target.name, INPUTS) + 1):
            account = account.plus(make(random.Random(seed)).run())
    assert account.changes
    assert account.refused or account.skipped
