"""The PyTorch reference behind the common interface."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
from engines import torch_engine
from engines.torch_engine import TorchEngine
from refinemask.agreement import PARITY, compare, passes, verification_images
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.transforms import preprocess
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import ExportedDetector
from refinemask.structures import Detections
from refinemask.weights import load_detector, save_detector
from tests.support.tiny_detector import TINY, make_tiny_detector

Batch = tuple[np.ndarray, np.ndarray]
TRAINED = DEMO / "weights" / "refinemask-nuclei.safetensors"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU whose memory and arithmetic are the host's; gives the log of what the kernels are told."""
    log: list[str] = []
    to = torch.Tensor.to

    def on_host(tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return tensor if args == ("cuda",) else to(tensor, *args, **options)

    @contextmanager
    def disabled(device_type: str = "cuda") -> Iterator[None]:
        log.append(f"off on {device_type}")
        yield
        log.append("on")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append(f"wait for {device}"))
    monkeypatch.setattr(torch.Tensor, "to", on_host)
    monkeypatch.setattr(torch_engine, "load_detector", lambda path, device, **_: load_detector(path))
    monkeypatch.setattr(torch_engine.torch_ops, "enable_if_available", lambda: True)
    monkeypatch.setattr(torch_engine.torch_ops, "disabled", disabled)
    return log


def products() -> list[str]:
    """How convolutions and matrix products of float32 are computed on a GPU now."""
    backends: tuple[Any, ...] = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    return [backend.fp32_precision for backend in backends]


def test_equals_the_detector(checkpoint: Path, batch: Batch) -> None:
    engine = engines.load(checkpoint, threads=1)
    assert (engine.name, engine.precision, engine.device, engine.config) == ("PyTorch", "fp32", "cpu", TINY)
    found = engine.infer(*batch)
    with torch.inference_mode():
        expected = make_tiny_detector()(*map(torch.from_numpy, batch)).numpy()
    assert 0 < expected.num_detections.min() < 12, "real and padded detections both must occur"
    for name, ours, theirs in zip(Detections._fields, found, expected, strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_bf16_finds_what_fp32_finds() -> None:
    exact, coarse = (engines.load(TRAINED, precision=precision, threads=1) for precision in (None, "bf16"))
    assert (exact.precision, coarse.precision) == ("fp32", "bf16")
    comparisons = []
    for image in verification_images(NUCLEI / "images")[:3:2]:
        inputs = preprocess([image], exact.config.preprocessing)
        expected, found = (engine.infer(inputs.images, inputs.image_sizes) for engine in (exact, coarse))
        comparisons.append(compare((1, *inputs.images.shape[2:]), expected, found))
    assert sum(len(comparison.boxes) for comparison in comparisons) > 50
    assert passes(comparisons, PARITY["bf16"])
    assert max(comparison.scores.max() for comparison in comparisons) > PARITY["fp32"].scores, "bf16 must be seen"


def test_bf16_computes_as_the_exported_graph(checkpoint: Path, batch: Batch) -> None:
    engine = engines.load(checkpoint, precision="bf16", threads=1)
    found = engine.infer(*batch)
    with torch.inference_mode():
        graph = ExportedDetector(make_tiny_detector(), torch.bfloat16)
        expected = Detections(*graph(*map(torch.from_numpy, batch))).numpy()
    assert [array.dtype for array in found] == [array.dtype for array in expected]
    comparison = compare((2, 64, 96), expected, found)
    assert comparison.unmatched == 0
    assert len(comparison.boxes) == expected.num_detections.sum() > 0
    assert comparison.boxes.max() < PARITY["bf16"].boxes
    assert comparison.scores.max() < PARITY["bf16"].scores
    padding = np.arange(12) >= found.num_detections[:, None]
    assert padding.any()
    assert not found.masks[padding].any(), "places of padding are not computed"


def test_any_size_is_accepted(checkpoint: Path) -> None:
    engine = engines.load(checkpoint, threads=1)
    assert engine.canvas([(40, 60)]) is None
    assert engine.infer(np.zeros((1, 3, 32, 160), np.uint8), [[20, 150]]).masks.shape == (1, 12, 112, 112)


def test_threads_are_set(checkpoint: Path) -> None:
    engines.load(checkpoint, threads=1)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("precision", "dtype", "setting"),
    [
        ("fp32", torch.float32, "ieee"),
        ("tf32", torch.float32, "tf32"),
        ("fp16", torch.float16, "ieee"),
        ("bf16", torch.bfloat16, "ieee"),
    ],
)
def test_a_precision_on_a_gpu_is_what_its_name_says(
    checkpoint: Path,
    batch: Batch,
    gpu: list[str],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    dtype: torch.dtype,
    setting: str,
) -> None:
    before, seen = products(), []
    pyramid = Detector.pyramid

    def watched(detector: Detector, images: torch.Tensor) -> list[torch.Tensor]:
        maps = pyramid(detector, images)
        seen.append((products(), {each.dtype for each in maps}, _channels_last(maps[0])))
        return maps

    monkeypatch.setattr(Detector, "pyramid", watched)
    engine = engines.load(checkpoint, precision=precision, device="cuda", threads=1)
    assert (engine.name, engine.precision, engine.device) == ("PyTorch", precision, "cuda")
    found = engine.infer(*batch)
    assert seen == [([setting] * 2, {dtype}, dtype != torch.float32)]
    assert products() == before, "the process's own settings are back"
    assert gpu == ["wait for cuda", "wait for cuda"], "the kernels are on, and upload and run are complete"
    comparison = compare((2, 64, 96), engines.load(checkpoint, threads=1).infer(*batch), found)
    assert len(comparison.boxes) > comparison.unmatched, "a few of random weights lie at the score threshold"
    assert comparison.boxes.max() <= PARITY[precision.replace("tf32", "fp32")].boxes


