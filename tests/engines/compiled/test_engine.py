"""A package that was compiled for this CPU: the same detections as eager PyTorch, and all that is refused."""

import io
import json
import re
import signal
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
from engines.compiled.engine import CompiledEngine
from engines.compiled.sidecar import read_compiled_sidecar, this_target
from engines.trt.sidecar import sidecar_path
from refinemask.bundled import PHOTO
from refinemask.contract import InputError
from refinemask.data.images import read_image
from refinemask.files import UserError, sha256
from refinemask.sources.given import ImageSource
from refinemask.weights import read_config
from tests.support.compiled_package import BATCH, CANVAS
from tests.support.detections import assert_near_detections
from tests.support.tiny_detector import TINY
from tests.support.traced_parts import make_batch

Change = Callable[..., None]


@pytest.fixture(scope="module")
def compiled(tiny_package: Path) -> engines.Engine:
    return engines.load(tiny_package, threads=1)


@pytest.fixture(scope="module")
def eager(tiny_package: Path) -> engines.Engine:
    return engines.load(tiny_package.with_suffix(".safetensors"), threads=1)


@pytest.fixture
def change(package: Path) -> Change:
    """Changes fields of the package's sidecar."""

    def write(**fields: Any) -> None:
        path = sidecar_path(package)
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return write


def test_it_says_what_it_is(compiled: engines.Engine) -> None:
    assert isinstance(compiled, CompiledEngine)
    assert (compiled.name, compiled.precision, compiled.device) == ("compiled PyTorch", "fp32", "cpu")
    assert compiled.config == TINY


@pytest.mark.parametrize("seed", range(3))
def test_detections_are_those_of_eager_pytorch(compiled: engines.Engine, eager: engines.Engine, seed: int) -> None:
    images, image_sizes = make_batch(seed)
    expected = eager.infer(images, image_sizes)
    assert expected.num_detections.min() > 1
    assert_near_detections(compiled.infer(images, image_sizes), expected)


