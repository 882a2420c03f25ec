"""Compiled packages that nothing was compiled for."""

from pathlib import Path

import torch

from engines.compiled.sidecar import CompiledSidecar, this_target, write_compiled_sidecar
from refinemask.config_json import to_json
from refinemask.files import sha256
from tests.support.tiny_detector import TINY

LANDSCAPE, PORTRAIT = (64, 96), (96, 64)


def made_up_package(path: Path, device: str, precision: str = "fp32", *, target: str | None = None) -> CompiledSidecar:
    """Write a file that is no code, with the sidecar of a package of two images in landscape and portrait.

    ``target`` is what the code would run on; None is this machine.
    """
    path.write_bytes(b"code")
    sidecar = CompiledSidecar(
        package_sha256=sha256(path),
        checkpoint="tiny.safetensors",
        checkpoint_sha256="0" * 64,
        recipe="tiny",
        config=to_json(TINY),
        precision=precision,
        device=device,
        target=target or this_target(device),
        torch=torch.__version__,
        processor="",
        batch=2,
        sizes=(LANDSCAPE, PORTRAIT),
        agreement=None,
        command="python -m engines.build tiny.safetensors -o tiny.pt2",
    )
    write_compiled_sidecar(sidecar, path)
    return sidecar
