"""What is written, what is refused, and what stays as it was."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.triton import Deployment, Settings, write_repository
from engines.triton.interface import OUTPUTS
from refinemask import __version__
from refinemask.files import UserError, sha256
from tests.support.triton_config import parse_config
from tests.support.triton_server import triton_server


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_config(folder: Path) -> Any:
    return parse_config((folder / "config.pbtxt").read_text())


def settings_in(folder: Path) -> Settings:
    parameters = read_config(folder).parameters
    return Settings.from_parameters({key: {"string_value": value.string_value} for key, value in parameters.items()})


def test_front(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    options = {"threads": 2, "score_threshold": 0.75, "detections": 5, "batch_size": 2, "response": "polygons"}
    deployment = Deployment(max_batch=8, queue_delay=500, instances=3)
    written = write_repository(
        tiny_files[1], tmp_path / "r", options | {"window": "percentile 1 99"}, deployment, name="a.b-c"
    )
    assert (written.front, written.network, written.opened) == ("a.b-c", None, True)
    folder = tmp_path / "r" / "a.b-c"
    assert content(folder).keys() == {"config.pbtxt", "1/model.py", "1/tiny.onnx"}
    assert (folder / "1" / "tiny.onnx").read_bytes() == tiny_files[1].read_bytes()
    config = read_config(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("a.b-c", "python", 8)
    assert [(each.name, each.optional, list(each.dims)) for each in config.input] == [
        ("image", True, [1]),
        ("pixels", True, [-1, -1, 3]),
    ]
    assert [each.name for each in config.output] == list(OUTPUTS)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    [group] = config.instance_group
    assert (group.count, group.kind) == (3, group.KIND_CPU)
    assert settings_in(folder) == written.settings
    assert written.settings == Settings(
        model="tiny.onnx",
        backend="onnxruntime",
        precision="fp32",
        version=__version__,
        window="percentile 1 99",
        files={"tiny.onnx": sha256(tiny_files[1])},
        **options,  # type: ignore[arg-type]
    )


def test_weights_beside_an_onnx_file_come_along(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_files[1])
    (tmp_path / "in").mkdir()
    onnx.save_model(model, tmp_path / "in" / "big.onnx", save_as_external_data=True, location="big.data")
    written = write_repository(tmp_path / "in" / "big.onnx", tmp_path / "r", {"threads": 1})
    assert written.settings.files.keys() == {"big.onnx", "big.data"}
    assert (tmp_path / "r" / "big" / "1" / "big.data").read_bytes() == (tmp_path / "in" / "big.data").read_bytes()


def test_writing_again_replaces_ours_alone(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    repository = tmp_path / "r"
    write_repository(tiny_files[1], repository, {"threads": 1}, network="python")
    (repository / "another").mkdir()
    (repository / "another" / "config.pbtxt").write_text('backend: "python"')
    # What a killed writer has left.
    made(tmp_path / ".r.tiny.x.new" / "part", b"half")
    write_repository(tiny_files[1], repository, {"threads": 2})
    assert sorted(os.listdir(repository)) == ["another", "tiny"]
    assert os.listdir(tmp_path) == ["r"]
    assert settings_in(repository / "tiny").threads == 2


def test_what_others_have_written_stays(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    made(tmp_path / "r" / "another" / "config.pbtxt", b'backend: "python"')
    with pytest.raises(UserError, match="another: exists, and is no model that python -m"):
        write_repository(tiny_files[1], tmp_path / "r", name="another")
    shutil.move(tmp_path / "r" / "another", tmp_path / "r" / "another_network")
    with pytest.raises(UserError, match="another_network: exists, and is no model that python -m"):
        write_repository(tiny_files[1], tmp_path / "r", name="another", network="python")
    assert content(tmp_path / "r") == {"another_network/config.pbtxt": b'backend: "python"'}


def test_nothing_is_left_of_a_failed_call(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "r"
    write_repository(tiny_files[1], repository, {"threads": 1})
    before = content(repository)

    def full(source: str, target: str) -> None:
        Path(target).write_bytes(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engines.triton.repository.shutil.copyfile", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write_repository(tiny_files[1], repository, {"threads": 2})
    assert content(repository) == before
    assert [os.listdir(tmp_path), os.listdir(repository)] == [["r"], ["tiny"]]


@pytest.mark.parametrize("name", ["", ".a", "a/b", "../a", "a b", "ä", "a" * 101, "-a"])
def test_a_name_that_is_none(name: str, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / f"{name or 'ä'}.onnx" if "/" not in name else None
    with pytest.raises(UserError, match=r"--name .*: cannot name a model; expected letters"):
        write_repository(model or tiny_files[1], tmp_path / "r", name=name or None)
    assert not (tmp_path / "r").exists()


REFUSED: dict[str, tuple[Callable[[Path, Path], Path], dict[str, Any], str]] = {
    "a missing file": (lambda folder, onnx: folder / "none.onnx", {}, "no such file"),
    "another kind": (lambda folder, onnx: made(folder / "a.pth", b"x"), {}, "no engine for '.pth' files"),
    "no export": (lambda folder, onnx: made(folder / "a.onnx", b"\x08\x01"), {}, "not a RefineMask export"),
    "an engine without a sidecar": (
        lambda folder, onnx: made(folder / "a.engine", b"x"),
        {"device": "cuda"},
        "has no sidecar a.engine.json",
    ),
    "a backend of other files": (lambda folder, onnx: onnx, {"backend": "tensorrt"}, "cannot run it"),
    "a precision that it has not": (lambda folder, onnx: onnx, {"precision": "fp16"}, "its precision is fp32"),
    "the same on a GPU": (lambda folder, onnx: onnx, {"precision": "fp16", "device": "cuda"}, "its precision is fp32"),
    "a device that is none": (lambda folder, onnx: onnx, {"device": "tpu"}, "there is no device 'tpu'"),
    "a device of another engine": (
        lambda folder, onnx: onnx,
        {"backend": "openvino", "device": "cuda"},
        "openvino runs on cpu alone",
    ),
    "one of several GPUs": (lambda folder, onnx: onnx, {"device": "cuda:1"}, "only a checkpoint names one of"),
    "too many detections on a GPU": (
        lambda folder, onnx: onnx,
        {"detections": 500, "device": "cuda"},
        "gives at most 12 detections",
    ),
    "too many detections": (lambda folder, onnx: onnx, {"detections": 500}, "gives at most 12 detections"),
    "a threshold below its own": (lambda folder, onnx: onnx, {"score_threshold": 0.1}, "gives scores above 0.7"),
    "a batch beyond its own": (lambda folder, onnx: onnx, {"batch_size": 99}, "images have batch 99"),
}


def made(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case: str, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    make, settings, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as raised:
        write_repository(make(tmp_path, tiny_files[1]), tmp_path / "r", settings)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "r").exists()


def test_an_output_that_is_a_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a file, expected a folder for models"):
        write_repository(tiny_files[1], made(tmp_path / "r", b"x"), {"threads": 1})
    with pytest.raises(UserError, match="cannot be written: Not a directory"):
        write_repository(tiny_files[1], tmp_path / "r" / "below", {"threads": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "openvino"}, "the backend is openvino; use --network python"),
        ({"precision": "tf32", "device": "cuda"}, "computes tf32 with settings of its own"),
    ],
)
def test_a_network_that_is_not_native(
    settings: dict[str, Any], message: str, tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        write_repository(tiny_files[1], tmp_path / "r", settings, network="native")
    assert not (tmp_path / "r").exists()


def test_files_are_the_ones_that_were_written(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = write_repository(tiny_files[1], tmp_path / "r", {"threads": 1}).settings
    folder = tmp_path / "r" / "tiny" / "1"
    settings.require_files(folder)
    with open(folder / "tiny.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"its SHA-256 is .*, that of config\.pbtxt is"):
        settings.require_files(folder)
    (folder / "tiny.onnx").unlink()
    with pytest.raises(UserError, match="no such file; write the repository again"):
        settings.require_files(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model": None}, "'model'"), ({"threads": "0"}, "threads"), ({"response": "x"}, "response"),
     ({"window": "9 1"}, "window")],
)  # fmt: skip
def test_parameters_of_another_program(change: dict[str, str | None], message: str) -> None:
    texts = Settings(model="a.onnx", backend="onnxruntime", precision="fp32", version="1").to_parameters() | change
    given = {name: {"string_value": text} for name, text in texts.items() if text is not None}
    with pytest.raises(UserError, match=message):
        Settings.from_parameters(given)


def test_the_server_refuses_another_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    write_repository(tiny_files[1], tmp_path / "r", {"threads": 1})
    with open(tmp_path / "r" / "tiny" / "1" / "tiny.onnx", "ab") as file:
        file.write(b"x")
    with triton_server(tmp_path / "r", ready=False) as server:
        server.process.wait(60)
        log = server.log.read_text()
    [line] = [line for line in log.splitlines() if "failed to load 'tiny' version" in line]
    assert "its SHA-256 is" in line
    assert "write the repository again: python -m engines.triton" in line


def test_a_model_is_not_lost_to_the_network_of_another(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    write_repository(tiny_files[1], tmp_path / "r", name="a_network")
    before = content(tmp_path / "r")
    with pytest.raises(UserError, match="a_network: is a model that takes images, and would be lost"):
        write_repository(tiny_files[1], tmp_path / "r", name="a", network="python")
    assert content(tmp_path / "r") == before
    write_repository(tiny_files[1], tmp_path / "r", name="a")
    assert before.items() <= content(tmp_path / "r").items()
    write_repository(tiny_files[1], tmp_path / "r", name="b", network="python")
    with pytest.raises(UserError, match="b_network: is a model that is the bare network of another"):
        write_repository(tiny_files[1], tmp_path / "r", name="b_network")
    write_repository(tiny_files[1], tmp_path / "r", name="b")
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"a", "a_network", "b"}


def test_a_file_that_a_server_may_not_find_is_refused(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    odd = tmp_path / "größe.onnx"
    shutil.copy(tiny_files[1], odd)
    with pytest.raises(UserError, match="its name has letters beyond ASCII"):
        write_repository(odd, tmp_path / "r", name="a")
    assert not content(tmp_path / "r")
