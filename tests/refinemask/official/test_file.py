import argparse
import collections
import os
import pickle
import stat
import sys
import types
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from refinemask.convert import Args, main
from refinemask.files import UserError
from refinemask.official.file import read_checkpoint
from refinemask.weights import save_detector
from tests.support.mutations import refusal
from tests.support.official_files import save, small_mask_rcnn
from tests.support.tiny_detector import make_tiny_detector


class Modules:
    """Types of packages that are not installed, for as long as a checkpoint with them is written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def type(self, path: str, base: type = object, **members: Any) -> Any:
        """A class of this path, importable by it."""
        module, _, name = path.rpartition(".")
        kind = type(name, (base,), {"__module__": module, **members})
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            package = ".".join(parts[:end])
            self.patch.setitem(sys.modules, package, sys.modules.get(package, types.ModuleType(package)))
        setattr(sys.modules[module], name, kind)
        return kind


@pytest.mark.parametrize("legacy", [True, False])
def test_configuration_objects_are_tolerated_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    """The 2021 checkpoints are in PyTorch's legacy format and may hold mmcv's configuration types."""
    path = tmp_path / "official.pth"
    with monkeypatch.context() as patch:
        make = Modules(patch).type
        config = make("mmcv.utils.config.ConfigDict", dict)
        whole = make("mmcv.utils.config.Config", __getstate__=lambda self: (1, 2, 3))
        meta = {"config": config(model="x"), "whole": whole(), "CLASSES": ("a", "b"), "epoch": 12}
        official = collections.OrderedDict({"module.backbone.conv1.weight": torch.ones(2)})
        torch.save({"meta": meta, "state_dict": official}, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.state) == ["backbone.conv1.weight"]
    assert checkpoint.meta["CLASSES"] == ("a", "b")
    assert "mmcv" not in sys.modules


def test_training_checkpoints_of_mmengine_are_read_and_nothing_of_them_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch_12.pth"
    with monkeypatch.context() as patch:
        # Its methods are pickled as calls of getattr.
        history = Modules(patch).type("mmengine.logging.history_buffer.HistoryBuffer", mean=lambda self: 1)()
        type(history).mean.__qualname__ = "HistoryBuffer.mean"
        type(history).mean.__module__ = "mmengine.logging.history_buffer"
        history._log_history = np.array([1.0, 0.5])
        history._statistics_methods = {"mean": type(history).mean}
        hub = {"log_scalars": {"train/loss": history}, "runtime_info": {"lr": np.float64(0.1)}, "resumed_keys": {}}
        meta = {"epoch": 12, "dataset_meta": {"classes": ("a",)}, "paths": [Path("x")], "args": argparse.Namespace(x=1)}
        save(path, small_mask_rcnn(), message_hub=hub, meta=meta, optimizer={"state": {0: {"step": np.int64(3)}}})
    checkpoint = read_checkpoint(path)
    assert checkpoint.meta["dataset_meta"] == {"classes": ("a",)}
    assert "mmengine" not in sys.modules


class Attack:
    """Its pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def gadgets(marker: Path) -> Iterator[Any]:
    yield Attack(os.mkdir, str(marker))
    yield Attack(os.system, f"touch {marker}")
    yield Attack(eval, f"open({str(marker)!r}, 'w')")
    yield Attack(exec, f"open({str(marker)!r}, 'w')")
    yield Attack(open, str(marker), "w")
    yield Attack(torch.load, str(marker))
    yield {"config": Attack(os.mkdir, str(marker))}


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("place", ["meta", "message_hub", "state_dict"])
@pytest.mark.parametrize("legacy", [True, False])
def test_no_code_is_run(tmp_path: Path, number: int, place: str, legacy: bool) -> None:
    marker, path = tmp_path / "owned", tmp_path / "x.pth"
    content = {"state_dict": {"a": torch.zeros(1)}, place: list(gadgets(marker))[number]}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    message = refusal(lambda: read_checkpoint(path))
    assert message is not None
    assert "objects of other code" in message or "no PyTorch checkpoint" in message
    assert not marker.exists()


def test_a_function_that_a_stand_in_gives_cannot_be_called(tmp_path: Path) -> None:
    """The pickle of ``getattr(anything, 'mkdir')('owned')``, by hand."""
    marker = tmp_path / "owned"
    pickled = b"\x80\x02c__builtin__\ngetattr\nX\x01\x00\x00\x00aX\x05\x00\x00\x00mkdir\x86R"
    pickled += b"X" + len(str(marker)).to_bytes(4, "little") + str(marker).encode() + b"\x85R."
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else data)
    message = refusal(lambda: read_checkpoint(path))
    assert message is not None
    assert "no PyTorch checkpoint" in message
    assert not marker.exists()


