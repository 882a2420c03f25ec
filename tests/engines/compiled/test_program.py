"""The traced parts of every family: together they are the exported detector, and the passes for GPUs keep them so."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from engines.compiled.conv_relu import fuse_conv_relu
from engines.compiled.flat_linear import keep_channels_last
from engines.compiled.narrow_conv import expand_narrow_convs
from engines.compiled.narrow_products import expand_narrow_products
from engines.compiled.parts import PARTS
from engines.compiled.places import place_counts
from engines.compiled.program import rearrange_for_gpus
from engines.compiled.siblings import join_siblings
from engines.compiled.top_k import join_top_k
from engines.compiled.trace import LEFTOVERS
from tests.support.detections import assert_near_detections, assert_near_masks
from tests.support.tiny_families import MASK_HEADS
from tests.support.traced_parts import TracedParts, make_batch, run, targets, traced_family

_ours = torch.ops.refinemask

Pass = Callable[[fx.GraphModule], int]

WITH_IMAGE_MAPS = ["RefineMask", "simple RefineMask", "PointRend"]
REPLACED: dict[Pass, dict[str, dict[str, int]]] = {
    fuse_conv_relu: {
        "RefineMask": {"features": 13, "boxes": 5, "image_maps": 2, "masks": 22},
        "simple RefineMask": {"features": 13, "boxes": 5, "image_maps": 2, "masks": 16},
        "Mask R-CNN": {"features": 13, "boxes": 5, "masks": 1},
        "PointRend": {"features": 13, "boxes": 5, "masks": 1},
        "HTC": {"features": 20, "boxes": 5, "masks": 5},
    },
    expand_narrow_convs: {"RefineMask": {"masks": 3}, "simple RefineMask": {"masks": 3}},
    keep_channels_last: {
        "RefineMask": {"boxes": 1},
        "simple RefineMask": {"boxes": 1},
        "Mask R-CNN": {"boxes": 1},
        "PointRend": {"boxes": 1, "masks": 1},
        "HTC": {"boxes": 3},
    },
    join_top_k: {family: {"boxes": 5} for family in MASK_HEADS},
}
"""The number of nodes that each pass replaces in each part of each family; none where nothing is said."""


AT_ONCE: list[Pass] = [
    expand_narrow_convs,
    expand_narrow_products,
    fuse_conv_relu,
    join_siblings,
    join_top_k,
]
"""Passes that leave themselves nothing to do."""


@pytest.fixture(params=list(MASK_HEADS))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def parts(family: str) -> TracedParts:
    return traced_family(family)


def assert_same_results(part: str, found: list[Tensor], expected: list[Tensor]) -> None:
    """Results and strides are the same, but for the order of float32 sums."""
    assert [x.stride() for x in found] == [x.stride() for x in expected]
    if part == "boxes":
        masks = torch.zeros(*expected[0].shape[:2], 2, 2)
        assert_near_detections((*found, masks), (*expected, masks))
        return
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert_near_masks(ours, theirs)


def test_a_family_has_the_parts_that_it_needs(family: str, parts: TracedParts) -> None:
    assert list(parts.modules) == [part for part in PARTS if part != "image_maps" or family in WITH_IMAGE_MAPS]


def test_a_part_has_the_weights_that_it_reads_alone(parts: TracedParts) -> None:
    for name, module in parts.modules.items():
        read = {node.target for node in module.graph.nodes if node.op == "get_attr"}
        assert read, name
        assert read <= {*dict(module.named_parameters()), *dict(module.named_buffers())} | set(vars(module)), name
    kept = [sum(p.numel() for p in module.parameters()) for module in parts.modules.values()]
    whole = sum(p.numel() for p in parts.exported.parameters())
    assert sum(kept) < 1.5 * whole, "weights are kept by several parts"


def test_the_parts_together_are_the_exported_detector(parts: TracedParts) -> None:
    for seed in range(2):
        batch = make_batch(seed)
        program = parts.program()
        with torch.no_grad():
            features = program.features(*batch)
            boxes, maps = program.boxes(features, batch[1]), program.image_maps(features)
            masks = program.masks(features, maps, boxes.boxes, boxes.labels)
            expected = parts.exported(*batch)
        assert expected[3].min() > 1
        assert_near_detections((*boxes, masks), expected)


def test_masks_of_fewer_places_are_the_first_of_all(parts: TracedParts) -> None:
    features, maps, boxes, labels = parts.inputs["masks"]
    (expected,) = run(parts.modules["masks"], parts.inputs["masks"])
    counts = place_counts(labels.shape[1])
    assert counts == (0, 8, 12)
    for count in (2, *counts[1:]):
        few = boxes[:, :count].contiguous(), labels[:, :count].contiguous()
        (found,) = run(parts.modules["masks"], (features, maps, *few))
        assert found.shape == (2, count, *expected.shape[2:])
        assert_near_masks(found, expected[:, :count])


def test_a_compiler_finds_nothing_to_trip_over(parts: TracedParts) -> None:
    for module in parts.modules.values():
        assert not [node for node in module.graph.nodes if node.target in LEFTOVERS]


def test_no_weight_is_computed_at_run_time(parts: TracedParts) -> None:
    for name, module in parts.modules.items():
        computed = [
            node
            for node in module.graph.nodes
            if node.op == "call_function"
            and node.all_input_nodes
            and all(source.op == "get_attr" for source in node.all_input_nodes)
        ]
        assert not computed, name


@pytest.mark.parametrize("rearrange", list(REPLACED))
def test_a_pass_replaces_what_it_should_and_keeps_results_and_strides(
    family: str, parts: TracedParts, rearrange: Pass
) -> None:
    for part in parts.modules:
        changed = parts.copy(part)
        assert rearrange(changed) == REPLACED[rearrange].get(family, {}).get(part, 0), part
        expected = run(parts.modules[part], parts.inputs[part])
        assert_same_results(part, run(changed, parts.inputs[part]), expected)


def test_the_levels_of_proposals_are_selected_from_at_once(parts: TracedParts) -> None:
    changed = parts.copy("boxes")
    assert join_top_k(changed) == 5
    kinds = targets(changed)
    assert (kinds.count(_ours.top_k_segments.default), kinds.count(_ours.top_k.default)) == (1, 2)
    found, expected = (run(module, parts.inputs["boxes"]) for module in (changed, parts.modules["boxes"]))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_all_passes_together_keep_results_and_strides(parts: TracedParts) -> None:
    for part, module in parts.modules.items():
        changed = parts.copy(part)
        rearrange_for_gpus(changed)
        assert_same_results(part, run(changed, parts.inputs[part]), run(module, parts.inputs[part]))
        left = {once_more.__name__: once_more(changed) for once_more in AT_ONCE}
        assert not any(left.values()), left
