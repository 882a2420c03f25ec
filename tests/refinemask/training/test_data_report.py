"""What a run says of its data."""

from pathlib import Path

from refinemask.data.coco import CocoAnnotation, CocoDataset, CocoImage
from refinemask.data.findings import Finding
from refinemask.data.training import TrainingCounts
from refinemask.training.data_report import UsedData, validation_counts


def annotation(number: int, category: int, crowd: bool = False) -> CocoAnnotation:
    return CocoAnnotation(number, 1, category, (0, 0, 5, 5), 25, [[0, 0, 5, 0, 5, 5]], crowd)


DATASET = CocoDataset(
    path=Path("a.json"),
    images=(CocoImage(1, "1.png", 64, 64), CocoImage(2, "2.png", 64, 64)),
    annotations={1: (annotation(1, 3), annotation(2, 3), annotation(3, 7), annotation(4, 7, True)), 2: ()},
    categories={3: "cell\n", 5: "unused", 7: "dust"},
    findings=(Finding("left out", "objects without a polygon", 2, "annotation 9"),),
)


def test_every_count_is_kept_and_told() -> None:
    counts = TrainingCounts(images=2, background_images=1, objects={7: 1, 3: 2}, left_out={"crowds": 1})
    data = UsedData(purpose="trained on", dataset=DATASET, images=Path("images"), counts=counts)
    assert data.to_json() == {
        "annotations": "a.json",
        "images_folder": "images",
        "images": 2,
        "objects": 4,
        "images_used": 2,
        "background_images_used": 1,
        "objects_used": 3,
        "left_out": {"crowds": 1},
        "classes": [
            {"id": 3, "name": "cell\n", "objects_used": 2},
            {"id": 5, "name": "unused", "objects_used": 0},
            {"id": 7, "name": "dust", "objects_used": 1},
        ],
        "findings": [
            {"kind": "left out", "what": "objects without a polygon", "count": 2, "first": "annotation 9"},
        ],
    }
    assert list(data.lines()) == [
        "trained on: a.json: 2 images (1 without objects), 3 objects of 2 classes (cell 2, dust 1)",
        "not trained on: a.json: the classes without objects unused",
        "not trained on: a.json: 1 crowds",
    ]


def test_many_classes_fit_a_line() -> None:
    dataset = CocoDataset(Path("a.json"), (), {}, {i: f"{'long ' * 100}{i}" for i in range(1203)})
    counts = TrainingCounts(images=0, background_images=0, objects={i: i for i in range(1, 600)}, left_out={})
    data = UsedData(purpose="trained on", dataset=dataset, images=Path("i"), counts=counts)
    used, unused = data.lines()
    assert "1 classes" not in used
    assert "599 classes (long" in used
    assert used.endswith("and 589 more)")
    assert unused.endswith("and 594 more")
    assert max(len(used), len(unused)) < 600


def test_an_evaluation_ignores_crowds() -> None:
    counts = validation_counts(DATASET)
    assert (counts.images, counts.background_images, counts.objects) == (2, 1, {3: 2, 7: 1})
    assert list(counts.left_out.values()) == [1]


def test_names_of_classes_are_told_apart_and_obey_no_terminal() -> None:
    dataset = CocoDataset(Path("a.json"), (), {}, {1: "a\nb", 2: "a\nc", 3: "\x1b[31mred"})
    counts = TrainingCounts(images=1, background_images=0, objects={1: 1, 2: 1, 3: 1}, left_out={})
    (line,) = UsedData(purpose="trained on", dataset=dataset, images=Path("i"), counts=counts).lines()
    assert line.endswith(r"3 classes (a\nb 1, a\nc 1, \x1b[31mred 1)")
