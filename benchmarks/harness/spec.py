"""Naming an engine on the command line."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refinemask.files import UserError
from refinemask.options import require_own_files, require_page_name


@dataclass(frozen=True)
class EngineSpec:
    """A file, and how to run it: ``PATH``, ``PATH@BACKEND`` or ``PATH@BACKEND:PRECISION``."""

    path: Path
    backend: str | None = None
    precision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "EngineSpec":
        """Read ``model.onnx@openvino:bf16`` and the like; :func:`engines.load` judges the parts."""
        match = re.fullmatch(r"(.+?)(?:@(\w+)(?::(\w+))?)?", text, re.DOTALL)
        expected = "PATH, PATH@BACKEND or PATH@BACKEND:PRECISION"
        if match is None:
            raise UserError(f"an engine is {expected}; found an empty text")
        path, _, options = text.rpartition("@")
        if match[2] is None and os.path.exists(path) and not os.path.exists(text):
            raise UserError(f"{text}: {options!r} is no backend; expected {expected}, such as {path}@openvino:bf16")
        return cls(Path(match[1]), match[2], match[3])

    def __str__(self) -> str:
        options = ":".join(part for part in (self.backend, self.precision) if part)
        return f"{self.path.name}@{options}" if options else self.path.name


def require_new_output(
    output: Path | None, engines: Iterable[str], *inputs: Path | None, page: Path | None = None
) -> None:
    """Raise a UserError unless a report, and its page, take the place of no engine's file, image or other input."""
    require_page_name("--report", page)
    files = (EngineSpec.parse(text).path for text in engines)
    require_own_files({"--output": output, "--report": page}, *inputs, *files)


def openvino_precisions() -> list[str]:
    """Precisions that OpenVINO has here: fp32, and bf16 where the CPU has it. What cannot be run is printed."""
    from engines.openvino_engine import openvino_core

    try:
        core = openvino_core()
    except ImportError:
        print("not run: OpenVINO is not installed (pip install 'refinemask[openvino]')")
        return []
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return ["fp32", "bf16"]
    print("not run: OpenVINO bf16 needs a CPU with AVX512_BF16 or AMX")
    return ["fp32"]
