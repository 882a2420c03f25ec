import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.config import ModelConfig
from refinemask.data.categories import CITYSCAPES
from refinemask.files import UserError
from refinemask.official.classes import class_names, dataset_of, remarks_on_classes, with_categories


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"CLASSES": ("date", "fig")}, ("date", "fig")),
        ({"dataset_meta": {"classes": ["date", "fig"]}}, ("date", "fig")),
        ({"dataset_meta": {"CLASSES": ["date"]}, "CLASSES": ("other",)}, ("date",)),
        ({"CLASSES": "street"}, ("street",)),
        ({"CLASSES": (1, 2)}, ("1", "2")),
        ({"CLASSES": None}, None),
        ({"CLASSES": ()}, None),
        ({"CLASSES": [object()]}, None),
        ({"CLASSES": 5, 7: "x"}, None),
        ({"dataset_meta": "x"}, None),
    ],
)
def test_names_are_found_in_the_metadata_of_both_versions(meta: dict[Any, Any], names: tuple[str, ...] | None) -> None:
    assert class_names(meta) == names


def config_of(*names: str) -> ModelConfig:
    return ModelConfig(class_names=names, category_ids=tuple(range(1, len(names) + 1)))


def test_a_data_set_is_taken_for_one_of_the_papers_by_its_names_or_is_said_to_be() -> None:
    assert dataset_of(8, None) == CITYSCAPES
    assert dataset_of(8, [f"tree {number}" for number in range(8)]).name == "custom"
    assert dataset_of(2, ["a", "b", "c"]).class_names == ("class 0", "class 1")
    cityscapes = ModelConfig(class_names=CITYSCAPES.class_names, category_ids=CITYSCAPES.category_ids)
    assert remarks_on_classes(None, cityscapes) == [
        "it has no class names; assumed are person, rider, car and 5 more: --categories ANNOTATIONS.json gives others"
    ]
    assert remarks_on_classes(CITYSCAPES.class_names, cityscapes) == []
    assert "3 class names for 2 classes" in remarks_on_classes(("a", "b", "c"), config_of("class 0", "class 1"))[0]
    assert "category ids 1 to 2" in remarks_on_classes(("a", "b"), config_of("a", "b"))[0]


def write(path: Path, *categories: tuple[int, str]) -> Path:
    path.write_text(json.dumps({"categories": [{"id": number, "name": name} for number, name in categories]}))
    return path


def test_ids_come_from_annotations_by_name_or_by_order(tmp_path: Path) -> None:
    annotations = write(tmp_path / "a.json", (9, "fig"), (0, "date"))
    assert with_categories(config_of("a", "b"), annotations, ("date", "fig")).category_ids == (0, 9)
    assert with_categories(config_of("a", "b"), annotations, ("fig", "date")).category_ids == (9, 0)
    unnamed = with_categories(config_of("class 0", "class 1"), annotations, None)
    assert (unnamed.class_names, unnamed.category_ids) == (("date", "fig"), (0, 9))
    assert with_categories(config_of("a", "b"), annotations, ("of", "another", "number")) == unnamed


@pytest.mark.parametrize(
    ("names", "named", "categories", "reason"),
    [
        (
            ("date", "fig"),
            True,
            [(1, "date"), (2, "figs")],
            r"these classes of the model: fig; and these besides: figs",
        ),
        (("date",), True, [(1, "date"), (2, "fig")], r"of the model: none; and these besides: fig"),
        (("date", "fig"), True, [(1, "date")], r"of the model: fig; and these besides: none"),
        (("date", "fig"), True, [(1, "date"), (2, "date"), (3, "fig")], "'date' is that of several"),
        (("date", "date"), True, [(1, "date")], "'date' is that of several"),
        (("class 0",), False, [(1, "date"), (2, "fig")], "1 classes without names, but .* has 2 categories"),
        (tuple(map(str, range(500))), True, [(1, "x" * 10_000)], "and 497 more"),
    ],
)
def test_other_categories_are_refused(
    tmp_path: Path, names: tuple[str, ...], named: bool, categories: list[tuple[int, str]], reason: str
) -> None:
    annotations = write(tmp_path / "a.json", *categories)
    with pytest.raises(UserError, match=reason) as error:
        with_categories(config_of(*names), annotations, names if named else None)
    assert len(str(error.value)) < 600
