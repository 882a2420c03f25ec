"""What each metric asks of its data set and of a detector."""

from dataclasses import replace
from pathlib import Path

import pytest

from refinemask.config import ModelConfig
from refinemask.data.categories import COCO
from refinemask.data.coco import CocoDataset
from refinemask.evaluation.metrics import METRICS, MetricName
from refinemask.files import UserError

DATASET = CocoDataset(Path("a.json"), images=(), annotations={1: ()}, categories={1: "person", 3: "car"})
DETECTOR = ModelConfig(class_names=COCO.class_names, category_ids=COCO.category_ids)


def test_every_metric_is_found_by_its_name() -> None:
    assert {name: metric.name for name, metric in METRICS.items()} == {name: name for name in METRICS}


@pytest.mark.parametrize("name", METRICS)
def test_a_detector_of_all_classes_passes(name: MetricName) -> None:
    METRICS[name].require_classes(DATASET, DETECTOR, "detector")


def test_coco_compares_names_and_lvis_does_not() -> None:
    renamed = replace(DATASET, categories={1: "human", 3: "car"})
    with pytest.raises(UserError, match=r"^r50: finds 80 classes .*, of which none is category 1 \(human\) of a\.json"):
        METRICS["coco"].require_classes(renamed, DETECTOR, "r50")
    METRICS["lvis"].require_classes(renamed, DETECTOR, "r50")


@pytest.mark.parametrize("name", METRICS)
def test_a_category_that_the_detector_lacks_is_named(name: MetricName) -> None:
    with pytest.raises(UserError, match=r"none is category 12 \(street sign\)"):
        METRICS[name].require_classes(replace(DATASET, categories={12: "street sign"}), DETECTOR, "r50")


def test_the_first_classes_of_the_detector_and_both_remedies_are_named() -> None:
    with pytest.raises(UserError, match=r"; list them$"):
        METRICS["coco"].require_classes(replace(DATASET, categories={0: "person"}), DETECTOR, "r50", "list them")
    with pytest.raises(UserError, match="none is category 0") as caught:
        METRICS["coco"].require_classes(replace(DATASET, categories={0: "person"}), DETECTOR, "r50")
    assert "finds 80 classes (1 person, 2 bicycle, 3 car, …), of which none is category 0 (person) of a.json" in (
        message := str(caught.value)
    )
    assert "annotations of its own classes" in message
    assert message.endswith("python -m refinemask.convert … --categories a.json")


@pytest.mark.parametrize("name", ["ä" * 3000, "line\nbreak", "", "\x00"])
def test_whatever_classes_are_called_the_error_is_one_short_line(name: str) -> None:
    detector = ModelConfig(class_names=(name,) * 90, category_ids=tuple(range(10**15, 10**15 + 90)))
    with pytest.raises(UserError, match="finds 90 classes") as caught:
        METRICS["coco"].require_classes(replace(DATASET, categories={5: name}), detector, "r50")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_ap_star_is_of_coco_detectors() -> None:
    with pytest.raises(UserError, match="finds 2 classes; AP"):
        METRICS["ap-star"].require_classes(
            DATASET, ModelConfig(class_names=("person", "car"), category_ids=(1, 3)), "r50"
        )


def test_only_coco_leaves_a_choice_of_detections_and_has_boundaries() -> None:
    METRICS["coco"].require_options(("boundary",), 5)
    assert METRICS["coco"].max_detections(DATASET) == 100
    assert METRICS["coco"].max_detections(DATASET, 5) == 5
    assert METRICS["lvis"].max_detections(DATASET) == 300
    METRICS["lvis"].require_options(("bbox", "segm"), None)
    for options in ((("boundary",), None), (None, 5)):
        with pytest.raises(UserError, match="--metric lvis has no boundaries and always 300 detections per image"):
            METRICS["lvis"].require_options(*options)