def test_without_a_precision_a_gpu_computes_in_fp32(checkpoint: Path, gpu: list[str]) -> None:
    assert engines.load(checkpoint, device="cuda", threads=1).precision == "fp32"


def test_the_operators_can_be_chosen_on_a_gpu(checkpoint: Path, batch: Batch, gpu: list[str]) -> None:
    engine = engines.load(checkpoint, device="cuda", threads=1, kernels=False)
    assert isinstance(engine, TorchEngine)
    assert engine.operators == "torchvision"
    engine.infer(*batch)
    assert gpu == ["wait for cuda", "off on cuda", "on", "wait for cuda"]
    assert TorchEngine(checkpoint, device="cuda", threads=1).operators == "kernels"
    assert TorchEngine(checkpoint, threads=1).operators == "torchvision"


@pytest.mark.parametrize("kernels", [True, False])
def test_missing_kernels_are_warned_of(
    checkpoint: Path, gpu: list[str], monkeypatch: pytest.MonkeyPatch, kernels: bool
) -> None:
    monkeypatch.setattr(torch_engine.torch_ops, "enable_if_available", lambda: False)
    told: Callable[..., Any] = pytest.warns if kernels else lambda *_, **__: nullcontext()
    with told(UserWarning, match=r"tiny\.safetensors: runs with torchvision's .*python -m trt_plugins\.build"):
        engine = engines.load(checkpoint, device="cuda", threads=1, kernels=kernels)
    assert isinstance(engine, TorchEngine)
    assert engine.operators == "torchvision"


def test_refuses_what_it_cannot_do(checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"tiny\.safetensors: eager PyTorch runs in fp32, .*; 'int8' needs an exported"):
        engines.load(checkpoint, precision="int8")
    for precision, reason in (("tf32", "is a type of GPUs"), ("fp16", "more slowly than fp32")):
        with pytest.raises(UserError, match=rf"{precision} does not run on a CPU: .*{reason}.*--device cuda"):
            engines.load(checkpoint, precision=precision)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="PyTorch sees no GPU"):
            engines.load(checkpoint, device="cuda")
    with pytest.raises(UserError, match="backend 'onnxruntime' cannot run it; expected pytorch"):
        engines.load(checkpoint, backend="onnxruntime")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@pytest.mark.parametrize("kernels", [True, False])
def test_every_precision_on_a_real_gpu(precision: str, kernels: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    exact = engines.load(TRAINED)
    image = verification_images(NUCLEI / "images")[0]
    inputs = preprocess([image], exact.config.preprocessing)
    engine = engines.load(TRAINED, precision=precision, device="cuda", kernels=kernels)
    expected, found = (each.infer(inputs.images, inputs.image_sizes) for each in (exact, engine))
    # TensorFloat-32 has as many bits as float16.
    assert passes([compare((1, 384, 384), expected, found)], PARITY[precision.replace("tf32", "fp16")])


def _channels_last(feature: torch.Tensor) -> bool:
    return feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
