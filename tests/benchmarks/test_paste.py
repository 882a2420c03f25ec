"""The routes of the paste benchmark; the GPU's runs where its memory is the host's."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness.random_detections import random_detections
from benchmarks.paste import Args, make_routes, measure
from engines import on_device
from refinemask.files import FailedCheckError
from tests.support.host_kernels import build_cache, host_functions, host_kernels, host_library, schedule
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

__all__ = ["build_cache", "host_functions", "host_kernels", "host_library", "schedule"]
ARGS = Args(detections=5, size=(60, 80), mask_size=14, rounds=1)


@pytest.fixture
def gpu(host_kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.clone)
    monkeypatch.setattr(on_device, "device_kernels", lambda: TorchKernels(host_kernels))


@pytest.mark.usefixtures("gpu")
def test_a_gpu_takes_its_turn() -> None:
    report = measure(ARGS)
    assert list(report.milliseconds) == ["usual", "ours", "gpu"]


def test_without_a_gpu_there_are_two_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(make_routes(*random_detections(1, 9, 9, mask_size=4), 9, 9)) == ["usual", "ours"]


def test_threads_take_turns() -> None:
    report = measure(replace(ARGS, threads=3))
    assert list(report.images_per_second or {}) == ["1", "2", "3"]


@pytest.mark.usefixtures("gpu")
def test_a_string_that_differs_is_counted_by_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.paste.gpu_route", lambda kernels, masks, *image: [b""] * len(masks))
    with pytest.raises(FailedCheckError, match="5 of 5 run-length strings differ by route 'gpu'"):
        measure(ARGS)
