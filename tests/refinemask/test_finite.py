import pytest
import torch

from refinemask.files import UserError
from refinemask.finite import require_finite


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_that_is_not_finite_is_named(value: float, dtype: torch.dtype) -> None:
    state = {"a": torch.zeros(3), "b.weight": torch.ones(2, 3, dtype=dtype), "c": torch.zeros(2)}
    require_finite(state, "x.pth")
    state["b.weight"][1, 2] = value
    with pytest.raises(UserError, match=r"^x\.pth: 1 of the 6 values of b\.weight are NaN or infinite; expected"):
        require_finite(state, "x.pth")
    with pytest.raises(UserError, match=r"^1 of the 6 values"):
        require_finite(state)


def test_other_tensors_are_counted_and_whole_numbers_are_finite() -> None:
    wrong = torch.full((2,), float("nan"))
    with pytest.raises(UserError, match=r"2 of the 2 values of a are .*, and 2 more tensors have such values"):
        require_finite({"a": wrong, "b": wrong, "c": wrong, "steps": torch.tensor(7)}, "x.pth")
    require_finite({"steps": torch.tensor(7), "nothing": torch.zeros(0)})
