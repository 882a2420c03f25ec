"""What decides a run's result."""

import hashlib
import json
from dataclasses import replace

import pytest

from refinemask.config import TrainConfig, to_json
from refinemask.training.fingerprint import Fingerprint

OURS = Fingerprint.of([1, 2], train=TrainConfig())


def test_the_hash_is_of_the_configurations_and_the_images() -> None:
    """It must not change: a state of an earlier version is resumed."""
    text = to_json(TrainConfig()) + "\n" + json.dumps([1, 2])
    assert OURS.hash == hashlib.sha256(text.encode()).hexdigest()
    others = [Fingerprint.of([1, 2, 3], train=TrainConfig()), Fingerprint.of([1, 2], train=TrainConfig(seed=1))]
    assert len({OURS.hash, *(other.hash for other in others)}) == 3


def test_differences_are_named_by_field() -> None:
    theirs = Fingerprint.of([1, 2], train=replace(TrainConfig(), batch_size=2, step_epochs=(5,)))
    assert OURS.differences(dict(theirs.settings)) == [
        "train.step_epochs is [5], this run's is [8, 11]",
        "train.batch_size is 2, this run's is 16",
    ]
    assert OURS.differences(dict(OURS.settings)) == []


@pytest.mark.parametrize("settings", [None, 5, [], {}, {"train": None}, {"train": {"seed": []}}])
def test_settings_of_any_kind_are_taken(settings: object) -> None:
    assert all(len(difference) < 200 for difference in OURS.differences(settings))
