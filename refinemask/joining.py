"""What was found in overlapping tiles, as the objects of the whole image. Imports no PyTorch.

Two tiles see the same pixels in the band that they share. So what one of them finds there agrees with what the other
finds of the same object, wherever else the object reaches. An object that its tile sees whole is taken as that tile
sees it, and its fragments in other tiles are dropped. An object that every tile sees cut is the union of its fragments.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinemask.mask_edges import Edges, area, area_within, encode, intersection_area, placed, union
from refinemask.structures import ImageDetections
from refinemask.tiling import Tile

SAME = 0.5
"""Share of pixels from which on two masks are of the same object."""
CUT_PIXELS = 2.0
CUT_SHARE = 0.05
"""An object is cut if its box comes so near to the tile's edge, in pixels or in shares of the box's side: boxes are
seldom exact to the pixel, and to take a whole object for a cut one does no harm."""
SLIVER = 4.0
"""A fragment whose box has a side of no more pixels is left to a tile that sees it whole: its mask is mere rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """What a tile saw of an object, in pixels of the image."""

    box: NDArray[np.float32]
    score: np.float32
    label: int
    edges: Edges
    area: int
    tile: int
    """Number of the tile; what was joined of several has a negative number of its own."""
    cut: bool
    """Whether the object may reach beyond the tile."""


def join(found: Sequence[ImageDetections], tiles: Sequence[Tile], height: int, width: int) -> ImageDetections:
    """The objects of an image that was seen in tiles, each once, best first.

    The memory grows with the lengths of the objects' outlines, not with the image.

    Args:
        found: the detections of each tile, in pixels of the tile.
        tiles: where the tiles lie in the image.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """
    corners = np.array(tiles, np.int64)
    pieces = [
        piece
        for number, detections in enumerate(found)
        for piece in _pieces(detections, number, corners, height, width)
    ]
    objects = _without_duplicates(_with_fragments_joined(pieces, tiles, height))
    objects.sort(key=lambda piece: -piece.score)
    return ImageDetections(
        boxes=np.array([piece.box for piece in objects], np.float32).reshape(-1, 4),
        scores=np.array([piece.score for piece in objects], np.float32),
        labels=np.array([piece.label for piece in objects], np.int64),
        rles=[encode(piece.edges, height, width) for piece in objects],
    )


def _pieces(
    detections: ImageDetections, number: int, tiles: NDArray[np.int64], height: int, width: int
) -> Iterator[_Piece]:
    left, top = tiles[number, :2].tolist()
    boxes = detections.boxes + np.array([left, top, left, top], np.float32)
    near = _near_edges(boxes, tiles[number], height, width)
    for index, rle in enumerate(detections.rles):
        if near[index].any() and _is_sliver(boxes[index], near[index], tiles, height, width):
            continue
        edges = placed(rle, left, top, height)
        yield _Piece(
            box=boxes[index],
            score=detections.scores[index],
            label=int(detections.labels[index]),
            edges=edges,
            area=area(edges),
            tile=number,
            cut=bool(near[index].any()),
        )


