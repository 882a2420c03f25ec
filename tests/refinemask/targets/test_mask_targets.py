"""Mask and semantic targets, against the official ones and against plain rasters."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from refinemask.data.geometry import Bitmap, Polygons
from refinemask.modeling.point_targets import point_targets
from refinemask.modeling.semantic_head import semantic_classes
from refinemask.targets.mask_targets import crop_bitmap, crop_polygons, mask_targets, rasterise, semantic_target
from tests.support.tolerances import assert_near

SIZES = (14, 28, 56, 112)
Golden = Callable[[str], dict[str, np.ndarray]]


def golden_instances(data: dict[str, np.ndarray]) -> list[list[Polygons]]:
    """The golden ground truth: per image the polygons of each instance."""
    offsets = data["poly_offsets"]
    parts = [data["poly_xy"][low:high] for low, high in pairwise(offsets)]
    instances = [
        [part for part, owner in zip(parts, data["poly_gt"], strict=True) if owner == truth]
        for truth in range(len(data["gt_image"]))
    ]
    return [[m for m, image in zip(instances, data["gt_image"], strict=True) if image == index] for index in (0, 1)]


@pytest.mark.parametrize("kind", ["polygon", "bitmap"])
def test_mask_targets_equal_the_official_ones(golden: Golden, kind: str) -> None:
    data = golden("mask_loss")
    per_image = []
    for index, polygons in enumerate(golden_instances(data)):
        chosen = data["rois"][:, 0] == index
        masks = polygons if kind == "polygon" else [rasterise(m, *data["image_sizes"][index]) for m in polygons]
        boxes, owners = torch.from_numpy(data["rois"][chosen, 1:]), torch.from_numpy(data["gt_index"][chosen])
        per_image.append(mask_targets(masks, boxes, owners, SIZES))
    for stage, n in enumerate(SIZES):
        ours = torch.cat([targets[stage] for targets in per_image]).numpy().astype(np.uint8)
        official = np.unpackbits(data[f"target{stage}_{kind}_bits"])[: ours.size].reshape(ours.shape)
        assert ours.shape[1:] == (n, n)
        np.testing.assert_array_equal(ours, official)


def test_semantic_target_equals_the_official_one(golden: Golden) -> None:
    data = golden("mask_loss")
    ours = semantic_target(golden_instances(data), (160, 192), data["semantic_target"].shape[1:])
    np.testing.assert_array_equal(ours[:, 0].numpy(), data["semantic_target"])


def test_semantic_target_reads_the_centre_of_each_cell() -> None:
    bitmap = np.zeros((8, 8), np.uint8)
    bitmap[1:3, 1:3] = 1  # the centre four pixels of the first cell
    bitmap[4, 4] = 1  # a corner of the last cell
    target = semantic_target([[bitmap], []], (8, 8), (2, 2))
    assert target.shape == (2, 1, 2, 2)
    assert target.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("box", [(0.0, 0.0, 40.0, 30.0), (3.3, 2.6, 9.1, 20.2), (30.0, 20.5, 40.0, 30.0), (7, 7, 7, 7)])
@pytest.mark.parametrize("n", [14, 56])
def test_cropped_window_pools_as_the_whole_bitmap(box: tuple[float, ...], n: int) -> None:
    bitmap = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(np.uint8)
    boxes = torch.tensor([box, (5.0, 6.0, 12.0, 17.0)])
    whole = torch.from_numpy(bitmap).float()[None, None]
    pooled = roi_align(whole, [boxes], output_size=n, sampling_ratio=0, aligned=True)[:, 0]
    # Shifting a box rounds its coordinates anew, which may decide a value of exactly one half.
    clear = (pooled - 0.5).abs() > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(crop_bitmap(bitmap, boxes, n)[clear], (pooled >= 0.5).float()[clear])


def test_the_semantic_target_is_that_of_the_union_in_floats() -> None:
    """Bit for bit, of maps and polygons beside one another, also where some cells are exactly one half."""
    rng = np.random.default_rng(0)
    maps = [(rng.random((57, 90)) < share).astype(np.uint8) for share in (0.1, 0.3, 0.01)]
    square = [np.array([30.5, 2, 94, 2, 94, 60, 30.5, 60])]
    images: list[list[Polygons | Bitmap]] = [[*maps, square], [square], [maps[1][::-1, ::-1]], []]
    union = torch.zeros(4, 1, 64, 96)
    for plane, masks in zip(union[:, 0], images, strict=True):
        for mask in masks:
            bitmap = mask if isinstance(mask, np.ndarray) else rasterise(mask, 64, 96)
            covered = plane[: bitmap.shape[0], : bitmap.shape[1]]
            covered.copy_(covered.maximum(torch.from_numpy(bitmap.copy()).float()))
    cells = F.interpolate(union, size=(8, 12), mode="bilinear", align_corners=False)
    assert (cells == 0.5).any()
    target = semantic_target(images, (64, 96), (8, 12))
    assert target.dtype == torch.float32
    assert torch.equal(target, (cells >= 0.5).float())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_crops_the_bitmaps_of_its_rois() -> None:
    bitmap = np.random.default_rng(0).integers(0, 2, (300, 400)).astype(np.uint8)
    boxes = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)) * 150
    boxes[:, 2:] += boxes[:, :2] + 1
    owners = torch.arange(20) % 2
    expected = mask_targets([bitmap, bitmap.T], boxes, owners, SIZES)
    found = mask_targets([bitmap, bitmap.T], boxes.cuda(), owners.cuda(), SIZES)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.is_cuda
        changed = (ours.cpu() != theirs).float().mean()
        assert_near(changed, 0, "bitmap cells on another device")


def test_polygons_scale_a_thin_box_by_at_least_one_pixel() -> None:
    square = [np.array([10.0, 10.0, 10.5, 10.0, 10.5, 14.0, 10.0, 14.0])]
    target = crop_polygons(square, np.array([10, 10, 10.5, 14], np.float32), 28)
    assert target.shape == (28, 28)
    # Half a pixel of width fills half the columns: width counts as 1, height as 4.
    assert target[14].sum() == 14
    assert target[:, 3].all()


def test_parts_of_an_instance_unite() -> None:
    parts = [np.array([0.0, 0, 4, 0, 4, 4, 0, 4]), np.array([6.0, 6, 10, 6, 10, 10, 6, 10])]
    raster = rasterise(parts, 12, 12)
    assert raster.dtype == np.uint8
    assert raster[1, 1] == raster[8, 8] == 1
    assert raster[5, 5] == 0


def test_no_roi_gives_empty_targets() -> None:
    targets = mask_targets([], torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), SIZES)
    assert [tuple(target.shape) for target in targets] == [(0, n, n) for n in SIZES]


@pytest.mark.parametrize("far", [1e9, 1e12, 1e300])
def test_far_polygons_are_cropped_as_their_part_near_the_box(far: float) -> None:
    box = np.array([10, 20, 38, 48], np.float32)
    half = [np.array([24, -far, far, -far, far, far, 24, far])]
    near = [np.array([24.0, 0, 90, 0, 90, 90, 24, 90])]
    assert np.array_equal(crop_polygons(half, box, 28), crop_polygons(near, box, 28))
    # A box of a pixel makes a near polygon a far one.
    tiny = np.array([24, 20, 24.5, 20.5], np.float32)
    assert crop_polygons([np.array([0, 0, 1e5, 0, 1e5, 1e5, 0, 1e5])], tiny, 112).all()


@pytest.mark.parametrize("shape", [(30, 1), (1, 30), (1, 1), (30, 2)])
@pytest.mark.parametrize("rows", [1, -1])
@pytest.mark.parametrize("columns", [1, -1])
def test_flipped_maps_of_one_row_or_column_are_read(shape: tuple[int, int], rows: int, columns: int) -> None:
    flipped = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)[::rows, ::columns]
    plain = np.array(flipped.tolist(), np.uint8)
    boxes = torch.tensor([(0.0, 0.0, float(shape[1]), float(shape[0]))])
    assert torch.equal(crop_bitmap(flipped, boxes, 14), crop_bitmap(plain, boxes, 14))
    owners, points = torch.tensor([0]), torch.rand(1, 9, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(*(point_targets([bitmap], boxes, owners, points) for bitmap in (flipped, plain)))
    assert torch.equal(*(semantic_classes([bitmap], (4, 4)) for bitmap in (flipped, plain)))
