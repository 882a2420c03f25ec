"""Checkpoints: what is loaded is what was saved, and what does not fit is refused before it costs anything."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from refinemask.config import BackboneConfig, ModelConfig, Preprocessing
from refinemask.config_json import to_json
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.weights import load_detector, read_config, read_metadata, save_detector
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS, make_tiny_family

BOMBS: dict[str, dict[str, Any]] = {
    "wide": {"fpn_channels": 20_000},
    "deep": {"backbone": {"blocks": [10**9, 1, 1, 1]}},
    "all": {"backbone": {"blocks": [200, 200, 200, 200], "width": 65_536}, "fpn_channels": 65_536},
    "classes": {"class_names": ["a"] * 100_000, "category_ids": list(range(100_000))},
}
"""Configurations that ask for far more than a file without a tensor can hold."""
LOAD_ALL = """
import resource, sys
from refinemask.files import UserError
from refinemask.weights import load_detector
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
for path in sys.argv[1:]:
    try:
        load_detector(path)
    except UserError as error:
        print(error)
"""


def empty_file(path: Path, config: dict[str, Any]) -> Path:
    """A file without tensors and with a configuration."""
    content = {"class_names": ["a"], "category_ids": [1], **config}
    header = json.dumps({"__metadata__": {"config": json.dumps(content), "recipe": "x"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The tiny detector in a file."""
    path = tmp_path / "tiny.safetensors"
    save_detector(make_tiny_family("RefineMask"), path, recipe="tiny")
    return path


def change(path: Path, **tensors: torch.Tensor | None) -> Path:
    """Replace, add or (None) remove tensors of a file, named with ``__`` for each full stop."""
    state: dict[str, Any] = load_file(path) | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, path, read_metadata(path))
    return path


@pytest.mark.parametrize("family", MASK_HEADS)
def test_a_detector_comes_back_whole(family: str, tmp_path: Path) -> None:
    detector = make_tiny_family(family)
    save_detector(detector, tmp_path / "a.safetensors", recipe="tiny")
    torch.manual_seed(3)
    loaded = load_detector(tmp_path / "a.safetensors")
    drawn = torch.rand(1)
    assert loaded.config == detector.config
    assert not loaded.training
    for kind in ("named_parameters", "named_buffers"):  # Buffers that are in no file, too.
        found, expected = (dict(getattr(module, kind)()) for module in (loaded, detector))
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert (found[name].device.type, found[name].dtype) == ("cpu", tensor.dtype)
            assert torch.equal(found[name], tensor), name
            assert found[name].requires_grad == tensor.requires_grad
    torch.manual_seed(3)
    Detector(detector.config)
    assert torch.equal(torch.rand(1), drawn), "the check took random numbers that the detector's weights need"


def test_files_that_ask_for_more_than_they_hold_are_refused_within_a_gigabyte(tmp_path: Path) -> None:
    files = [empty_file(tmp_path / f"{name}.safetensors", config) for name, config in BOMBS.items()]
    run = subprocess.run([sys.executable, "-c", LOAD_ALL, *map(str, files)], capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert (run.returncode, run.stderr, len(lines)) == (0, "", len(files))
    for path, line in zip(files, lines, strict=True):
        assert line.startswith(f"{path}: its ")
        assert len(line) < 600
    assert "configuration: it has 0, whose backbone alone has more than 240; write" in lines[0]


def test_a_small_backbone_with_huge_heads_is_refused_from_the_header(saved: Path) -> None:
    metadata, state = read_metadata(saved), load_file(saved)
    config = json.loads(metadata["config"]) | {"fpn_channels": 65_536}
    save_file(state, saved, metadata | {"config": json.dumps(config)})
    with pytest.raises(
        UserError, match=r"lateral_convs.0.weight is \[32, 32, 1, 1\], expected .65536, .*; and \d+ more"
    ):
        load_detector(saved)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"rpn__conv__bias": None}, "configuration: rpn.conv.bias is missing; write"),
        ({"rpn__conv__bias": torch.zeros(3)}, r"rpn.conv.bias is \[3\], expected \[32\]"),
        ({"more": torch.zeros(3)}, "'more' is unknown"),
        ({"rpn__conv__bias": torch.zeros(32, dtype=torch.int64)}, "rpn.conv.bias is of type I64, expected a float"),
        ({"rpn__conv__bias": torch.zeros(32, dtype=torch.bool)}, "rpn.conv.bias is of type BOOL"),
        ({"rpn__conv__bias": torch.zeros(32).to(torch.float8_e4m3fn)}, "rpn.conv.bias is of type F8_E4M3"),
        ({"rpn__conv__bias": torch.full((32,), torch.nan)}, "32 of the 32 values of rpn.conv.bias are NaN"),
        ({"rpn__conv__bias": torch.full((32,), 1e300, dtype=torch.float64)}, "values of rpn.conv.bias are NaN or inf"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved: Path, tensors: dict[str, Any], message: str) -> None:
    load_detector(saved)
    with pytest.raises(UserError, match=message):
        load_detector(change(saved, **tensors))


def test_one_value_that_is_not_finite_is_refused(saved: Path) -> None:
    weight = load_file(saved)["backbone.layer1.0.conv2.weight"]
    weight.view(-1)[5] = torch.nan
    with pytest.raises(UserError, match=r"tiny\.safetensors: 1 of the \d+ values of backbone.layer1.0.conv2.weight"):
        load_detector(change(saved, backbone__layer1__0__conv2__weight=weight))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_floats_become_float32(saved: Path, dtype: torch.dtype) -> None:
    bias = load_file(saved)["rpn.conv.bias"].to(dtype)
    loaded = load_detector(change(saved, rpn__conv__bias=bias)).rpn.conv.bias
    assert loaded is not None
    assert torch.equal(loaded, bias.float())


def test_only_an_official_checkpoint_is_to_be_converted(saved: Path, tmp_path: Path) -> None:
    cut = saved.read_bytes()[:-9]
    for name, message in (("cut.safetensors", "it may be truncated"), ("cut.pth", "refinemask.convert .*cut.pth -o")):
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(UserError, match=rf"{name}: not a safetensors file \(.*\); .*{message}"):
            read_metadata(tmp_path / name)
    with pytest.raises(UserError, match="is a directory"):
        read_metadata(tmp_path)


def test_a_configuration_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    detector = Detector(TINY)
    detector.config = ModelConfig(
        class_names=("a",), category_ids=(1,), preprocessing=Preprocessing(std=(0.0, 1.0, 1.0))
    )
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be written: .*preprocessing\.std\[0\]"):
        save_detector(detector, tmp_path / "a.safetensors", recipe="tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_number_written_as_text_is_that_number(tmp_path: Path) -> None:
    path = empty_file(tmp_path / "a.safetensors", {"fpn_channels": "64", "backbone": {"blocks": [1, "2", 3.0, 1]}})
    config = ModelConfig(
        class_names=("a",), category_ids=(1,), fpn_channels=64, backbone=BackboneConfig(blocks=(1, 2, 3, 1))
    )
    assert to_json(read_config(path)) == to_json(config)
