"""Batches and sizes of an exported file, asked for or chosen from the model's preprocessing."""

from typing import Any

import pytest

from export import Bounds, choose_bounds
from refinemask.config import Preprocessing
from refinemask.files import UserError

PREPROCESSING = Preprocessing(short_side=64, long_side=128)


def test_every_resized_image_fits_unless_told_otherwise() -> None:
    assert choose_bounds(PREPROCESSING) == Bounds(batch=(1, 1, 8), height=(32, 64, 128), width=(32, 128, 128))


def test_one_size_and_one_batch_make_a_static_file() -> None:
    chosen = choose_bounds(PREPROCESSING, static=(64, 96), batch=[2])
    assert chosen == Bounds(batch=(2, 2, 2), height=(64, 64, 64), width=(96, 96, 96))


def test_sizes_that_are_not_given_are_the_models() -> None:
    chosen = choose_bounds(PREPROCESSING, smallest=(64, 64), largest=(160, 192), batch=(1, 2, 4))
    assert chosen == Bounds(batch=(1, 2, 4), height=(64, 64, 160), width=(64, 128, 192))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static": (64, 64), "largest": (96, 96)}, "--static 64x64 fixes the size: leave out --min, --opt and --max"),
        ({"static": (60, 64)}, "multiples of 32"),
        ({"typical": (256, 256)}, "smallest <= typical <= largest"),
        ({"batch": (1, 4)}, r"--batch \(1, 4\): expected one number, or smallest, typical and largest"),
        ({"batch": (0,)}, "1 <= smallest"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_bounds(PREPROCESSING, **options)
