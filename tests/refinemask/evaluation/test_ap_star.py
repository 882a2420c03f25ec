"""AP*: the annotations equal those made by the rule's reference, and are told from others."""

import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.categories import COCO
from refinemask.evaluation.ap_star import Args, coco_synsets, cocofy, main, read_cocofied
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.files import UserError
from tests.support.coco_results import group_by_image
from tests.support.lvis_cases import jittered
from tests.support.tolerances import TOLERANCES

GOLDEN = Path(__file__).parents[2] / "golden"
LVIS = GOLDEN / "lvis_v0.5_val_cut.json"
REFERENCE = GOLDEN / "lvis_v0.5_val_cut_cocofied.json"


def person_file(path: Path, **category: Any) -> Path:
    """An LVIS file without objects whose only category is ``baby``, LVIS v0.5's name for COCO's person."""
    content = {
        "images": [
            {
                "id": 1,
                "height": 4,
                "width": 4,
                "coco_url": "http://x/val2017/1.jpg",
                "neg_category_ids": [57],
                "not_exhaustive_category_ids": [],
            }
        ],
        "categories": [{"id": 57, "name": "baby", "synset": "person.n.01", "frequency": "f"} | category],
        "annotations": [],
    }
    path.write_text(json.dumps(content))
    return path


def test_every_coco_category_has_a_synset() -> None:
    assert tuple(coco_synsets().values()) == COCO.category_ids


def test_synsets_are_those_of_the_reference() -> None:
    expected = {category["synset"]: category["id"] for category in json.loads(REFERENCE.read_text())["categories"]}
    assert len(expected) == 78, "LVIS v0.5 has all categories of COCO but two"
    assert {synset: category for synset, category in coco_synsets().items() if synset in expected} == expected


def test_equals_the_reference_file(tmp_path: Path) -> None:
    assert main(Args(lvis=LVIS, output=tmp_path / "cocofied.json")) == 0
    found = json.loads((tmp_path / "cocofied.json").read_text())
    expected = json.loads(REFERENCE.read_text())
    assert found["annotations"] == expected["annotations"]
    assert found["images"] == expected["images"]
    # The reference file here keeps categories that occur nowhere; the official one does not.
    lists = [set(i["neg_category_ids"]) | set(i["not_exhaustive_category_ids"]) for i in expected["images"]]
    used = {a["category_id"] for a in expected["annotations"]}.union(*lists)
    assert found["categories"] == [category for category in expected["categories"] if category["id"] in used]
    assert len(used) < len(expected["categories"])


def test_scores_coco_detections(tmp_path: Path) -> None:
    main(Args(lvis=LVIS, output=tmp_path / "cocofied.json"))
    results = jittered(json.loads(REFERENCE.read_text()))
    dataset = read_cocofied(tmp_path / "cocofied.json")
    measured = evaluate_lvis(dataset, group_by_image(dataset, results))
    expected = json.loads((GOLDEN / "lvis_ap.json").read_text())[REFERENCE.name]
    assert {name: measured[name] for name in expected} == pytest.approx(
        expected, abs=TOLERANCES["average precision"].absolute, rel=0
    )


def test_moves_lists_to_coco_ids(tmp_path: Path) -> None:
    path = person_file(tmp_path / "lvis.json")
    cocofied = cocofy(path, json.loads(path.read_text()))
    assert cocofied["images"][0]["neg_category_ids"] == [1]
    assert [(c["id"], c["name"]) for c in cocofied["categories"]] == [(1, "baby")]


def test_lvis_categories_are_not_taken_for_coco_s(tmp_path: Path) -> None:
    path = person_file(tmp_path / "lvis.json")
    with pytest.raises(UserError, match=r"categories are not COCO's; make .*python -m refinemask.evaluation.ap_star"):
        read_cocofied(path)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"synset": "aardvark.n.01"}, "none of its categories is one of COCO's"),
        ({"frequency": "often"}, "its frequency is 'often', expected r, c or f"),
    ],
)
def test_other_files_are_refused(
    category: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = person_file(tmp_path / "lvis.json", **category)
    assert main(Args(lvis=path, output=tmp_path / "out.json")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