def _near_edges(boxes: NDArray[np.float32], tiles: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """Whether each box [N, 4] comes near an edge of a tile [4] that is no edge of the image, or lies beyond it.

    Or a box [4] in each tile [N, 4]. The result is [N, 2], for the left or right edge and for the upper or lower.
    """
    near = np.maximum(CUT_PIXELS, CUT_SHARE * (boxes[..., 2:] - boxes[..., :2]))
    low = (boxes[..., :2] - tiles[..., :2] <= near) & (tiles[..., :2] > 0)
    high = (tiles[..., 2:] - boxes[..., 2:] <= near) & (tiles[..., 2:] < (width, height))
    return low | high


def _is_sliver(
    box: NDArray[np.float32], near: NDArray[np.bool_], tiles: NDArray[np.int64], height: int, width: int
) -> bool:
    """Whether a fragment [4] is but a line along the edge that it is near [2], and another tile sees both its sides."""
    sides = box[2:] - box[:2]
    axis = int(sides.argmin())
    if sides[axis] > SLIVER or not near[axis]:
        return False
    # A fragment's box may be cut in the other direction, too.
    along = 1 - axis
    inside = (tiles[:, along] <= box[along]) & (box[along + 2] <= tiles[:, along + 2])
    return bool((inside & ~_near_edges(box, tiles, height, width)[:, axis]).any())


def _with_fragments_joined(pieces: Sequence[_Piece], tiles: Sequence[Tile], height: int) -> list[_Piece]:
    """The pieces, of which fragments of one object have become one, and those of an object that is there whole none."""
    dropped, links = set(), []
    for (fragment, _), (_, partner, shared) in sorted(_partners(pieces, tiles, height).items()):
        if not pieces[partner].cut and shared >= SAME * pieces[fragment].area:
            dropped.add(fragment)
        else:
            links.append((fragment, partner))
    group = list(range(len(pieces)))
    for pair in links:
        if dropped.isdisjoint(pair):
            first, second = sorted(_root(group, piece) for piece in pair)
            group[second] = first
    members = defaultdict(list)
    for index, piece in enumerate(pieces):
        if index not in dropped:
            members[_root(group, index)].append(piece)
    return [own[0] if len(own) == 1 else _united(own, -1 - number) for number, own in enumerate(members.values())]


def _partners(
    pieces: Sequence[_Piece], tiles: Sequence[Tile], height: int
) -> dict[tuple[int, int], tuple[float, int, int]]:
    """For each cut piece, and each other tile that saw the same: how well both agree, the other piece, and the number
    of pixels that both have. Only the best counts: the same fragment may agree with an object and with a blob."""
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for pair in _overlapping(pieces):
        first, second = (pieces[index] for index in pair)
        if not (first.cut or second.cut):
            continue
        shared = intersection_area(first.edges, second.edges)
        band = tiles[first.tile].shared_with(tiles[second.tile])
        seen = area_within(first.edges, band, height) + area_within(second.edges, band, height)
        if not shared or shared < SAME * (seen - shared):
            continue
        for own, other in (pair, pair[::-1]):
            if pieces[own].cut:
                key, agreement = (own, pieces[other].tile), shared / (seen - shared)
                best[key] = max(best.get(key, (0.0, 0, 0)), (agreement, other, shared))
    return best


def _root(group: list[int], index: int) -> int:
    while group[index] != index:
        group[index] = index = group[group[index]]
    return index


def _united(pieces: Sequence[_Piece], tile: int) -> _Piece:
    boxes = np.array([piece.box for piece in pieces])
    edges = union([piece.edges for piece in pieces])
    return _Piece(
        box=np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]),
        score=max(piece.score for piece in pieces),
        label=pieces[0].label,
        edges=edges,
        area=area(edges),
        tile=tile,
        cut=False,
    )


def _without_duplicates(pieces: Sequence[_Piece]) -> list[_Piece]:
    """The pieces but for those that another one stands for: of two that are whole the better, and of a fragment and
    what it lies in the latter."""
    neighbours = defaultdict(list)
    for first, second in _overlapping(pieces):
        neighbours[first].append(second)
        neighbours[second].append(first)
    kept: set[int] = set()
    for index in sorted(range(len(pieces)), key=lambda index: (pieces[index].cut, -pieces[index].score)):
        own = pieces[index]
        for other in kept.intersection(neighbours[index]):
            shared = intersection_area(own.edges, pieces[other].edges)
            if shared and shared >= SAME * (own.area if own.cut else own.area + pieces[other].area - shared):
                break
        else:
            kept.add(index)
    return [pieces[index] for index in sorted(kept)]


def _overlapping(pieces: Sequence[_Piece]) -> Iterator[tuple[int, int]]:
    """Pairs of pieces of one class from different tiles whose boxes overlap."""
    boxes = np.array([piece.box for piece in pieces], np.float32).reshape(-1, 4)
    labels, tiles = (np.array([getattr(piece, name) for piece in pieces], np.int64) for name in ("label", "tile"))
    # From left to right, only those can overlap a box that begin before it ends.
    order = np.argsort(boxes[:, 0], kind="stable")
    boxes, labels, tiles = boxes[order], labels[order], tiles[order]
    ends = np.searchsorted(boxes[:, 0], boxes[:, 2])
    for index, end in enumerate(ends):
        after = slice(index + 1, end)
        near = (boxes[after, 1] < boxes[index, 3]) & (boxes[index, 1] < boxes[after, 3])
        near &= (labels[after] == labels[index]) & (tiles[after] != tiles[index])
        for other in np.flatnonzero(near):
            yield int(order[index]), int(order[index + 1 + other])
