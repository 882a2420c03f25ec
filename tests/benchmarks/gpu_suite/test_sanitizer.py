"""The program of awkward problems on the CPU, and how its runs on a GPU are told."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu_suite import sanitizer
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.plan import Plan
from benchmarks.gpu_suite.sanitizer import SanitizerReport, SanitizerRun, compile_program, run_program, run_sanitizer
from refinemask.files import FailedCheckError, UserError
from tests.support.host_kernels import FLAGS, HERE, build_cache, host_library
from trt_plugins import PACKAGE

__all__ = ["build_cache", "host_library"]

SHIM = HERE / "cuda_on_host"


def compile_for_the_cpu(source: Path, program: Path, *others: Path) -> Path:
    """A program over the kernels' host library, whose buffers end where memory does."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    flags = [flag for flag in FLAGS if flag not in ("-fPIC", "-shared")]
    includes = [f"-I{SHIM}", f"-I{PACKAGE / 'kernels'}"]
    command = [compiler, *flags, *includes, "-x", "c++", source, "-x", "none", *others, "-o", program]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr, result.stderr
    return program


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["capture"]], ids=["plain", "capture"])
def test_awkward_problems_on_the_cpu(host_library: Path, tmp_path: Path, words: list[str]) -> None:
    program = compile_for_the_cpu(
        sanitizer.PROGRAM, tmp_path / "awkward", host_library, Path(f"-Wl,-rpath,{host_library.parent}")
    )
    result = subprocess.run([program, *words], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "ok\n")


def test_a_byte_beyond_a_buffer_cannot_be_written(tmp_path: Path) -> None:
    source = tmp_path / "beyond.cpp"
    source.write_text(
        "#include <cuda_runtime.h>\n"
        "int main(int count, char**) {\n"
        "    void* buffer = nullptr;\n"
        "    cudaMalloc(&buffer, 32);\n"
        "    static_cast<volatile char*>(buffer)[count > 1 ? 32 : 31] = 1;\n"
        "    return cudaFree(buffer);\n"
        "}\n"
    )
    program = compile_for_the_cpu(source, tmp_path / "beyond", SHIM / "scheduler.cpp", Path("-xc++"))
    assert subprocess.run([program]).returncode == 0
    assert subprocess.run([program, "beyond"]).returncode < 0


@pytest.mark.slow
def test_nvcc_compiles_the_program(tmp_path: Path) -> None:
    try:
        program = compile_program(tmp_path, "sm_90")
    except UserError as error:
        if str(error).startswith("nvcc not found"):
            pytest.skip(str(error))
        raise
    report = run_program(program)
    assert [run.name for run in report.runs] == ["plain", "capture", "memcheck", "racecheck"]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only directory of programs, which has none; neither is nvcc found elsewhere."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("CUDACXX", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{directory}")

    def missing() -> Path:
        raise UserError("nvcc not found")

    monkeypatch.setattr(sanitizer, "find_nvcc", missing)
    return directory


def outcomes(report: SanitizerReport) -> dict[str, bool | None]:
    return {run.name: run.passed for run in report.runs}


def test_runs_say_what_they_ended_with(no_tools: Path, tmp_path: Path) -> None:
    script(no_tools / "compute-sanitizer", '[ "$2" = memcheck ] || { echo "Race reported"; exit $4; }; shift 4; "$@"')
    program = script(tmp_path / "program", 'echo "$CUDA_MODULE_LOADING"; [ "$1" != capture ] || exit 1; echo ok')
    report = run_program(program)
    assert outcomes(report) == {"plain": True, "capture": False, "memcheck": True, "racecheck": False}
    assert [run.output for run in report.runs] == [
        ("LAZY", "ok"),
        ("LAZY", "exit code 1"),
        ("LAZY", "ok"),
        ("Race reported", "exit code 3"),
    ]
    assert report.headline == "plain passed, capture FAILED, memcheck passed, racecheck FAILED"


def test_without_compute_sanitizer_the_rest_is_run(no_tools: Path, tmp_path: Path) -> None:
    report = run_program(script(tmp_path / "program", "echo ok"))
    assert outcomes(report) == {"plain": True, "capture": True, "memcheck": None, "racecheck": None}
    assert report.runs[2].output == ("compute-sanitizer is neither in PATH nor beside nvcc",)
    assert not report.failed


def test_a_run_that_hangs_is_ended_with_its_children(no_tools: Path, tmp_path: Path) -> None:
    """compute-sanitizer's child holds the pipe, so that waiting for the pipe alone would not end."""
    sleep = shutil.which("sleep", path="/bin:/usr/bin")
    program = script(tmp_path / "program", f"echo begun; {sleep} 600; echo done")
    run = run_program(program, seconds=0.5).runs[0]
    assert (run.passed, run.output) == (False, ("begun", "not done after 0.5 s"))
    assert run.seconds < 60


def test_a_compiler_that_fails_says_why(no_tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc = script(tmp_path / "nvcc", 'echo "$@"; echo "main.cu: no good" >&2; exit 2')
    monkeypatch.setattr(sanitizer, "find_nvcc", lambda: nvcc)
    with pytest.raises(UserError, match=r"main.cu: nvcc failed for sm_90: main.cu: no good"):
        compile_program(tmp_path, "sm_90")


def test_the_part_fails_with_its_report_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(Plan(output=tmp_path), tmp_path)
    run = SanitizerRun(name="memcheck", passed=False, seconds=1, output=("Invalid read", "1 error"))
    monkeypatch.setattr(Context, "answer", lambda self, job: tmp_path / job)
    monkeypatch.setattr(sanitizer, "run_program", lambda _: SanitizerReport(runs=(run,)))
    with pytest.raises(FailedCheckError, match="memcheck FAILED; memcheck ended with: Invalid read / 1 error"):
        run_sanitizer(context)
    assert context.report(SanitizerReport) == SanitizerReport(runs=(run,))


def test_the_part_needs_a_gpu(tmp_path: Path) -> None:
    context = Context(Plan(output=tmp_path, device="cpu"), tmp_path)
    sanitizer.prepare_sanitizer(context)
    with pytest.raises(NotRunError, match="needs a CUDA device"):
        run_sanitizer(context)
