"""Build the kernels and the TensorRT plugin library: ``python -m trt_plugins.build``.

Needs nvcc 12.8 or newer for every architecture, CMake, and, for the plugin library, TensorRT's headers.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.command import execute
from refinemask.spelling import Output
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY
from trt_plugins.libraries import ARCHITECTURES, build_libraries, summary

HEADERS_HELP = (
    "TensorRT's headers (NvInferRuntime.h) were not found, so only the kernels were built. They are in the include "
    "directory of every TensorRT SDK (tar, deb, container) and of the public repository github.com/NVIDIA/TensorRT; "
    "set TENSORRT_ROOT or TENSORRT_INCLUDE_DIR and build again"
)


@dataclass(frozen=True)
class Args:
    """Build the CUDA kernels and the TensorRT plugin library."""

    output: Output = LIBRARY_DIR
    """Directory of the libraries and of compile_report.json."""
    architectures: tuple[str, ...] = ARCHITECTURES
    """CMake CUDA architectures; those that nvcc does not know are left out, with a message."""
    tensorrt_include_dir: Path | None = None
    """Directory of NvInferRuntime.h; by default TENSORRT_INCLUDE_DIR, TENSORRT_ROOT and the system's."""
    jobs: Annotated[int | None, tyro.conf.arg(aliases=("-j",), metavar="INT")] = None
    """Number of parallel compilations; if not given, one for each of the machine's CPUs."""
    force: bool = False
    """Whether to build although nothing has changed."""


def main(args: Args | None = None) -> int:
    """Build, print the kernels' resources and say what was not built; returns the exit code."""
    return execute(Args, _build_and_tell, args)


def _build_and_tell(args: Args) -> None:
    report = build_libraries(
        args.output,
        args.architectures,
        args.tensorrt_include_dir,
        jobs=args.jobs,
        force=args.force,
    )
    print(summary(report))
    for name in report["libraries"]:
        print(args.output / name)
    if PLUGIN_LIBRARY not in report["libraries"]:
        print(HEADERS_HELP, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
