"""Whether this machine runs what PyTorch compiles ahead of time, and where it dies if not.

A small network is compiled in several ways. Each library is opened, loaded and run, in a process of its own each time,
for a crash ends one.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu_suite.context import Context
from engines.compiled.noexecstack import forbid_executable_stack
from refinemask.files import FailedCheckError

VARIANTS: Mapping[str, tuple[dict[str, Any], bool]] = {
    "as PyTorch compiles it": ({}, False),
    "without an executable stack": ({}, True),
    "weights as C++": ({"aot_inductor.use_consts_asm_build": False}, True),
}
"""Options of PyTorch's compiler, and whether the wish for an executable stack is taken back, by name."""
SHIPPED = "without an executable stack"
"""How engines are compiled."""
STEPS = ("open", "load", "run")
SECONDS, LINES = 120, 4
"""Longest time of a process, and the last lines of its errors that are kept."""


@dataclass(frozen=True, kw_only=True)
class PackageStep:
    """One process."""

    variant: str
    step: str
    """``compile``, ``open`` (the library alone), ``load`` (by PyTorch) or ``run``."""
    exit_code: int
    """0 if all went well; a signal's number, negated, if one ended it."""
    output: tuple[str, ...]
    """Last lines of its errors."""


@dataclass(frozen=True, kw_only=True)
class PackagesReport:
    """All processes, and what the libraries were made by."""

    compiler: str
    """First line of what the C++ compiler says of its version."""
    libc: str
    """Name and version of the C library."""
    steps: tuple[PackageStep, ...]

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        ends = (f"{s.variant}: {s.step} {_end(s.exit_code)}" for s in self.steps if s.exit_code)
        return f"{sum(s.exit_code == 0 for s in self.steps)} of {len(self.steps)} went well; {'; '.join(ends) or 'all'}"


def run_packages(context: Context) -> PackagesReport:
    """Compile in every way at the same time, then try every library.

    Raises:
        FailedCheckError: what engines are compiled like does not run here; the report is kept.
    """
    with ThreadPoolExecutor(len(VARIANTS)) as pool:
        targets = {name: context.scratch / f"variant{index}.pt2" for index, name in enumerate(VARIANTS)}
        compiled = list(pool.map(lambda name: _process(name, "compile", targets[name], context.device), VARIANTS))
        whole = [step.variant for step in compiled if step.exit_code == 0]
        pairs = list(product(whole, STEPS))
        tried = pool.map(lambda pair: _process(pair[0], pair[1], targets[pair[0]], context.device), pairs)
        report = PackagesReport(compiler=_compiler(), libc=" ".join(platform.libc_ver()), steps=(*compiled, *tried))
    if failed := [step for step in report.steps if step.variant == SHIPPED and step.exit_code]:
        context.keep(report)
        raise FailedCheckError(f"{report.headline}; {' / '.join(failed[0].output[-2:])}")
    return report


def _process(variant: str, step: str, target: Path, device: str) -> PackageStep:
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", __name__, variant, step, str(target), device]
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SECONDS)
        code, errors = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, errors = -signal.SIGKILL, f"took longer than {SECONDS} s"
    lines = [line for line in errors.strip().splitlines() if not line.startswith("Extension modules")]
    return PackageStep(variant=variant, step=step, exit_code=code, output=tuple(lines[-LINES:]))


def _end(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"ended with {signal.Signals(-code).name}"


def _compiler() -> str:
    command = [os.environ.get("CXX", "g++"), "--version"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0]
    except OSError as error:
        return str(error)


def main(variant: str, step: str, target: Path, device: str) -> None:
    """One process."""
    import torch

    if device == "cuda":
        torch.zeros(1, device=device)
    images = torch.zeros(2, 8, 8, 8, device=device)
    if step == "compile":
        _compile(target, images, *VARIANTS[variant])
    elif step == "open":
        ctypes.CDLL(str(target.with_suffix(".so")), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    else:
        loader = torch._C._aoti.AOTIModelPackageLoader(str(target), "model", True, 1, -1)
        if step == "run":
            loader.boxed_run([images])[0].cpu()


def _compile(target: Path, images: Any, options: dict[str, Any], strip: bool) -> None:
    import torch
    from torch._inductor.package import package_aoti

    layers = torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 64)
    network = torch.nn.Sequential(*layers).requires_grad_(False).to(images.device)
    graph = torch.export.export(network, (images,)).module(check_guards=False)
    found = torch._inductor.aot_compile(graph, (images,), options={"aot_inductor.package": True, **options})
    files = [str(file) for file in found]  # type: ignore[union-attr]
    (library,) = (Path(file) for file in files if file.endswith(".so"))
    if strip:
        forbid_executable_stack(library)
    target.with_suffix(".so").write_bytes(library.read_bytes())
    package_aoti(target, {"model": [*files]})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
