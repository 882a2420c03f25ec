"""What decides a run's result."""

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from refinemask.config import Augmentation, DataConfig, Preprocessing, TrainConfig, Window
from refinemask.recipes import RECIPES
from refinemask.training.fingerprint import LATER, Fingerprint

DATA = DataConfig(annotations="a.json", images="images")
HASHES = {
    "refinemask-r50-coco-1x": "705a430c2ed7bc7a",
    "mask-rcnn-r101-lvis-1x": "baf4189c51b2acf6",
    "nuclei-demo-htc": "22c14a5c220b821b",
    "coco-mini-pointrend": "8c951ad9029c534a",
}
"""Beginning of the hash of some recipes, with an image 1, as versions had it that knew no later setting."""
OURS = Fingerprint.of([1, 2], train=TrainConfig())


def test_the_hash_is_of_the_configurations_and_the_images() -> None:
    """It must not change: a state of an earlier version is resumed."""
    first = {name: value for name, value in asdict(TrainConfig()).items() if name not in ("schedule", "early_stop")}
    text = json.dumps(first) + "\n" + json.dumps([1, 2])
    assert OURS.hash == hashlib.sha256(text.encode()).hexdigest()
    others = [Fingerprint.of([1, 2, 3], train=TrainConfig()), Fingerprint.of([1, 2], train=TrainConfig(seed=1))]
    assert len({OURS.hash, *(other.hash for other in others)}) == 3


@pytest.mark.parametrize(("name", "expected"), HASHES.items())
def test_a_published_recipe_is_what_it_was_in_earlier_versions(name: str, expected: str) -> None:
    recipe = RECIPES[name]
    assert Fingerprint.of([1], model=recipe.model, data=recipe.data, train=recipe.train).hash.startswith(expected)


@pytest.mark.parametrize(
    "changed",
    [
        replace(DATA, background_images=True),
        replace(DATA, crowd_as_object=True),
        replace(DATA, augmentation=Augmentation(colour=0.1)),
        TrainConfig(schedule="cosine"),
        TrainConfig(early_stop=3),
        Preprocessing(window=Window(low=0, high=4095)),
    ],
)
def test_every_later_setting_counts_once_it_is_used(changed: Any) -> None:
    plain = DATA if isinstance(changed, DataConfig) else type(changed)()
    ours, theirs = Fingerprint.of([1], of=changed), Fingerprint.of([1], of=plain)
    assert ours.hash != theirs.hash
    # An earlier version did not write the setting at all.
    earlier = {"of": {name: value for name, value in theirs.settings["of"].items() if name not in LATER}}
    assert len(ours.differences(dict(theirs.settings))) == len(ours.differences(earlier)) == 1


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
