"""Engine files are made by jobs; what cannot be made says why."""

from pathlib import Path

import pytest

from benchmarks.gpu_suite import engine_files
from benchmarks.gpu_suite.context import NotRunError
from refinemask.files import UserError
from tests.benchmarks.gpu_suite.conftest import MakeContext


def test_nothing_is_compiled_in_a_walk_over_all_parts(make_context: MakeContext, tmp_path: Path) -> None:
    context = make_context()
    engine_files.begin_compiled(context, tmp_path / "a.safetensors", "fp32", (64, 96), batch=1)
    with pytest.raises(NotRunError, match=r"^compiling takes a minute: .* only with --part$"):
        engine_files.load_compiled(context, tmp_path / "a.safetensors", "fp32", batch=1)
    context.end_jobs()


def test_a_mistake_of_a_compilation_is_told_by_its_process(make_context: MakeContext, tmp_path: Path) -> None:
    context = make_context(parts=("network",))
    absent = tmp_path / "absent.safetensors"
    for _ in range(2):
        engine_files.begin_compiled(context, absent, "fp32", (64, 96), batch=1)
    with pytest.raises(UserError, match=r"absent\.safetensors: no such file"):
        engine_files.load_compiled(context, absent, "fp32", batch=1)
    with pytest.raises(NotRunError, match=r"absent-fp32-batch2\.pt2: not begun$"):
        engine_files.load_compiled(context, absent, "fp32", batch=2)
    context.end_jobs()


def test_without_tensorrt_and_a_cuda_provider_nothing_is_exported(
    make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_files, "has_tensorrt", lambda: False)
    monkeypatch.setattr(engine_files, "has_onnxruntime_cuda", lambda: False)
    context, checkpoint = make_context(), tmp_path / "absent.safetensors"
    engine_files.begin_onnx(context, checkpoint, "fp16", (64, 96))
    assert not context.has_begun("absent-fp16.onnx")
    with pytest.raises(NotRunError, match=r"^the package tensorrt is not installed$"):
        engine_files.load_tensorrt(context, checkpoint, "fp16")
    with pytest.raises(NotRunError, match=r"^ONNX Runtime with its CUDA provider is not installed$"):
        engine_files.load_onnxruntime(context, checkpoint, "fp16")


def test_a_compilation_waits_for_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def built_at_the_third_call() -> Path:
        asked.append(1)
        if len(asked) < 3:
            raise FileNotFoundError
        return Path("kernels.so")

    monkeypatch.setattr(engine_files, "kernels_path", built_at_the_third_call)
    monkeypatch.setattr(engine_files.time, "sleep", lambda _: None)
    engine_files.wait_for_kernels()
    assert len(asked) == 3
