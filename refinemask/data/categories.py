"""The datasets of the paper: their categories in label order, and how their models are tested."""

import os
from dataclasses import dataclass

from refinemask.config import Preprocessing
from refinemask.files import UserError
from refinemask.json_files import Id, checked, read_json

_COCO = """1 person, 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat, 10 traffic light,
11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench, 16 bird, 17 cat, 18 dog, 19 horse, 20 sheep, 21 cow,
22 elephant, 23 bear, 24 zebra, 25 giraffe, 27 backpack, 28 umbrella, 31 handbag, 32 tie, 33 suitcase, 34 frisbee,
35 skis, 36 snowboard, 37 sports ball, 38 kite, 39 baseball bat, 40 baseball glove, 41 skateboard, 42 surfboard,
43 tennis racket, 44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl, 52 banana, 53 apple,
54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, 61 cake, 62 chair, 63 couch,
64 potted plant, 65 bed, 67 dining table, 70 toilet, 72 tv, 73 laptop, 74 mouse, 75 remote, 76 keyboard,
77 cell phone, 78 microwave, 79 oven, 80 toaster, 81 sink, 82 refrigerator, 84 book, 85 clock, 86 vase,
87 scissors, 88 teddy bear, 89 hair drier, 90 toothbrush"""
_CITYSCAPES = """24 person, 25 rider, 26 car, 27 truck, 28 bus, 31 train, 32 motorcycle, 33 bicycle"""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a model trained on the dataset needs to know of it."""

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    preprocessing: Preprocessing = Preprocessing()
    score_threshold: float = 0.05
    detections: int = 100


def _dataset(name: str, categories: str, preprocessing: Preprocessing) -> Dataset:
    pairs = [entry.strip().split(" ", 1) for entry in categories.replace("\n", " ").split(",")]
    return Dataset(
        name=name,
        class_names=tuple(category for _, category in pairs),
        category_ids=tuple(int(identifier) for identifier, _ in pairs),
        preprocessing=preprocessing,
    )


COCO = _dataset("coco", _COCO, Preprocessing())
CITYSCAPES = _dataset("cityscapes", _CITYSCAPES, Preprocessing(short_side=1024, long_side=2048))
# The names of LVIS's 1203 categories come with its annotation file; a label is the category id less one.
LVIS = Dataset(
    name="lvis",
    class_names=tuple(f"lvis {identifier}" for identifier in range(1, 1204)),
    category_ids=tuple(range(1, 1204)),
    score_threshold=0.0001,
    detections=300,
)


@dataclass(frozen=True)
class _Category:
    id: Id
    name: str


@dataclass(frozen=True)
class _Categories:
    categories: list[_Category]


def read_categories(path: str | os.PathLike[str]) -> dict[int, str]:
    """The names of the categories of COCO annotations by their ids, ids ascending.

    Raises:
        UserError: the file cannot be read, has no list of categories, or one id twice.
    """
    try:
        found = checked(read_json(path, "COCO annotations"), _Categories).categories
    except ValueError as error:
        raise UserError(f"{path}: {error}; expected COCO annotations") from error
    names = {category.id: category.name for category in sorted(found, key=lambda category: category.id)}
    if len(names) < len(found):
        raise UserError(f"{path}: has an id of several categories; expected an id of its own for each")
    if not names:
        raise UserError(f"{path}: its list 'categories' is empty")
    return names
