"""Naming an engine, or the results of one that is not run, on the command line."""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refinemask.files import UserError
from refinemask.options import require_own_files, require_page_name

SPEC = "PATH, PATH@BACKEND or PATH@BACKEND:PRECISION"
TORCHVISION = "torchvision"
"""Backend that runs weights of torchvision's Mask R-CNN in torchvision."""


@dataclass(frozen=True)
class EngineSpec:
    """A file, and how to run it: ``PATH``, ``PATH@BACKEND`` or ``PATH@BACKEND:PRECISION``."""

    path: Path
    backend: str | None = None
    precision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "EngineSpec":
        """Read ``model.onnx@openvino:int8+bf16`` and the like; :func:`engines.load` judges the parts."""
        if ResultsSpec.parse(text) is not None:
            raise UserError(
                f"{text}: is a results file, of which no speed can be measured; expected {SPEC}; benchmarks.compare "
                "and benchmarks.ap take results files beside engines"
            )
        match = re.fullmatch(r"(.+?)(?:@(\w+)(?::(\w+(?:\+\w+)?))?)?", text, re.DOTALL)
        if match is None:
            raise UserError(f"an engine is {SPEC}; found an empty text")
        path, _, options = text.rpartition("@")
        if match[2] is None and os.path.exists(path) and not os.path.exists(text):
            raise UserError(f"{text}: {options!r} is no backend; expected {SPEC}, such as {path}@openvino:bf16")
        return cls(Path(match[1]), match[2], match[3])

    def __str__(self) -> str:
        options = ":".join(part for part in (self.backend, self.precision) if part)
        return f"{self.path.name}@{options}" if options else self.path.name


@dataclass(frozen=True)
class ResultsSpec:
    """A COCO results file of a detector that is not run: ``PATH.json``, ``PATH.json@NAME``, ``PATH.json@NAME:MS``."""

    path: Path
    name: str
    """What tables call it; the file's name without ending if not given."""
    latency_ms: float | None = None
    """What is said of the network's time for an image; nothing here measures it."""

    @classmethod
    def parse(cls, text: str) -> "ResultsSpec | None":
        """Read ``theirs.json@yolo:31.5`` and the like; None if it names another kind of file.

        Raises:
            UserError: what stands behind the file is neither a name nor a name and a latency.
        """
        match = re.fullmatch(r"(.+?\.json)(?:@(.*))?", text, re.DOTALL | re.IGNORECASE)
        if match is None:
            return None
        path = Path(match[1])
        if match[2] is None:
            return cls(path, path.stem)
        name, colon, number = match[2].partition(":")
        try:
            latency = float(number) if colon else None
        except ValueError:
            latency = math.nan
        if not name.isprintable() or not name.strip() or (latency is not None and not 0 < latency < math.inf):
            raise UserError(
                f"{text}: expected a name behind the results file, and a colon and its latency in milliseconds if it "
                f"is known, such as {path}@theirs:31.5"
            )
        return cls(path, name, latency)

    def __str__(self) -> str:
        return f"{self.path.name}@{self.name}"


def parse_spec(text: str) -> EngineSpec | ResultsSpec:
    """What :class:`ResultsSpec` or else :class:`EngineSpec` reads."""
    return ResultsSpec.parse(text) or EngineSpec.parse(text)


def run_engines(engines: Iterable[str]) -> list[str]:
    """Those that are run: all but results files."""
    return [text for text in engines if ResultsSpec.parse(text) is None]


def require_new_output(
    output: Path | None, engines: Iterable[str], *inputs: Path | None, page: Path | None = None
) -> None:
    """Raise a UserError unless a report, and its page, take the place of no engine's file, image or other input."""
    require_page_name("--report", page)
    files = (parse_spec(text).path for text in engines)
    require_own_files({"--output": output, "--report": page}, *inputs, *files)


def openvino_precisions(of_file: Literal["fp32", "int8"] = "fp32") -> list[str]:
    """Precisions in which OpenVINO runs an fp32 or an int8 file here, the fastest last; what it lacks is printed."""
    from engines.openvino.core import capabilities

    try:
        found = capabilities()
    except ImportError:
        print("not run: OpenVINO is not installed (pip install 'refinemask[openvino]')")
        return []
    if of_file.upper() not in found:
        print(f"not run: OpenVINO has no {of_file} on this CPU")
        return []
    faster = {"fp32": "bf16", "int8": "int8+bf16"}[of_file]
    if "BF16" in found:
        return [of_file, faster]
    print(f"not run: OpenVINO {faster} needs a CPU with AVX512_BF16 or AMX")
    return [of_file]
