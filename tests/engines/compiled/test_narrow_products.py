"""Batched products of narrow matrices as sums."""

import pytest
import torch
from torch import Tensor, nn

from engines.compiled.narrow_products import WIDEST, expand_narrow_products
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

BMM, MUL = torch.ops.aten.bmm.default, torch.ops.aten.mul.Tensor


class Product(nn.Module):
    """The product of two batches of matrices."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.bmm(left, right)


def matrices(elements: int, dtype: torch.dtype = torch.float32, rows: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*shape, generator=generator) for shape in ((3, rows, elements), (3, elements, 7)))
    return left.to(dtype), right.to(dtype)


@pytest.mark.parametrize("elements", range(1, WIDEST + 1))
def test_few_elements_are_multiplied_one_by_one(elements: int) -> None:
    left, right = matrices(elements)
    module = export_module(Product(), left, right)
    assert expand_narrow_products(module) == 1
    assert BMM not in targets(module)
    assert targets(module).count(MUL) == elements
    assert_near(module(left, right), left @ right, "exact in float32")


@pytest.mark.parametrize("elements", [WIDEST + 1, 32, 256])
def test_a_single_row_is_multiplied_and_summed(elements: int) -> None:
    left, right = matrices(elements, rows=1)
    module = export_module(Product(), left, right)
    assert expand_narrow_products(module) == 1
    assert BMM not in targets(module)
    assert targets(module).count(MUL) == 1
    assert_near(module(left, right), left @ right, "differences in float32")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("elements", "rows"), [(4, 5), (32, 1)])
def test_half_precision_is_rounded_once(dtype: torch.dtype, elements: int, rows: int) -> None:
    left, right = matrices(elements, dtype, rows)
    module = export_module(Product(), left, right)
    assert expand_narrow_products(module) == 1
    assert module(left, right).dtype == dtype
    assert ((left.float() @ right.float()).to(dtype) == module(left, right)).float().mean() > 0.99


@pytest.mark.parametrize(
    ("elements", "dtype"),
    [(WIDEST + 1, torch.float32), (2, torch.float64), (2, torch.int64)],
    ids=["wider", "double precision", "integers"],
)
def test_others_are_left_alone(elements: int, dtype: torch.dtype) -> None:
    module = export_module(Product(), *matrices(elements, dtype))
    before = targets(module)
    assert expand_narrow_products(module) == 0
    assert targets(module) == before


@pytest.mark.parametrize(("shared", "left"), [(True, 1), (False, 0)])
def test_a_matrix_that_others_read_is_written_anyway(shared: bool, left: int) -> None:
    class Planes(nn.Module):
        """A product with planes, which may be read twice."""

        def forward(self, weights: Tensor, planes: Tensor) -> Tensor:
            both = planes + 1
            product = torch.bmm(weights, both.flatten(2))
            return product + both.sum() if shared else product

    weights, planes = torch.randn(3, 1, 2), torch.randn(3, 2, 4, 5)
    module = export_module(Planes(), weights, planes)
    assert expand_narrow_products(module) == 1 - left
    assert targets(module).count(BMM) == left


@pytest.mark.parametrize(
    ("family", "products", "left"),
    [("RefineMask", 5, 2), ("simple RefineMask", 4, 0), ("Mask R-CNN", 1, 0)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_logits_of_a_detector_become_sums(family: str, products: int, left: int) -> None:
    """RefineMask's stages have logits of their features, and of two masks, which all but the last stage read again."""
    parts = traced_family(family)
    module = parts.copy("masks")
    expected = module(*parts.inputs["masks"])
    assert expand_narrow_products(module) == products
    assert targets(module).count(BMM) == left
    assert_near(module(*parts.inputs["masks"]), expected, "batches")
