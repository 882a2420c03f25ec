"""What the settings of a measurement may be."""

import pytest

from benchmarks.harness.settings import Settings
from refinemask.files import UserError


@pytest.mark.parametrize("size", [(0, 0), (0, 64), (64, 65), (31, 33), (99_999_968, 99_999_968), (32, 10**20)])
def test_a_size_that_no_network_takes_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"--size is {size[0]}x{size[1]}; expected multiples of 32, such as 800x1344"):
        Settings(canvas=size)


def test_usual_sizes_are_taken() -> None:
    assert Settings(canvas=(800, 1344)).canvas == (800, 1344)
    assert Settings(canvas=(32, 32)).canvas == (32, 32)
