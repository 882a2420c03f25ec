"""The other families compile as RefineMask does, for several sizes and in several child processes; and bf16."""

from pathlib import Path

import numpy as np
import pytest

import engines
from engines.compiled import child
from refinemask.bundled import DEMO, NUCLEI, PHOTOS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.weights import save_detector
from tests.support.detections import assert_near_detections
from tests.support.tiny_families import MASK_HEADS, make_tiny_family
from tests.support.tolerances import TOLERANCES

SIZES = ((64, 96), (96, 64))


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in MASK_HEADS if name != "RefineMask"])
def test_a_package_of_two_sizes_agrees_with_eager_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(child.os, "sched_getaffinity", lambda pid: range(2 * child.CORES_PER_CHILD))
    checkpoint, output = tmp_path / "tiny.safetensors", tmp_path / "tiny.pt2"
    save_detector(make_tiny_family(family), checkpoint, recipe="tiny")
    sidecar = engines.compile_engine(checkpoint, output, device="cpu", canvases=SIZES, images=PHOTOS)
    assert sidecar.agreement is not None
    assert sidecar.agreement[1] > 0
    engine, eager = engines.load(output, threads=1), engines.load(checkpoint, threads=1)
    found_some = False
    for seed, size in enumerate(SIZES * 2):
        images = np.random.default_rng(seed).integers(0, 256, (1, 3, *size), dtype=np.uint8)
        expected, found = (each.infer(images, [size]) for each in (eager, engine))
        assert_near_detections(found, expected)
        found_some |= bool(expected.num_detections.min() > 1)
    assert found_some


@pytest.mark.slow
def test_a_trained_model_in_bf16_agrees_with_eager_pytorch_in_fp32(tmp_path: Path) -> None:
    """Random weights tell near-ties apart by less than bf16 rounds."""
    checkpoint, output = DEMO / "weights" / "mask-rcnn-nuclei.safetensors", tmp_path / "nuclei.pt2"
    sidecar = engines.compile_engine(
        checkpoint, output, device="cpu", precision="bf16", canvases=[(256, 256)], batch=2, images=NUCLEI
    )
    assert sidecar.agreement is not None
    agreeing, total = sidecar.agreement
    assert 10 < 0.9 * total <= agreeing
    coarse, exact = engines.load(output, threads=1), engines.load(checkpoint, threads=1)
    assert coarse.precision == sidecar.precision == "bf16"
    picture = read_image(sorted((NUCLEI / "images").glob("*"))[0])
    batch = preprocess([picture], exact.config.preprocessing, (256, 256))
    found, expected = (engine.infer(batch.images, batch.image_sizes).scores[0, 0] for engine in (coarse, exact))
    assert 0 < abs(found - expected) < TOLERANCES["scores in bfloat16"].absolute
