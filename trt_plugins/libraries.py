"""The kernels and the TensorRT plugin library, compiled by nvcc through CMake."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from refinemask.files import UserError, atomic_write, sha256
from refinemask.json_files import checked, read_json
from trt_plugins import LIBRARY_DIR, PACKAGE, REPORT
from trt_plugins.ptxas import KernelResources, parse_ptxas

ARCHITECTURES = ("80", "86-real", "89-real", "90-real", "100-real", "120")
"""CMake CUDA architectures; ``-real`` ones get machine code alone, the others PTX too."""


class Report(TypedDict):
    """What is read of a compile report."""

    sha256: str
    libraries: list[str]
    kernels: list[dict[str, int | str]]


def build_libraries(
    output: Path = LIBRARY_DIR,
    architectures: Sequence[str] = ARCHITECTURES,
    tensorrt_include_dir: Path | None = None,
    jobs: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Build unless sources, compiler and options are those of the libraries already there.

    Args:
        output: directory of the libraries and of compile_report.json.
        architectures: CMake CUDA architectures; those that nvcc does not know are left out, with a message.
        tensorrt_include_dir: directory of NvInferRuntime.h; None is where :func:`find_headers` finds it.
        jobs: number of parallel compilations; None is one for each of the machine's CPUs.
        force: whether to build although nothing has changed.

    Returns:
        The compile report: compiler, architectures, source hash, and registers and spills of every kernel.

    Raises:
        UserError: a tool is missing, or the compiler failed.
    """
    # Before minutes of compiling.
    _require_writable(output)
    nvcc, cmake = find_nvcc(), _find_cmake()
    known = _known_architectures(nvcc, architectures)
    version = _run([str(nvcc), "--version"]).strip().splitlines()[-1]
    headers = find_headers(tensorrt_include_dir)
    digest = _digest(str(nvcc), version, *known, str(headers), _headers_version(headers))
    report_path = output / REPORT
    if not force and report_path.is_file():
        report = read_report(report_path)
        if report["sha256"] == digest and report.get("library_sha256") == _digests(output, report["libraries"]):
            print(f"{output} is up to date")
            return report

    with tempfile.TemporaryDirectory(prefix="trt_plugins.") as directory:
        configure = [f"-DCMAKE_CUDA_COMPILER={nvcc}", f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(known)}"]
        _run([str(cmake), "-S", str(PACKAGE), "-B", directory, *configure, f"-DTENSORRT_INCLUDE_DIR={headers or ''}"])
        log = _run([str(cmake), "--build", directory, "--parallel", str(os.cpu_count() or 1 if jobs is None else jobs)])
        libraries = sorted(path.name for path in Path(directory).glob("librefinemask_*.so"))
        # A library beside the report of an older one would be refused.
        report_path.unlink(missing_ok=True)
        for stale in output.glob("librefinemask_*.so"):
            if stale.name not in libraries:
                stale.unlink()
        for name in libraries:
            with atomic_write(output / name) as temporary:
                shutil.copyfile(Path(directory) / name, temporary)
        report = {
            "nvcc": version,
            "architectures": known,
            "tensorrt_headers": _headers_version(headers),
            "sha256": digest,
            "libraries": libraries,
            "library_sha256": _digests(output, libraries),
            "kernels": [kernel._asdict() for kernel in parse_ptxas(log)],
        }
    with atomic_write(report_path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _digests(directory: Path, libraries: Sequence[str]) -> dict[str, str]:
    """SHA-256 of those libraries that are there, by name."""
    return {name: sha256(directory / name) for name in libraries if (directory / name).is_file()}


def read_report(path: Path) -> dict[str, Any]:
    """A compile report that :func:`build_libraries` wrote.

    Raises:
        UserError: the file is something else.
    """
    content = read_json(path, "the report of python -m trt_plugins.build")
    try:
        for kernel in checked(content, Report)["kernels"]:
            if set(kernel) != {*KernelResources._fields}:
                raise ValueError(f"a kernel has not the fields {', '.join(KernelResources._fields)}")
    except ValueError as error:
        raise UserError(f"{path}: not a report of python -m trt_plugins.build ({error}); build with --force") from error
    return content


def _require_writable(output: Path) -> None:
    """Raise a UserError, before anything is made, unless files can be made in ``output`` or where it will lie."""
    existing = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        found = "is read-only for this user" if existing.is_dir() else "is no directory"
        raise UserError(f"{output}: cannot be written, {existing} {found}; name another folder with --output")


def summary(report: dict[str, Any]) -> str:
    """One line per kernel: the most registers, shared memory and spilled bytes over all architectures."""
    kernels = [KernelResources(**kernel) for kernel in report["kernels"]]
    lines = [f"{'kernel':52} registers  shared  spilled"]
    for name in sorted({kernel.name for kernel in kernels}):
        same = [kernel for kernel in kernels if kernel.name == name]
        registers, shared = max(k.registers for k in same), max(k.shared_bytes for k in same)
        spilled = max(k.spill_store_bytes + k.spill_load_bytes for k in same)
        lines.append(f"{name:52} {registers:9} {shared:7} {spilled:8}")
    return "\n".join(lines)


def find_headers(directory: Path | None = None) -> Path | None:
    """The directory of NvInferRuntime.h: the given one, the environment's or the system's; None where there is none.

    Raises:
        UserError: the given directory, or the environment's, does not have it.
    """
    root, include = os.environ.get("TENSORRT_ROOT"), os.environ.get("TENSORRT_INCLUDE_DIR")
    for source, chosen in (
        ("--tensorrt-include-dir", directory),
        ("TENSORRT_INCLUDE_DIR", include and Path(include)),
        ("TENSORRT_ROOT", root and Path(root) / "include"),
    ):
        if chosen:
            if not (chosen / "NvInferRuntime.h").is_file():
                raise UserError(f"{source}: {chosen} has no NvInferRuntime.h; give the include directory of TensorRT")
            return chosen.resolve()
    system = ("/usr/include", *map(str, Path("/usr/include").glob("*-linux-gnu")))
    candidates = (*system, "/usr/local/tensorrt/include", "/opt/tensorrt/include")
    return next((Path(path) for path in candidates if (Path(path) / "NvInferRuntime.h").is_file()), None)


def _headers_version(headers: Path | None) -> str | None:
    """Version of the headers, such as ``10.16``; None without headers."""
    if headers is None:
        return None
    text = (headers / "NvInferVersion.h").read_text()
    numbers = (re.search(rf"#define \w*{part}\w* (\d+)", text) for part in ("MAJOR", "MINOR"))
    return ".".join(number[1] if number else "?" for number in numbers)


def find_nvcc() -> Path:
    """CUDA's compiler.

    Raises:
        UserError: there is none where it is looked for.
    """
    candidates = [os.environ.get("CUDACXX"), shutil.which("nvcc")]
    candidates += [f"{home}/bin/nvcc" for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise UserError(
        "nvcc not found in CUDACXX, PATH, CUDA_HOME or /usr/local/cuda; install the CUDA toolkit 12.8 or newer "
        "and build again with: python -m trt_plugins.build"
    )


def _find_cmake() -> Path:
    cmake = shutil.which("cmake")
    if cmake is None:
        raise UserError("cmake not found in PATH; install CMake 3.24 or newer, for example with: pip install cmake")
    return Path(cmake)


def _known_architectures(nvcc: Path, wanted: Sequence[str]) -> list[str]:
    known = _run([str(nvcc), "--list-gpu-code"]).split()
    chosen = [name for name in wanted if f"sm_{name.split('-')[0]}" in known]
    if missing := [name for name in wanted if name not in chosen]:
        print(f"{nvcc} does not know {', '.join(missing)}: left out", file=sys.stderr)
    if not chosen:
        raise UserError(f"{nvcc} knows none of the architectures {', '.join(wanted)}; it knows {' '.join(known)}")
    return chosen


def _digest(*settings: str | None) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    patterns = ("CMakeLists.txt", "exports.map", "kernels/*", "plugin/*")
    for path in sorted(path for pattern in patterns for path in PACKAGE.glob(pattern)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        tail = "\n".join(result.stdout.strip().splitlines()[-20:])
        raise UserError(f"{' '.join(command)} failed with exit code {result.returncode}:\n{tail}")
    return result.stdout
