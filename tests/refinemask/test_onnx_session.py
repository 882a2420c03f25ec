"""The one set of options for ONNX Runtime."""

import re

import ml_dtypes
import numpy as np
import onnx.parser
import onnxruntime
import pytest

from refinemask import onnx_session
from refinemask.onnx_session import session_options


@pytest.mark.parametrize(("threads", "number"), [(None, 0), (3, 3)])
def test_a_file_is_computed_as_it_is_written_on_the_threads_asked_for(threads: int | None, number: int) -> None:
    options = session_options(threads)
    assert options.intra_op_num_threads == number
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert not options.enable_mem_pattern
    assert session_options(device="cuda").enable_mem_pattern


RELU_IN_FP8 = """
<ir_version: 9, opset_import: ["" : 20]>
relu (float[64] x) => (float[64] y) <float scale = {0.5}, float8e4m3fn zero = {0}>
{
    positive = Relu (x)
    codes = QuantizeLinear (positive, scale, zero)
    y = DequantizeLinear (codes, scale, zero)
}
"""


def test_a_relu_before_fp8_is_computed() -> None:
    model, x = onnx.parser.parse_model(RELU_IN_FP8), np.linspace(-300, 300, 64, dtype=np.float32)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
    )
    rounded = np.clip(np.maximum(x, 0) / 0.5, 0, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], rounded * 0.5)


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
