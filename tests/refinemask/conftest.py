"""Fixtures of training runs. PyTorch is imported where one is used, for some tests here run without it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn images with their annotations."""
    from tests.support.tiny_training import draw_dataset

    return draw_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny_recipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The recipes ``tiny``, ``tiny-frozen`` and ``tiny-caffe``, and one thread."""
    import torch

    from refinemask.recipes import RECIPES
    from tests.support import tiny_training

    monkeypatch.setitem(RECIPES, "tiny", tiny_training.RECIPE)
    frozen = tiny_training.FROZEN_RECIPE
    monkeypatch.setitem(RECIPES, "tiny-frozen", frozen)
    caffe = replace(frozen.model, backbone=replace(frozen.model.backbone, stride_in_1x1=True))
    monkeypatch.setitem(RECIPES, "tiny-caffe", replace(frozen, model=caffe))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)
