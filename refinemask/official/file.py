"""Reading official checkpoints (.pth, from mmdetection 2 or 3): tensors and plain metadata, and no code."""

import os
import pickle
import re
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from refinemask.files import UserError
from refinemask.official.other_models import printable
from refinemask.readable import require_readable
from refinemask.weights import FLOATS, read_metadata

# Types that checkpoints hold beside the weights. Inert types stand in for them: none is imported, none is called.
_CONFIG_DICTS = ("addict.addict.Dict", "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict")
_OTHER_TYPES = (
    "mmcv.utils.config.Config",
    "mmengine.config.config.Config",
    "mmengine.logging.history_buffer.HistoryBuffer",
    # Methods of a HistoryBuffer are pickled as calls of getattr.
    "builtins.getattr",
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    "argparse.Namespace",
    *(
        f"{module}.{system}"
        for module in ("pathlib", "pathlib._local")
        for system in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
)


@dataclass(frozen=True, kw_only=True)
class OfficialCheckpoint:
    """What an official checkpoint holds."""

    state: dict[str, Tensor]
    """The weights by their official keys, without ``module.`` in front."""
    averaged: dict[str, Tensor]
    """The second set of weights that a training with a moving average keeps, by the same keys; empty if none is."""
    meta: dict[str, Any]
    """Metadata: configuration, class names and the like."""


class _Inert:
    """Stands in for an object of another library, and ignores what that is made of."""

    def __new__(cls, *parts: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *parts: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: str | os.PathLike[str]) -> OfficialCheckpoint:
    """Read an official checkpoint; nothing in it is executed.

    Raises:
        UserError: the file is missing or damaged, holds objects of other code, or is no checkpoint at all.
    """
    size = _require_checkpoint(path)
    content = _unpickled(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no state dict; expected a dict of tensors, or one under 'state_dict'")
    if "state_dict" not in content and isinstance(content.get("model"), Mapping):
        raise UserError(
            f"{path}: its weights are under 'model', as in checkpoints of detectron2, torchvision or Ultralytics; "
            "expected an mmdetection checkpoint, with 'state_dict'"
        )
    state = _tensors(path, content.get("state_dict", content))
    averages = {name: f"ema_{name.replace('.', '_')}" for name in state}
    second = set(averages.values())
    own = {name: tensor for name, tensor in state.items() if name not in second}
    averaged = {name: state[averages[name]] for name in own if averages[name] in state}
    if not averaged and isinstance(content.get("ema_state_dict"), Mapping):
        averaged = _tensors(path, content["ema_state_dict"])
        averaged = {name: averaged[name] for name in own if name in averaged}
    for tensors in (own, averaged):
        _require_in_full(path, tensors, size)
    meta = content.get("meta") if "state_dict" in content else None
    return OfficialCheckpoint(
        state=own,
        # A moving average of parameters leaves out batch norm's statistics.
        averaged=own | averaged if averaged else {},
        meta=meta if isinstance(meta, dict) else {},
    )


def _require_checkpoint(path: str | os.PathLike[str]) -> int:
    """The size in bytes of a file that may be a checkpoint of PyTorch."""
    require_readable(path)
    with open(path, "rb") as file:
        head = file.read(16)
    if found := _other_format(path, head):
        raise UserError(f"{path}: {found}")
    size = os.path.getsize(path)
    if head.startswith(b"PK\3\4"):
        _require_zip(path, size)
    return size


def _other_format(path: str | os.PathLike[str], head: bytes) -> str:
    """What a file is that begins with ``head``, and what to do; empty if it may be a checkpoint."""
    if os.fspath(path).endswith(".pkl"):
        return "is a pickle, as detectron2 and the first Mask R-CNN have them; expected an official .pth file"
    # A safetensors file begins with the length of its header in eight bytes, and the header is JSON.
    if head[5:9] == b"\0\0\0{":
        try:
            read_metadata(path)
        except UserError:
            return "is a safetensors file without this project's configuration; expected an official .pth file"
        return "is a checkpoint of this project already; use it as it is"
    return ""


def _require_zip(path: str | os.PathLike[str], size: int) -> None:
    """Raise a UserError for a zip file that PyTorch did not write for weights, or whose content outgrows it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # Arbitrary bytes can make the reader raise any exception.
    except Exception as error:
        raise UserError(f"{path}: truncated, or damaged ({type(error).__name__}); download it again") from error
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise UserError(f"{path}: is a TorchScript program; expected the checkpoint that it was made of")
    if "data.pkl" not in names:
        raise UserError(f"{path}: is a zip file without weights of PyTorch; unpack it, and give the .pth file in it")
    # PyTorch stores tensors as they are.
    if sum(entry.file_size for entry in entries) > size:
        raise UserError(f"{path}: its parts are larger than the file, expected a file as torch.save writes it")


def _unpickled(path: str | os.PathLike[str]) -> Any:
    stand_ins: list[Any] = [(OrderedDict, name) for name in _CONFIG_DICTS] + [(_Inert, name) for name in _OTHER_TYPES]
    try:
        # PyTorch warns of what an error says as well, and of old formats that it still reads.
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: beside weights it holds objects of other code ({printable(foreign[1])}), which are not "
                "loaded; save the weights alone where it was made: torch.save({'state_dict': model.state_dict()}, FILE)"
            ) from error
        raise UserError(
            f"{path}: is no PyTorch checkpoint, or a damaged one; expected an official .pth file, download it again"
        ) from error
    # Arbitrary bytes can make the unpickler raise any exception.
    except Exception as error:
        raise UserError(
            f"{path}: truncated, or no PyTorch checkpoint ({type(error).__name__}); expected an official .pth file, "
            "download it again"
        ) from error


def _tensors(path: str | os.PathLike[str], state: Any) -> dict[str, Tensor]:
    """A state dict of plain tensors, without ``module.`` in its keys."""
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path}: holds no state dict; expected a dict of tensors, or one under 'state_dict'")
    for key, value in state.items():
        if not isinstance(key, str):
            raise UserError(
                f"{path}: its state dict has a key that is no text ({type(key).__name__}); expected names of weights, "
                f"such as 'backbone.conv1.weight'"
            )
        if problem := _problem(key, value):
            raise UserError(
                f"{path}: holds no state dict of weights: {printable(key)} is {problem}; expected tensors of floating "
                "point numbers, under 'state_dict'"
            )
    plain = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    if len(plain) < len(state):
        twice, _ = Counter(key.removeprefix("module.") for key in state).most_common(1)[0]
        raise UserError(f"{path}: has both {printable(twice)} and module.{printable(twice)}; expected one of them")
    return plain


def _require_in_full(path: str | os.PathLike[str], state: Mapping[str, Tensor], size: int) -> None:
    """Raise a UserError if tensors would need more bytes than their file of ``size`` bytes has."""
    needed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if needed > size:
        raise UserError(
            f"{path}: its tensors overlap: they stand for {needed} bytes, but the file has {size}; expected each "
            "weight in full, as in a copy made with tensor.clone()"
        )


def _problem(key: str, value: Any) -> str:
    """Why an entry of a state dict is no weight; empty if it is one."""
    if not isinstance(value, Tensor):
        return f"no tensor but a {type(value).__name__}"
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        return "a sparse, quantised or nested tensor"
    if value.device.type != "cpu":
        return "a tensor without data"
    counts = key.endswith(("num_batches_tracked", "steps"))
    if value.dtype not in FLOATS.values() and not counts:
        return f"a tensor of {str(value.dtype).removeprefix('torch.')}"
    return "a tensor without values" if not value.numel() else ""
