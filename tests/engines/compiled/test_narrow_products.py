"""Products of matrices along very few elements as sums."""

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


def matrices(elements: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*shape, generator=generator) for shape in ((3, 5, elements), (3, elements, 7)))
    return left.to(dtype), right.to(dtype)


@pytest.mark.parametrize("elements", range(1, WIDEST + 1))
def test_few_elements_are_multiplied_one_by_one(elements: int) -> None:
    left, right = matrices(elements)
    module = export_module(Product(), left, right)
    assert expand_narrow_products(module) == 1
    assert BMM not in targets(module)
    assert targets(module).count(MUL) == elements
    assert_near(module(left, right), left @ right, "exact in float32")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    left, right = matrices(4, dtype)
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


def test_the_masks_part_of_the_stages_logits_becomes_sums() -> None:
    parts = traced_family("RefineMask")
    module = parts.copy("masks")
    expected, products = module(*parts.inputs["masks"]), targets(module).count(BMM)
    elements = [node.args[0].meta["val"].shape[2] for node in module.graph.nodes if node.target is BMM]
    # Two masks in each stage but the first. The tiny network's last features are as few.
    assert [count for count in elements if count <= WIDEST] == [2, 2, 2, 2]
    assert expand_narrow_products(module) == 4
    assert targets(module).count(BMM) == products - 4
    assert_near(module(*parts.inputs["masks"]), expected, "batches")
