"""The bodies of SelectProposals and TopScores, in both CPU runtimes, against PyTorch and against plain sorting."""

import numpy as np
import onnx.inliner
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from export.bodies import function_bodies
from export.bodies.top_k import LONGEST_AXIS
from refinemask.config import RPNConfig
from refinemask.modeling.anchors import STRIDES, base_anchors, pyramid_anchors
from refinemask.modeling.box_coder import clip, decode
from refinemask.modeling.select_proposals import select_proposals
from refinemask.ops import top_scores
from tests.export.test_bodies import one_operator, run
from tests.support.tolerances import assert_near

RATIOS = (0.5, 1.0, 2.0)


def best_by_sorting(scores: Tensor, k: int) -> Tensor:
    """Indices [G, k] of the best of each row: by score, NaN first, and then by index."""
    rows = scores.double().numpy()
    orders = [np.lexsort((np.arange(len(row)), -np.nan_to_num(row, posinf=np.inf), ~np.isnan(row))) for row in rows]
    return torch.from_numpy(np.stack(orders)[:, :k])


def full_of_ties(groups: int, length: int, seed: int) -> Tensor:
    """Few different scores, both zeros, infinities and NaN; the second row is the same number but for one."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-20, 20, (groups, length), generator=generator).float()
    for value, share in ((float("nan"), 0.01), (torch.inf, 0.01), (-torch.inf, 0.3), (-0.0, 0.05), (0.0, 0.05)):
        scores[torch.rand(groups, length, generator=generator) < share] = value
    scores[1:2] = -torch.inf
    scores[1:2, length // 2] = -1.0
    return scores


@pytest.mark.parametrize(
    ("length", "k"), [(1, 1), (9, 9), (300, 40), (5000, 1000), (80_000, 3840), (300_000, 3840), (20_000, 9000)]
)
def test_top_scores_are_those_of_plain_sorting(length: int, k: int) -> None:
    scores = full_of_ties(2, length, seed=length)
    values, indices = run("TopScores", {"scores": scores}, k=k)
    assert indices.dtype == torch.int32
    assert torch.equal(indices.long(), best_by_sorting(scores, k))
    torch.testing.assert_close((values, indices), top_scores(scores, k), rtol=0, atol=0, equal_nan=True)


def joint_maps(size: tuple[int, int], dtype: torch.dtype, batch: int = 2) -> list[Tensor]:
    """Joint maps of an image of ``size`` pixels, whose logits are full of ties."""
    maps = []
    for level, stride in enumerate(STRIDES):
        height, width = (-(-side // stride) for side in size)
        logits = full_of_ties(batch, 3 * height * width, seed=level).reshape(batch, 3, height, width)
        deltas = torch.randn(batch, 12, height, width, generator=torch.Generator().manual_seed(level))
        maps.append(torch.cat([logits, 3 * deltas], dim=1).to(dtype))
    return maps


def proposals_by_sorting(maps: list[Tensor], image_sizes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What SelectProposals returns, level by level and image by image."""
    anchors = pyramid_anchors([(x.shape[2], x.shape[3]) for x in maps], RPNConfig(anchor_ratios=RATIOS), maps[0].device)
    boxes, scores = torch.zeros(len(image_sizes), 5, k, 4), torch.full((len(image_sizes), 5, k), -1.0)
    for level, joint in enumerate(maps):
        logits = joint[:, :3].float().permute(0, 2, 3, 1).flatten(1)
        deltas = joint[:, 3:].float().permute(0, 2, 3, 1).reshape(len(image_sizes), -1, 4)
        for image, index in enumerate(best_by_sorting(logits, k)):
            decoded = decode(deltas[image, index], anchors[level][index])
            boxes[image, level, : len(index)] = clip(decoded[None], image_sizes[image : image + 1])[0]
            scores[image, level, : len(index)] = logits[image, index].sigmoid()
    return boxes.flatten(0, 1), scores.flatten(0, 1)


