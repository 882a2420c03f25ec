"""What is said where a file has another precision than the one that was asked for."""

import pytest

from engines.file_precision import require_file_precision
from refinemask.files import UserError


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        ("fp16", "for fp16 export with --precision fp16 (python -m export.to_onnx)"),
        ("fp8", "for fp8 quantise the fp32 or fp16 export (python -m export.quantize --precision fp8)"),
        ("int8+bf16", "int8+bf16 is what OpenVINO makes of an int8 file: --backend openvino"),
        ("fp64", "fp64 is no precision of a file; expected fp32, fp16, bf16, int8, fp8, or none for the file's own"),
    ],
)
def test_the_remedy_can_be_had(wanted: str, remedy: str) -> None:
    with pytest.raises(UserError) as error:
        require_file_precision("a.onnx", "fp32", wanted, "it stays so")
    assert str(error.value) == f"a.onnx: its precision is fp32, and it stays so; {remedy}"


@pytest.mark.parametrize("wanted", [None, "fp32", "tf32"])
def test_its_own_precision_will_do(wanted: str | None) -> None:
    require_file_precision("a.onnx", "fp32", wanted, "it stays so")
