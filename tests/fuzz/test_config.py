"""Damaged configurations: one that is taken survives its own text, and builds a network, at least in outline."""

import dataclasses
import json
from functools import partial

import pytest
import torch

from refinemask.config import ModelConfig
from refinemask.config_json import from_json, to_json
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.recipes import RECIPES, Recipe
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_json, refusal
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS

CONFIGS = [dataclasses.replace(TINY, mask_head=head) for head in MASK_HEADS.values()]


def reading(kind: type, text: str) -> object:
    """What ``from_json`` reads; its ValueErrors are what a UserError passes on."""
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise UserError(str(error)) from error


def test_models(seeds: Seeds) -> None:
    taken = 0
    for number, random in enumerate(seeds(150)):
        content = mutated_json(json.loads(to_json(CONFIGS[number % len(CONFIGS)])), random)
        text = json.dumps(content)
        if refusal(partial(reading, ModelConfig, text)) is None:
            config = from_json(ModelConfig, text)
            assert from_json(ModelConfig, to_json(config)) == config
            if sum(config.backbone.blocks) < 40:
                with torch.device("meta"):
                    Detector(config)
            taken += 1
    assert taken > 5


@pytest.mark.parametrize("name", ["nuclei-demo", "htc-r50-coco-1x"])
def test_recipes(seeds: Seeds, name: str) -> None:
    refused = 0
    for random in seeds(150):
        text = json.dumps(mutated_json(json.loads(to_json(RECIPES[name])), random))
        if refusal(partial(reading, Recipe, text)) is None:
            recipe = from_json(Recipe, text)
            assert from_json(Recipe, to_json(recipe)) == recipe
        else:
            refused += 1
    assert refused > 20
