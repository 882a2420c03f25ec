"""The bare network's configuration: strict by the schema, and with the shapes of the file."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.triton import write_repository
from engines.triton.network_config import MASK_SIDES
from engines.trt.sidecar import Sidecar, write_sidecar
from refinemask.contract import Bounds, Metadata
from refinemask.files import UserError, sha256
from tests.support.tiny_families import MASK_HEADS, make_tiny_family
from tests.support.triton_config import parse_config
from tests.support.triton_server import triton_server


def written(model: Path, tmp_path: Path, **settings: Any) -> tuple[Path, Any]:
    repository = write_repository(model, tmp_path / "r", settings, network="native")
    assert repository.network == f"{model.stem}_network"
    folder = tmp_path / "r" / repository.network
    return folder, parse_config((folder / "config.pbtxt").read_text())


def write_engine(onnx_file: Path, path: Path, bounds: Bounds, **fields: Any) -> Path:
    """A file with a sidecar as that of a TensorRT engine; nothing here runs it."""
    path.write_bytes(b"an engine")
    metadata = Metadata.of_file(onnx_file).to_properties() | {"bounds": bounds.to_json()}
    known: dict[str, Any] = {
        "engine_sha256": sha256(path),
        "onnx": onnx_file.name,
        "onnx_sha256": sha256(onnx_file),
        "plugins": None,
        "plugins_sha256": None,
        "flavour": "tensorrt",
        "version": "10.13.0",
        "cuda": None,
        "driver": None,
        "gpu": None,
        "capabilities": ("8.9",),
        "metadata": metadata,
        "tf32": False,
        "precision": {},
        "command": "python -m engines.build",
    }
    write_sidecar(Sidecar(**known | fields), path)
    return path


def test_onnx_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    folder, config = written(tiny_files[1], tmp_path, threads=2)
    bounds = Metadata.of_file(tiny_files[1]).bounds
    assert (config.backend, config.default_model_filename) == ("onnxruntime", "tiny.onnx")
    assert config.max_batch_size == bounds.batch[2] > 1
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert (folder / "1" / "tiny.onnx").is_file()
    assert not (folder / "1" / "model.py").exists()
    graph = onnx.load(tiny_files[1], load_external_data=False).graph
    for found, expected in zip([*config.input, *config.output], [*graph.input, *graph.output], strict=True):
        shape = [side.dim_value or -1 for side in expected.type.tensor_type.shape.dim]
        dims = list(found.reshape.shape) if found.HasField("reshape") else list(found.dims)
        assert (found.name, [-1, *dims]) == (expected.name, shape)
    [warm_up] = config.model_warmup
    assert warm_up.batch_size == 1
    sizes = np.frombuffer((folder / "warmup" / warm_up.inputs["image_sizes"].input_data_file).read_bytes(), "<i8")
    assert sizes.tolist() == [bounds.height[1], bounds.width[1]] == list(warm_up.inputs["images"].dims[1:])


def test_the_server_reads_it(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    """This server has no backend for ONNX Runtime, and says nothing else."""
    folder, _ = written(tiny_files[1], tmp_path, threads=1)
    with triton_server(folder.parent, "--exit-on-error=false", "--model-control-mode=explicit",
                       f"--load-model={folder.name}", ready=False) as server:  # fmt: skip
        log = server.log.read_text()
    errors = {line.partition("] ")[2] for line in log.splitlines() if folder.name in line and line.startswith("E")}
    assert errors
    for error in errors:
        assert re.search("unable to find backend library for backend 'onnxruntime'", error), errors


STATIC = Bounds(batch=(2, 2, 2), height=(64, 64, 64), width=(96, 96, 96))
PROFILE = Bounds(batch=(1, 4, 8), height=(64, 64, 64), width=(32, 96, 128))
AT_LEAST_TWO = Bounds(batch=(2, 2, 4), height=(64, 64, 64), width=(96, 96, 96))


@pytest.mark.parametrize(
    ("bounds", "batch", "images", "counts"),
    [
        (PROFILE, 8, [3, 64, -1], [1]),
        (STATIC, 0, [2, 3, 64, 96], [2]),
        (AT_LEAST_TWO, 0, [-1, 3, 64, 96], [-1]),
    ],
    ids=["profile", "static", "at least two"],
)
def test_engine_file(
    bounds: Bounds, batch: int, images: list[int], counts: list[int], tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    engine = write_engine(tiny_files[1], tmp_path / "a.engine", bounds)
    folder, config = written(engine, tmp_path, device="cuda")
    assert (config.backend, config.default_model_filename) == ("tensorrt", "a.engine")
    assert config.max_batch_size == batch
    assert list(config.input[0].dims) == images
    assert {each.name: list(each.dims) for each in config.output}["num_detections"] == counts
    assert config.HasField("dynamic_batching") == (batch > 0)
    if batch:
        assert list(config.dynamic_batching.preferred_batch_size) == [4]
    [group] = config.instance_group
    assert (group.kind, list(group.gpus)) == (group.KIND_GPU, [0])
    assert config.parameters["sha256:a.engine"].string_value == sha256(engine)
    assert (folder.parent / "a" / "1" / "a.engine.json").is_file()


def test_an_engine_that_is_not_its_sidecars(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    engine = write_engine(tiny_files[1], tmp_path / "a.engine", PROFILE)
    engine.write_bytes(b"another engine")
    with pytest.raises(UserError, match="does not fit: its SHA-256 is"):
        write_repository(engine, tmp_path / "r", {"device": "cuda"})
    assert os.listdir(tmp_path / "r") == []


def test_an_engine_of_another_flavour(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    engine = write_engine(tiny_files[1], tmp_path / "a.engine", PROFILE, flavour="tensorrt_rtx")
    with pytest.raises(UserError, match="is an engine of tensorrt_rtx, which Triton does not run"):
        write_repository(engine, tmp_path / "r", {"device": "cuda"}, network="native")


def test_plugins(tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "libplugins.so"
    library.write_bytes(b"a library")
    monkeypatch.setattr("engines.triton.native.library_path", lambda: library)
    plugins = {"plugins": library.name, "plugins_sha256": sha256(library)}
    engine = write_engine(tiny_files[1], tmp_path / "a.engine", PROFILE, **plugins)
    found = write_repository(engine, tmp_path / "r", {"device": "cuda"}, network="native")
    assert found.plugins == tmp_path / "r" / "a_network" / "libplugins.so"
    assert found.plugins.read_bytes() == b"a library"
    library.write_bytes(b"another library")
    with pytest.raises(UserError, match="that of the engine's library is"):
        write_repository(engine, tmp_path / "r", {"device": "cuda"}, network="native")


@pytest.mark.parametrize("name", MASK_HEADS)
def test_sides_of_masks(name: str) -> None:
    import torch

    detector = make_tiny_family(name).eval()
    with torch.inference_mode():
        found = detector(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]]))
    assert found.masks.shape[2] == MASK_SIDES[MASK_HEADS[name].kind]