def broken_files(folder: Path) -> Iterator[tuple[Path, str]]:
    def write(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    state = {"a": torch.zeros(1000)}
    whole = folder / "whole.pth"
    torch.save({"state_dict": state}, whole)
    yield whole, "expected an mmdetection checkpoint"
    yield write("truncated.pth", whole.read_bytes()[:1000]), "truncated"
    legacy = folder / "legacy.pth"
    torch.save({"state_dict": state}, legacy, _use_new_zipfile_serialization=False)
    yield write("legacy.pth", legacy.read_bytes()[:2000]), "truncated"
    yield write("text.pth", b"hello"), "expected"
    yield write("random.pth", bytes(range(72, 140)) * 20), "expected"
    yield write("empty.pth", b""), "is empty"
    yield write("page.pth", b"\n<!DOCTYPE html><html>"), "is a web page"
    yield write("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), "git lfs pull"
    yield write("model.pkl", pickle.dumps({"model": {}}, protocol=2)), "is a pickle"
    yield write("pickle.pth", pickle.dumps(Attack(os.mkdir, str(folder / "owned")))), "expected"
    other = folder / "other.pth"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "a")
    yield other, "is a zip file without weights"
    script = folder / "script.pth"
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("m/data.pkl", b"")
        archive.writestr("m/constants.pkl", b"")
    yield script, "TorchScript"
    bomb = folder / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\0" * 10_000_000)
    yield bomb, "larger than the file"
    for name, content, reason in contents():
        torch.save(content, folder / name)
        yield folder / name, reason
    yield folder / "absent.pth", "no such file"
    yield folder, "is a directory"
    os.mkfifo(folder / "pipe.pth")
    yield folder / "pipe.pth", "is no regular file"
    yield Path("/dev/zero"), "is no regular file"


def contents() -> Iterator[tuple[str, Any, str]]:
    one = torch.ones(1)
    yield "list.pth", [1, 2], "no state dict"
    yield "none.pth", {"state_dict": {}}, "no state dict"
    yield "nested.pth", {"state_dict": {"a": {"b": one}}}, "a is no tensor but a dict"
    yield "model.pth", {"model": {"a": one}}, "under 'model'"
    yield "number.pth", {"state_dict": {5: one, "a": one}}, "a key that is no text (int)"
    yield "tuple.pth", {"state_dict": {("a",): one}}, "a key that is no text (tuple)"
    yield "twice.pth", {"state_dict": {"a": one, "module.a": one}}, "has both a and module.a"
    yield "expanded.pth", {"state_dict": {"a": one.expand(10**9)}}, "tensors overlap"
    yield "shared.pth", {"state_dict": dict.fromkeys(map(str, range(100)), torch.ones(1000))}, "tensors overlap"
    yield "int.pth", {"state_dict": {"a": torch.ones(2).int()}}, "a tensor of int32"
    yield "complex.pth", {"state_dict": {"a": torch.ones(2) * 1j}}, "a tensor of complex64"
    yield "bool.pth", {"state_dict": {"a": torch.ones(2).bool()}}, "a tensor of bool"
    yield "sparse.pth", {"state_dict": {"a": torch.eye(2).to_sparse()}}, "sparse"
    yield "meta.pth", {"state_dict": {"a": torch.ones(2, device="meta")}}, "without data"
    yield "nothing.pth", {"state_dict": {"a": torch.ones(10**6, 0)}}, "without values"
    yield "module.pth", torch.nn.Linear(1, 1), "objects of other code (torch.nn.modules.linear.Linear)"
    yield "module2.pth", {"state_dict": {"a": one}, "net": torch.nn.ReLU()}, "torch.save({'state_dict': "


def test_bad_files_give_one_line_exit_code_2_and_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, tried = tmp_path / "out.safetensors", 0
    for path, reason in broken_files(tmp_path):
        with warnings.catch_warnings(record=True) as warned:
            assert main(Args(path, output)) == 2, path
        assert not warned, path
        message = capsys.readouterr().err
        assert message.count("\n") == 1, message
        assert path.name in message
        assert reason in message, message
        assert len(message) < 400, message
        assert not output.exists()
        tried += 1
    assert tried > 30
    assert not (tmp_path / "owned").exists()


def test_safetensors_are_told_apart(tmp_path: Path) -> None:
    save_detector(make_tiny_detector(), tmp_path / "ours.safetensors", recipe="tiny")
    with pytest.raises(UserError, match="is a checkpoint of this project already"):
        read_checkpoint(tmp_path / "ours.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="safetensors file without this project's configuration"):
        read_checkpoint(tmp_path / "other.safetensors")


def test_an_unreadable_file_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.pth", small_mask_rcnn())

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match=r"x\.pth: cannot be read: Permission denied"):
        read_checkpoint(path)
    monkeypatch.undo()
    assert stat.S_ISREG(path.stat().st_mode)


def test_averages_need_not_have_every_weight(tmp_path: Path) -> None:
    state = {"a.b": torch.zeros(1), "a.c": torch.ones(1), "ema_a_b": torch.full((1,), 5.0)}
    checkpoint = read_checkpoint(save(tmp_path / "x.pth", state))
    assert list(checkpoint.state) == ["a.b", "a.c"]
    assert {key: float(tensor) for key, tensor in checkpoint.averaged.items()} == {"a.b": 5.0, "a.c": 1.0}
    assert not read_checkpoint(save(tmp_path / "x.pth", {"ema.a": torch.ones(1)})).averaged