def test_ctrl_c_within_compiled_code_stays_what_it_is(compiled: engines.Engine) -> None:
    inputs = compiled.upload(*(tensor.numpy() for tensor in make_batch(0)))
    programs = inputs.slot._programs
    real = programs[CANVAS]

    def interrupted(*tensors: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real.features(*tensors)

    programs[CANVAS] = replace(real, features=interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            compiled.run(inputs)
    finally:
        programs[CANVAS] = real
    assert len(compiled.infer(*make_batch(0)).boxes) == BATCH, "the slot was given back"


def test_a_batch_without_a_detection(compiled: engines.Engine, eager: engines.Engine) -> None:
    images = np.full((2, 3, *CANVAS), 128, np.uint8)
    for engine in (eager, compiled):
        found = engine.infer(images, [CANVAS] * 2)
        assert found.num_detections.tolist() == [0, 0]
        assert found.masks.shape == (2, 12, 112, 112)
        assert np.isfinite(found.masks).all()


def test_a_batch_that_is_not_full(compiled: engines.Engine, eager: engines.Engine) -> None:
    images, image_sizes = (array[1:] for array in make_batch())
    expected = eager.infer(images, image_sizes)
    assert len(expected.boxes) == 1
    assert_near_detections(compiled.infer(images, image_sizes), expected)


def test_results_stay_valid_after_the_next_call(compiled: engines.Engine) -> None:
    first = compiled.infer(*make_batch(0))
    kept = [array.copy() for array in first]
    compiled.infer(*make_batch(1))
    for before, after in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, after)


def test_pictures_of_any_size_are_predicted_in_their_own_pixels(
    compiled: engines.Engine, eager: engines.Engine
) -> None:
    """Both pad to the one canvas that there is, where a portrait image is shrunk."""
    noise = np.random.default_rng(0)
    arrays = [noise.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((60, 90), (200, 100))]
    images: list[ImageSource] = [PHOTO, *arrays]
    found = list(compiled.predict(images, batch_size=2))
    shapes = [read_image(PHOTO).shape[:2], (60, 90), (200, 100)]
    assert [(each.height, each.width) for each in found] == shapes
    eager.bounds = compiled.bounds
    expected = list(eager.predict(images, batch_size=2))
    eager.bounds = None
    assert sum(map(len, expected)) > 3
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.class_names == theirs.class_names
        assert ours.masks().shape == (len(theirs), theirs.height, theirs.width)
        assert (ours.masks() != theirs.masks()).mean() < 1e-3
    assert list(compiled.predict([])) == []


def test_threads_share_the_engine(compiled: engines.Engine) -> None:
    batches = [make_batch(seed) for seed in range(4)]
    expected = [compiled.infer(*batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda batch: compiled.infer(*batch), batches * 3))
    for ours, theirs in zip(found, expected * 3, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_was_not_compiled_for_is_refused(compiled: engines.Engine) -> None:
    images, image_sizes = make_batch()
    with pytest.raises(InputError, match="3 images in a batch, but this engine was compiled for up to 2"):
        compiled.infer(images[[0, 1, 0]], image_sizes[[0, 1, 0]])
    with pytest.raises(InputError, match=r"padded to 96x64, but this engine was compiled for 64x96: pad to"):
        compiled.infer(images.transpose(2, 3).contiguous(), image_sizes.flip(1))
    with pytest.raises(UserError, match="3 images in a batch"):
        list(compiled.predict([images[0].permute(1, 2, 0).numpy()] * 3, batch_size=3))
    assert compiled.infer(images, image_sizes).num_detections.min() > 1, "and the engine goes on"


def test_the_sidecar_is_the_packages_origin(tiny_package: Path) -> None:
    checkpoint, sidecar = tiny_package.with_suffix(".safetensors"), read_compiled_sidecar(tiny_package)
    assert sidecar.package_sha256 == sha256(tiny_package)
    assert (sidecar.checkpoint, sidecar.checkpoint_sha256) == (checkpoint.name, sha256(checkpoint))
    assert (sidecar.recipe, sidecar.precision, sidecar.device) == ("tiny", "fp32", "cpu")
    assert (sidecar.torch, sidecar.target, sidecar.processor) == (torch.__version__, this_target("cpu"), "")
    assert (sidecar.batch, sidecar.sizes) == (BATCH, (CANVAS,))
    assert sidecar.model_config(tiny_package) == read_config(checkpoint)
    assert sidecar.agreement is not None
    agreeing, total = sidecar.agreement
    assert 0 < agreeing == total
    program, _, module, source, _, output, *options = sidecar.command.split()
    assert (program, module) == ("python", "engines.build")
    assert (Path(source).name, Path(output).name) == (checkpoint.name, tiny_package.name)
    assert options == ["--device", "cpu", "--precision", "fp32", "--batch", "2", "--canvases", "64x96"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"package_sha256": "0" * 64}, r"its SHA-256 is \w{64}, the package's is 0{64}"),
        ({"torch": "2.10.0"}, rf"PyTorch is {re.escape(torch.__version__)}, the package's is 2\.10\.0"),
        ({"target": "NEON"}, r"the device's target is \w+, the package's is NEON"),
        (
            {"torch": "2.10.0", "target": "NEON"},
            r"PyTorch is \S+, the package's is 2\.10\.0; the device's target is \w+, the package's is NEON",
        ),
    ],
)
def test_a_package_that_does_not_fit_is_refused(
    package: Path, change: Change, fields: dict[str, Any], message: str
) -> None:
    change(**fields)
    with pytest.raises(UserError, match=rf"tiny\.pt2: does not fit: {message}; compile it again: python -m engines"):
        engines.load(package)


