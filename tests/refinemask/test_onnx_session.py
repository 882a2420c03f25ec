"""The one set of options for ONNX Runtime."""

import re

import pytest

from refinemask import onnx_session
from refinemask.onnx_session import session_options


@pytest.mark.parametrize(("threads", "number"), [(None, 0), (3, 3)])
def test_a_file_is_computed_as_it_is_written_on_the_threads_asked_for(threads: int | None, number: int) -> None:
    options = session_options(threads)
    assert options.intra_op_num_threads == number
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"


@pytest.mark.parametrize(
    ("installed", "providers", "line"),
    [
        ({"onnxruntime"}, [], r"^pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'refinemask\[gpu\]'$"),
        (
            {"onnxruntime", "onnxruntime-gpu"},
            [],
            "^onnxruntime and onnxruntime-gpu are both installed.*; pip",
        ),
        ({"onnxruntime-gpu"}, ["CUDAExecutionProvider"], "^it does not find CUDA and cuDNN"),
    ],
)
def test_a_missing_cuda_provider_has_a_remedy(
    installed: set[str], providers: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session, "_installed", lambda name: name in installed)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    assert re.search(line, onnx_session.cuda_remedy())
