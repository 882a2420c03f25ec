"""Training as a function."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import refinemask
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.recipes import ValidationData
from refinemask.training.loop import Execution
from refinemask.training.transfer import with_settings
from refinemask.weights import read_config, read_metadata, save_detector
from tests.support.other_formats import labelme_file, shape
from tests.support.tiny_training import RECIPE, SIDE, draw_dataset


def make_plan(folder: Path, **changes: Any) -> refinemask.Plan:
    """A run of the tiny recipe within a folder that evaluates nothing, on drawn images unless there are others."""
    settings: dict[str, Any] = {"recipe": RECIPE, "evaluate_every": 0} | changes
    data = settings.pop("data_root", None) or draw_dataset(folder / "data")
    execution = Execution(device=torch.device("cpu"))
    return refinemask.Plan(name="tiny", data_root=data, output=folder / "run", execution=execution, **settings)


def test_the_verb_says_what_became_of_the_plan_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(tmp_path, evaluate_every=2)
    run = refinemask.train(plan)
    assert (run.output, run.finished, run.profile) == (tmp_path / "run", True, None)
    assert capfd.readouterr().out == ""
    records = [json.loads(line) for line in (run.output / "metrics.jsonl").read_text().splitlines()]
    assert list(records[-1]["average_precision"]) == ["bbox", "segm", "boundary"]
    assert run.best_ap == pytest.approx(records[-1]["average_precision"]["segm"]["AP"])


def test_data_that_are_both_trained_and_evaluated_on_are_read_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = draw_dataset(tmp_path / "data")
    source = root / RECIPE.data.annotations
    content = json.loads(source.read_text())
    del content["annotations"][0]["area"]
    source.write_text(json.dumps(content))
    same = ValidationData(annotations=RECIPE.data.annotations, images=RECIPE.data.images)
    plan = make_plan(
        tmp_path,
        recipe=replace(RECIPE, train=replace(RECIPE.train, epochs=1), validation=same),
        data_root=root,
        evaluate_every=1,
    )
    run = refinemask.train(plan)
    lines = capfd.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith(f"{source}: mended: 1 objects without an area")]) == 1
    assert [line.split(":")[0] for line in lines if "ed on: " in line] == ["trained on", "evaluated on"]
    assert run.best_ap is not None


def test_a_run_that_is_stopped_is_not_finished(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    run = refinemask.train(plan, lambda: True)
    assert (run.finished, run.best_ap) == (False, None)
    assert (run.output / "state.pt").is_file()


def test_a_run_from_a_detector_of_other_classes_trains_and_records_what_was_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = with_settings(
        replace(RECIPE.model, class_names=("disk", "triangle"), category_ids=(1, 2)),
        {"rpn.anchor_scale": 3.0, "preprocessing.mean": (1.0, 2.0, 3.0)},
    )
    save_detector(Detector(given), tmp_path / "given.safetensors", recipe="tiny")
    plan = make_plan(
        tmp_path,
        recipe=replace(RECIPE, train=replace(RECIPE.train, epochs=1)),
        init=str(tmp_path / "given.safetensors"),
    )
    run = refinemask.train(plan)
    assert run.initial is not None
    assert (run.initial.classes, run.initial.new_classes) == (("disk",), ("square",))
    assert (
        "row by row: classes disk by name; new classes square; taken over: preprocessing.mean" in capfd.readouterr().err
    )
    expected = json.loads(json.dumps(asdict(run.initial)))
    recipe = json.loads((run.output / "recipe.json").read_text())
    assert recipe["initial_weights"] == expected
    assert recipe["model"]["rpn"]["anchor_scale"] == 3.0
    metadata = read_metadata(run.output / "last.safetensors")
    assert json.loads(metadata["initial_weights"]) == expected
    config = read_config(run.output / "last.safetensors")
    assert (config.class_names, config.preprocessing.mean) == (("square", "disk"), (1.0, 2.0, 3.0))


def test_a_run_from_nothing_records_no_initial_weights(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    run = refinemask.train(plan, lambda: True)
    assert run.initial is None
    assert "initial_weights" not in json.loads((run.output / "recipe.json").read_text())


def test_a_resumed_run_remembers_its_initial_weights(tmp_path: Path) -> None:
    given = replace(RECIPE.model, class_names=("disk", "triangle"), category_ids=(1, 2))
    save_detector(Detector(given), tmp_path / "given.safetensors", recipe="tiny")
    plan = make_plan(
        tmp_path,
        recipe=replace(RECIPE, train=replace(RECIPE.train, epochs=1)),
        init=str(tmp_path / "given.safetensors"),
    )
    first = refinemask.train(plan, lambda: True)
    assert first.initial is not None
    resumed = refinemask.train(replace(plan, init=None, resume=tmp_path / "run" / "state.pt"))
    assert (resumed.finished, resumed.initial) == (True, first.initial)
    expected = json.loads(json.dumps(asdict(first.initial)))
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["initial_weights"] == expected
    assert json.loads(read_metadata(tmp_path / "run" / "last.safetensors")["initial_weights"]) == expected


def test_classes_of_formats_without_ids_are_the_same_by_a_list_above_both(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", 2)
    square = [4.0, 4, 30, 4, 30, 30, 4, 30]
    for split, labels in (("train", ("disk", "square")), ("val", ("square",))):
        shutil.copytree(root / "images", tmp_path / "set" / split)
        for number in (1, 2):
            size = {"imagePath": f"{number}.png", "imageHeight": SIDE, "imageWidth": SIDE}
            labelme_file(tmp_path / "set" / split / f"{number}.json", [shape(name, square) for name in labels], **size)
    data = replace(RECIPE.data, annotations="set/train", images="set/train")
    recipe = replace(
        RECIPE,
        data=data,
        validation=ValidationData(annotations="set/val", images="set/val"),
        train=replace(RECIPE.train, epochs=1),
    )
    plan = make_plan(tmp_path, recipe=recipe, data_root=tmp_path, evaluate_every=1)
    with pytest.raises(UserError, match=r"none is category 1 \(square\) .*list the names in a classes.txt, one a line"):
        refinemask.train(plan)
    (tmp_path / "set" / "classes.txt").write_text("square\ndisk\n")
    assert refinemask.train(replace(plan, output=tmp_path / "again")).best_ap is not None