def test_a_changed_package_is_refused_before_any_of_its_code_runs(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.compiled.engine.load_programs", lambda *_: pytest.fail("its code was run"))
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    with pytest.raises(UserError, match=r"does not fit: its SHA-256 is"):
        engines.load(package)
    sidecar_path(package).unlink()
    with pytest.raises(
        UserError,
        match=r"tiny\.pt2: has no sidecar tiny\.pt2\.json, so its origin is unknown, and a package can run any code; "
        r"compile it here: python -m engines\.build MODEL\.safetensors -o .*tiny\.pt2$",
    ):
        engines.load(package, trust_engine=True)


@pytest.mark.parametrize("content", ["", "no JSON", "[]", "{}", '{"sizes": 3, "agreement": null}'])
def test_an_unreadable_sidecar_is_refused(package: Path, content: str) -> None:
    sidecar_path(package).write_text(content)
    with pytest.raises(UserError, match=r"tiny\.pt2\.json: (is empty|not a (sidecar of python|JSON file))"):
        engines.load(package)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": []}, r"tiny\.pt2\.json: not a sidecar of python -m engines\.build"),
        ({"batch": "one"}, r"tiny\.pt2\.json: not a sidecar of python -m engines\.build"),
        ({"config": "{}"}, r"tiny\.pt2\.json: unreadable configuration \(.*\); compile it again"),
        (
            {"sizes": [[96, 64]]},
            r"tiny\.pt2: holds no code for 'features_96x64', which its sidecar promises",
        ),
        ({"device": "cuda"}, "was compiled for device 'cuda', and 'cpu' was asked for; use --device cuda"),
    ],
)
def test_a_sidecar_that_does_not_belong_to_the_code_is_refused(
    package: Path, change: Change, fields: dict[str, Any], message: str
) -> None:
    change(**fields)
    with pytest.raises(UserError, match=message):
        engines.load(package)


def archive(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, "nothing")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; download or write it again"),
        (b"no archive", "PyTorch cannot load it: .*; compile it again: python"),
        (archive("a"), "holds no code for 'features_64x96', which its sidecar promises; compile it again: python"),
    ],
    ids=["empty", "no archive", "archive of something"],
)
def test_a_file_that_is_no_package_is_refused_in_one_line_though_its_sidecar_fits(
    package: Path, change: Change, content: bytes, message: str
) -> None:
    package.write_bytes(content)
    change(package_sha256=sha256(package))
    with pytest.raises(UserError, match=rf"tiny\.pt2: {message}") as caught:
        engines.load(package)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, r"tiny\.pt2: was compiled in fp32, not in bf16; compile another one"),
        ({"slots": 2}, r"tiny\.pt2: backend 'compiled' has no slots on device 'cpu'; leave it out"),
        ({"cuda_graph": False}, r"tiny\.pt2: backend 'compiled' has no cuda_graph on device 'cpu'; leave it out"),
        ({"kernels": False}, r"tiny\.pt2: backend 'compiled' has no kernels on device 'cpu'; leave it out"),
        ({"threads": 0}, "cannot run on 0 threads .*; expected 1 to 1024"),
        ({"backend": "onnxruntime"}, "backend 'onnxruntime' cannot run it; expected compiled"),
    ],
)
def test_what_a_package_cannot_do_is_refused(tiny_package: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        engines.load(tiny_package, **options)


def test_a_missing_gpu_and_missing_kernels_are_named(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device 'cuda' was asked for, but PyTorch sees no GPU; use --device cpu"):
        engines.load(tiny_package, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("trt_plugins.torch_ops.enable_if_available", lambda: False)
    with pytest.raises(UserError, match=r"needs the CUDA kernels, which are not built; python -m trt_plugins\.build"):
        engines.load(tiny_package, device="cuda")
    monkeypatch.setattr("trt_plugins.torch_ops.enable_if_available", lambda: True)
    with pytest.raises(UserError, match="was compiled for device 'cpu', and 'cuda' was asked for; use --device cpu"):
        engines.load(tiny_package, device="cuda")


def test_the_precision_of_the_package_may_be_named(tiny_package: Path) -> None:
    assert engines.load(tiny_package, backend="compiled", precision="fp32", threads=1).precision == "fp32"