@pytest.mark.parametrize(
    ("size", "k", "dtype"),
    [
        ((32, 32), 10, torch.float32),
        ((96, 160), 300, torch.float32),
        ((96, 160), 300, torch.float16),
        ((704, 800), 1000, torch.float32),
        ((64, 96), 3840, torch.float32),
    ],
    ids=["one cell", "padded levels", "half", "long rows", "more than anchors"],
)
def test_proposals_are_those_of_plain_sorting(size: tuple[int, int], k: int, dtype: torch.dtype) -> None:
    maps, image_sizes = joint_maps(size, dtype), torch.tensor([size, (size[0] - 9, size[1] // 2)]).float()
    base = base_anchors(RPNConfig(anchor_ratios=RATIOS), torch.device("cpu"))
    expected = proposals_by_sorting(maps, image_sizes, k)
    assert (expected[1] >= 0).any()
    inputs = {**{f"m{level}": x for level, x in enumerate(maps)}, "base_anchors": base, "image_sizes": image_sizes}
    for boxes, scores in (select_proposals(maps, base, image_sizes, k), run("SelectProposals", inputs, k=k)):
        # A box tells which anchor was chosen.
        assert_near(boxes, expected[0], "selected proposals")
        assert_near(scores, expected[1], "exact in float32")


def test_axes_stay_short_where_the_body_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for images of 1344 x 1344, whose finest level has 338,688 anchors."""
    base = base_anchors(RPNConfig(anchor_ratios=RATIOS), torch.device("cpu"))
    maps = {f"m{level}": x for level, x in enumerate(joint_maps((1344, 1344), torch.float32, batch=1))}
    image = {"base_anchors": base, "image_sizes": torch.tensor([[1344.0, 1344]])}
    for name, inputs, k in (
        ("TopScores", {"scores": torch.rand(1, 80_000)}, 3840),
        ("SelectProposals", maps | image, 1000),
    ):
        (function,) = (f for f in function_bodies(20) if f.name == name)
        sources = [node.inputs[0] for node in function if node.op_type == "TopK"]
        function.graph.outputs.extend(source for source in sources if source is not None)
        monkeypatch.setattr(f"{run.__module__}.function_bodies", lambda opset, found=function: [found])
        axes = [x.shape[1] for x in run(name, inputs, k=k)[2:]]
        assert len(axes) > 2
        assert k < max(axes) <= LONGEST_AXIS


def run_in_openvino(name: str, inputs: dict[str, Tensor], k: int) -> list[Tensor]:
    """Run one operator in OpenVINO."""
    pytest.importorskip("openvino", reason="needs OpenVINO")
    from engines.openvino.network import compile_network

    model = onnx.inliner.inline_local_functions(one_operator(name, inputs, k=k))
    for index, value in enumerate(model.graph.output):
        kind = TensorProto.INT32 if (name, index) == ("TopScores", 1) else TensorProto.FLOAT
        value.CopyFrom(
            helper.make_tensor_value_info(
                value.name, kind, [None] * (3 if (name, index) == ("SelectProposals", 0) else 2)
            )
        )
    found = compile_network(model, "one_operator.onnx", "f32", 1)({key: x.numpy() for key, x in inputs.items()})
    return [torch.from_numpy(np.array(x)) for x in found.to_tuple()]


@pytest.mark.parametrize(("length", "k"), [(300, 40), (80_000, 3840)])
def test_openvino_selects_the_same_scores(length: int, k: int) -> None:
    """Different scores in order; of equal ones it selects some, because its TopK decides ties as it likes."""
    generator = torch.Generator().manual_seed(0)
    different = torch.stack([torch.randperm(length, generator=generator) for _ in range(2)]).float()
    values, indices = run_in_openvino("TopScores", {"scores": different}, k)
    torch.testing.assert_close([values, indices], list(top_scores(different, k)), rtol=0, atol=0)
    tied = (different / 100).floor()
    values, indices = run_in_openvino("TopScores", {"scores": tied}, k)
    assert torch.equal(values, top_scores(tied, k)[0])
    assert torch.equal(values, tied.gather(1, indices.long()))
    assert all(len(row.unique()) == k for row in indices)


def test_openvino_selects_the_same_proposals() -> None:
    """Also on levels with fewer anchors than are asked for."""
    size, k = (96, 160), 300
    maps, image_sizes = joint_maps(size, torch.float32), torch.tensor([[96.0, 160], [87, 80]])
    for seed, joint in enumerate(maps):
        order = torch.randperm(joint[0, :3].numel(), generator=torch.Generator().manual_seed(seed))
        joint[:, :3] = order.reshape(joint.shape[2], joint.shape[3], 3).permute(2, 0, 1) / len(order)
    base = base_anchors(RPNConfig(anchor_ratios=RATIOS), torch.device("cpu"))
    inputs = {**{f"m{level}": x for level, x in enumerate(maps)}, "base_anchors": base, "image_sizes": image_sizes}
    boxes, scores = run_in_openvino("SelectProposals", inputs, k)
    expected = select_proposals(maps, base, image_sizes, k)
    assert_near(boxes, expected[0], "selected proposals")
    assert_near(scores, expected[1], "exact in float32")
