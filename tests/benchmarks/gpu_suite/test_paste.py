"""Strings of pasted masks are compared with the host's byte for byte."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu_suite import paste
from benchmarks.gpu_suite.paste import PasteReport, host_strings, run_paste
from benchmarks.harness.random_detections import random_detections
from engines import on_device
from refinemask.files import FailedCheckError
from refinemask.masks import paste_rle
from tests.benchmarks.gpu_suite.conftest import MakeContext


def test_the_host_s_strings_are_those_of_paste_rle() -> None:
    masks, boxes = random_detections(20, 50, 70, mask_size=14)
    expected = [rle["counts"] for rle in paste_rle(masks.numpy(), boxes.numpy(), 50, 70)]
    assert host_strings(masks, boxes, 50, 70) == expected
    assert len(set(expected)) > 10


def test_awkward_boxes_are_among_the_others() -> None:
    boxes = torch.rand(10, 4)
    found = paste.awkward_boxes(boxes, 50, 70)
    assert found.shape == boxes.shape
    assert (found[8:] == boxes[:2]).all()
    assert found[0].tolist() == [0, 0, 70, 50]


def test_all_strings_are_compared(host_library: Path, make_context: MakeContext) -> None:
    report = run_paste(make_context(host_library))
    assert report.compared == report.identical == 5 * 10
    assert report.string_bytes > 0
    assert report.headline.startswith("50 of 50 strings are the host's; 10 masks take ")


def test_a_string_that_differs_fails_the_part(
    host_library: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(kernels: Any, masks: Any, boxes: Any, height: int, width: int) -> Any:
        return on_device.paste_rle(kernels, masks, boxes + np.float32(1), height, width)

    monkeypatch.setattr(paste, "paste_rle", shifted)
    context = make_context(host_library)
    with pytest.raises(FailedCheckError, match=r"^\d+ of 50 strings are the host's"):
        run_paste(context)
    report = context.report(PasteReport)
    assert report is not None
    assert report.identical < report.compared
