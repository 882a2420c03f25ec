"""Building with nvcc, for every architecture; and what is said where a tool is missing."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from refinemask.files import UserError, sha256
from trt_plugins import library_path, require_as_built
from trt_plugins.build import Args, main
from trt_plugins.libraries import ARCHITECTURES, build_libraries, find_headers, read_report, summary
from trt_plugins.ptxas import parse_ptxas

KERNELS = {
    *(f"roi_align_{layout}<{t}>" for layout in ("planar", "interleaved") for t in ("float", "__half", "__nv_bfloat16")),
    *("sort_boxes", "find_overlaps", "scan<1>", "scan<2>", "scan<4>"),
    *("count_digit<0>", "count_digit<1>", "count_digit<2>", "gather", "rank<true>", "rank<false>"),
    *("boundary_merge<2>", "boundary_merge<4>"),
    *(f"label_logits<{t}>" for t in ("float", "__half", "__nv_bfloat16")),
    *("find_runs", "measure_strings", "write_strings"),
    *(f"{step}<{t}>" for step in ("gather_logits", "decode_boxes") for t in ("float", "__half", "__nv_bfloat16")),
}


@pytest.fixture(scope="session")
def report(built: Path) -> dict[str, object]:
    return json.loads((built / "compile_report.json").read_text())


def test_every_kernel_compiles_for_every_architecture(report: dict) -> None:
    assert report["architectures"] == list(ARCHITECTURES)
    compiled = {(kernel["name"], kernel["architecture"]) for kernel in report["kernels"]}
    assert compiled == {(name, f"sm_{a.split('-')[0]}") for name in KERNELS for a in ARCHITECTURES}


def test_no_kernel_spills_registers(report: dict) -> None:
    spilling = [k["name"] for k in report["kernels"] if k["spill_store_bytes"] or k["spill_load_bytes"]]
    assert not spilling
    assert max(kernel["registers"] for kernel in report["kernels"]) <= 64
    assert "roi_align_planar<__half>" in summary(report)


def test_a_second_build_does_nothing(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (built / "librefinemask_kernels.so").stat().st_mtime_ns
    assert main(Args(output=built)) == 0
    assert "up to date" in capsys.readouterr().out
    assert (built / "librefinemask_kernels.so").stat().st_mtime_ns == before


def test_ptxas_output_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    log = (
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function '_Z4scanv' for 'sm_90'\n"
        "ptxas info    : Function properties for _Z4scanv\n"
        "    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 29 registers, used 1 barriers, 784 bytes smem\n"
        "ptxas info    : Compiling entry function 'plain' for 'sm_80'\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 20 registers, 384 bytes cmem[0]\n"
    )
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert [tuple(kernel) for kernel in parse_ptxas(log)] == [
        ("_Z4scanv", "sm_90", 29, 8, 4, 12, 784),
        ("plain", "sm_80", 20, 0, 0, 0, 0),
    ]


def test_without_a_compiler_or_cmake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A compiler in /usr/local/cuda is found without PATH; CMake is not.
    monkeypatch.setenv("PATH", "")
    assert main(Args(output=tmp_path)) == 2
    assert re.fullmatch(r"error: (nvcc|cmake) not found in .*\n", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_directory_without_headers_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--tensorrt-include-dir: .* has no NvInferRuntime.h"):
        find_headers(tmp_path)
    monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path))
    monkeypatch.delenv("TENSORRT_INCLUDE_DIR", raising=False)
    with pytest.raises(UserError, match=r"TENSORRT_ROOT: .*include has no NvInferRuntime.h"):
        find_headers()


def test_a_compiler_s_error_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvcc"
    fake.write_text("#!/bin/sh\necho broken installation\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(fake))
    with pytest.raises(UserError, match=r"(?s)failed with exit code 3:\nbroken installation"):
        build_libraries(tmp_path / "lib")
    assert not (tmp_path / "lib").exists()


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_plugins.libraries.find_nvcc", lambda: pytest.fail("nothing may be looked for"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"lib: cannot be written, .*file is no directory; .*--output"):
        build_libraries(tmp_path / "file" / "lib")
    # The tests may run as root, whom permissions do not stop.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"new: cannot be written, .* is read-only for this user; .*--output"):
        build_libraries(tmp_path / "new")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"sha256": 1}', '{"sha256": "", "libraries": [], "kernels": [{}]}']
)
def test_a_damaged_report_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "compile_report.json").write_text(content)
    with pytest.raises(UserError, match=r"compile_report\.json: (not a |is empty)"):
        read_report(tmp_path / "compile_report.json")


def test_a_missing_library_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trt_plugins.LIBRARY_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"build it with: python -m trt_plugins\.build"):
        library_path()


def test_a_damaged_library_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: Sequence[str]) -> str:
        if "--build" in command:
            (Path(command[2]) / "librefinemask_kernels.so").write_bytes(b"built")
        return "sm_90"

    for name, fake in (("find_nvcc", lambda: "nvcc"), ("_find_cmake", lambda: "cmake"), ("_run", run)):
        monkeypatch.setattr(f"trt_plugins.libraries.{name}", fake)
    library = tmp_path / "librefinemask_kernels.so"
    report = build_libraries(tmp_path, ["90-real"])
    assert report["library_sha256"] == {library.name: sha256(library)}
    require_as_built(library)
    assert build_libraries(tmp_path, ["90-real"]) == report
    assert "up to date" in capsys.readouterr().out
    library.write_bytes(b"damaged")
    with pytest.raises(UserError, match="refused"):
        require_as_built(library)
    assert build_libraries(tmp_path, ["90-real"]) == report
    assert "up to date" not in capsys.readouterr().out
    assert library.read_bytes() == b"built"


def test_a_library_that_is_not_built_again_is_removed(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older plugin library must not survive a build without headers."""
    stale = tmp_path / "librefinemask_plugins.so"
    stale.write_bytes(b"old")
    monkeypatch.setattr("trt_plugins.libraries.find_headers", lambda _: None)
    report = build_libraries(tmp_path, architectures=("80-real",))
    assert report["libraries"] == ["librefinemask_kernels.so"]
    assert not stale.exists()
