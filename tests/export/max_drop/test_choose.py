"""Which layers are kept for the sake of accuracy: a tiny file on its own detections, with ranges that break a layer."""

import errno
import json
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from tqdm import tqdm

import engines
from export import quantize_onnx
from export.calibration.ranges import Calibration, read_calibration, write_calibration
from export.max_drop.accuracy import Judged, onnx_accuracy
from export.max_drop.choose import Goal, goal_of, search, search_path
from export.max_drop.search_file import SearchFile
from export.max_drop.trials import Candidates, Trials
from export.qdq import layers
from export.quantize import Args, main
from refinemask.bundled import NUCLEI
from refinemask.contract import Metadata
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.files import FailedCheckError, UserError, sha256
from refinemask.kept_layers import Accuracy
from refinemask.onnx_session import cpu_session

BROKEN = "mask_head.stages.1.fusion.merge/Conv"
"""A layer of the masks, of which boxes and scores know nothing."""
PICTURES = 3


@pytest.fixture(scope="module")
def annotated(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures and val.json: what the tiny file finds in them are their objects."""
    folder = tmp_path_factory.mktemp("annotated")
    paths = sorted((NUCLEI / "images").iterdir())[:PICTURES]
    predictions = list(engines.load(tiny_files[1]).predict([read_image(path) for path in paths]))
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (path, found) in enumerate(zip(paths, predictions, strict=True), 1):
        (folder / path.name).write_bytes(path.read_bytes())
        images.append({"id": number, "file_name": path.name, "height": found.height, "width": found.width})
        for entry in found.to_coco(number):
            area = float(entry["bbox"][2] * entry["bbox"][3])
            objects.append(entry | {"id": len(objects) + 1, "area": area, "iscrowd": 0})
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}]
    content = {"images": images, "annotations": objects, "categories": categories}
    (folder / "val.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def calibration(tiny_files: tuple[Path, Path], annotated: Path) -> Calibration:
    """Ranges of a few layers of the masks, with what they read; those of :data:`BROKEN` leave nothing of its input."""
    model = ir.load(tiny_files[1])
    chosen = [f"mask_head.stages.{stage}.fusion.dilated_convs.{index}/Conv" for stage in (0, 1) for index in (0, 2)]
    read = [layers(model.graph)[name].inputs[0] for name in chosen]
    model.graph.outputs.extend(dict.fromkeys(value for value in read if value is not None))
    session = cpu_session(ir.to_proto(model).SerializeToString(), "tiny.onnx")
    pictures = [read_image(path) for path in sorted(annotated.glob("*.png"))]
    inputs = preprocess(pictures[:1], Metadata.of_file(tiny_files[1]).config.preprocessing)
    feed = {"images": inputs.images, "image_sizes": inputs.image_sizes}
    limits = {
        name: float(abs(session.run([str(value.name)], feed)[0]).max())
        for name, value in zip(chosen, read, strict=True)
        if value is not None
    }
    return Calibration(source_sha256=sha256(tiny_files[0]), tool="by hand", images=1, ranges=limits | {BROKEN: 1e-4})


def goal(annotated: Path, max_drop: float) -> Goal:
    return Goal(max_drop=max_drop, annotations=annotated / "val.json", images=annotated)


def test_exactly_the_broken_layer_is_kept_and_the_file_says_so(
    tiny_files: tuple[Path, Path],
    annotated: Path,
    calibration: Calibration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ranges, output = tmp_path / "r.json", tmp_path / "int8.onnx"
    write_calibration(calibration, ranges)
    given = Args(tiny_files[1], output, annotated, ranges=ranges, max_drop=5.0, annotations=annotated / "val.json")
    assert main(given) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    words = " ".join(printed.split())
    assert f"judged by {PICTURES} images in onnxruntime, at most 5 points allowed" in words
    assert "not quantised (1): 8 bits cost more than 5 points of AP" in words
    assert "Layers kept in higher precision" in words
    kept = Metadata.of_file(output).kept
    assert kept is not None
    assert list(kept.layers) == [BROKEN]
    assert kept.layers[BROKEN] > 0
    assert (kept.images, kept.max_drop) == (PICTURES, 5.0)
    # What the file says of its accuracy is what an evaluation of it finds.
    assert onnx_accuracy(output, annotated / "val.json", annotated) == Judged(kept.reached, PICTURES)
    assert onnx_accuracy(tiny_files[1], annotated / "val.json", annotated) == Judged(kept.source, PICTURES)
    graph = ir.load(output).graph
    rounded = {name for name, node in layers(graph).items() if "restored" in str(node.inputs[0])}
    assert rounded == calibration.ranges.keys() - {BROKEN}
    assert sorted(tmp_path.iterdir()) == [output, ranges]


def test_remarks_on_candidates_are_not_shown(
    tiny_files: tuple[Path, Path], annotated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = engines.load

    def remarking(*args: Any, **options: Any) -> engines.Engine:
        print("remark: candidate.onnx: 3 of 4 quantised layers are computed in floating point", file=sys.stderr)
        return load(*args, **options)

    monkeypatch.setattr(engines, "load", remarking)
    onnx_accuracy(tiny_files[1], annotated / "val.json", annotated)
    assert "remark" not in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_files_that_need_no_search_are_not_ranked(
    tiny_files: tuple[Path, Path],
    annotated: Path,
    calibration: Calibration,
    tmp_path: Path,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(backend)
    load, opened = engines.load, []

    def recorded(*args: Any, **options: Any) -> engines.Engine:
        opened.append(options["backend"])
        return load(*args, **options)

    monkeypatch.setattr(engines, "load", recorded)
    ranges, output = tmp_path / "r.json", tmp_path / "int8.onnx"
    write_calibration(
        replace(calibration, ranges={name: limit for name, limit in calibration.ranges.items() if name != BROKEN}),
        ranges,
    )
    report = quantize_onnx(
        tiny_files[1],
        output,
        images=annotated,
        ranges=ranges,
        max_drop=20,
        annotations=annotated / "val.json",
        backend=backend,
    )
    assert report.metadata.kept is not None
    assert report.metadata.kept.backend == backend
    assert opened == [backend] * 2, "the source and the file"
    judged = onnx_accuracy(output, annotated / "val.json", annotated, backend=backend)
    assert judged.accuracy == report.metadata.kept.reached
    assert report.metadata.kept.layers == {}
    assert not any("points of AP" in reason for reason in report.kept)
    assert read_calibration(ranges).ranges.keys() == {
        name for name, node in layers(ir.load(output).graph).items() if "restored" in str(node.inputs[0])
    }


class StopError(Exception):
    """What ends a search in the middle."""


class Judge:
    """Tells the accuracy of candidates by the layers that they quantise, and counts how often it was asked."""

    def __init__(self, mask: dict[str, float], boundary: dict[str, float], patience: int = 100) -> None:
        self.losses = mask, boundary
        self.patience = patience
        self.calls = 0

    def __call__(self, path: Path, predictions: Path) -> Judged:
        self.calls += 1
        if self.calls > self.patience:
            raise StopError
        nodes = layers(ir.load(path).graph)
        rounded = [name for name, node in nodes.items() if "restored" in str(node.inputs[0])]
        mask, boundary = (50 - sum(losses.get(name, 0.0) for name in rounded) for losses in self.losses)
        return Judged(Accuracy(mask=mask, boundary=boundary), PICTURES)


def searched(
    tiny: Path, annotated: Path, calibration: Calibration, judge: Judge, path: Path, max_drop: float = 0.3
) -> dict[str, float]:
    file = SearchFile(path, {"model": "a"})
    found = search(goal(annotated, max_drop), Candidates(tiny, calibration, "int8"), file, judge, Path("int8.onnx"))
    return found.layers


@pytest.mark.parametrize("kind", [0, 1])
def test_masks_and_boundaries_are_both_judged(
    kind: int, tiny_files: tuple[Path, Path], annotated: Path, calibration: Calibration, tmp_path: Path
) -> None:
    losses: list[dict[str, float]] = [{BROKEN: 0.1}, {BROKEN: 0.1}]
    losses[kind] = {BROKEN: 0.4}
    judge = Judge(losses[0], losses[1])
    assert list(searched(tiny_files[1], annotated, calibration, judge, tmp_path / "a.json")) == [BROKEN]


def test_an_interrupted_search_measures_nothing_twice(
    tiny_files: tuple[Path, Path], annotated: Path, calibration: Calibration, tmp_path: Path
) -> None:
    # A quiet layer matters: the search goes beyond the loudest one, and gives that one back.
    quiet = next(iter(calibration.ranges))
    losses = {quiet: 1.0}
    whole, path = Judge(losses, losses), tmp_path / "whole.json"
    found = searched(tiny_files[1], annotated, calibration, whole, path)
    assert list(found) == [quiet]
    begun = tmp_path / "begun.json"
    for patience in (1, whole.calls - 2):
        with pytest.raises(StopError):
            searched(tiny_files[1], annotated, calibration, Judge(losses, losses, patience), begun)
    # The noise that was measured is used, too: here it is doubled, which no other measurement would find.
    content = json.loads(begun.read_text())
    content["noise"] = {name: 2 * noise for name, noise in content["noise"].items()}
    begun.write_text(json.dumps(content))
    rest = Judge(losses, losses)
    assert searched(tiny_files[1], annotated, calibration, rest, begun) == {quiet: 2 * found[quiet]}
    assert rest.calls == 1


def test_what_is_known_is_not_counted_again_and_leaves_no_predictions(
    tiny_files: tuple[Path, Path], calibration: Calibration, tmp_path: Path
) -> None:
    candidates, path = Candidates(tiny_files[1], calibration, "int8"), tmp_path / "a.json"
    written = list[Path]()

    def judge(_: Path, predictions: Path) -> Judged:
        predictions.write_text("predictions")
        written.append(predictions)
        return Judged(Accuracy(mask=50, boundary=50), PICTURES)

    with tqdm(disable=True) as bar:
        Trials(candidates, SearchFile(path, {}), judge, bar).drop(())
    # As a run leaves them that is killed once the accuracy is kept.
    for left in written:
        left.write_text("predictions")
    bar = tqdm(file=StringIO())
    trials = Trials(candidates, SearchFile(path, {}), judge, bar)
    assert (trials.drop(()), trials.drop(())) == (0, 0)
    assert (bar.n, len(written)) == (2, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_goal_that_cannot_be_met(
    tiny_files: tuple[Path, Path], annotated: Path, calibration: Calibration, tmp_path: Path
) -> None:
    losses = dict.fromkeys(calibration.ranges, 1.0)
    count = len(losses)
    message = (
        f"int8.onnx: not written: even with {count - 1} of {count} layers kept it loses 1.00 points of mask or "
        f"boundary AP on {PICTURES} images; expected at most 0.3"
    )
    with pytest.raises(FailedCheckError, match=message):
        searched(tiny_files[1], annotated, calibration, Judge({}, losses), tmp_path / "a.json")


def test_a_search_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    path = search_path(tmp_path / "int8.onnx")
    assert path == tmp_path / "int8.search.json"
    SearchFile(path, {"model": "a", "ranges": "b"}).add_noise("layer", 0.5)
    assert SearchFile(path, {"ranges": "b", "model": "a"}).noise == {"layer": 0.5}
    with pytest.raises(
        UserError, match=r"int8\.search\.json: holds a search that was begun with other ranges; remove it"
    ):
        SearchFile(path, {"model": "a", "ranges": "c"})
    for text in ("[]", '{"source": 3}', '{"source": {}, "noise": {"layer": -1}}', path.read_text()[:-9]):
        path.write_text(text)
        with pytest.raises(UserError, match=r"int8.search.json: no measurements of a search \(.*; remove it"):
            SearchFile(path, {"model": "a", "ranges": "b"})


@pytest.mark.parametrize("drop", [-0.1, float("nan"), float("inf"), 101])
def test_a_drop_that_is_no_number_of_points(drop: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--max-drop .*: expected points of AP, 0 to 100"):
        goal_of(drop, tmp_path / "val.json", tmp_path, None)


def test_one_option_without_the_other(tmp_path: Path) -> None:
    assert goal_of(None, None, tmp_path, None) is None
    with pytest.raises(UserError, match="--annotations judge what --max-drop allows"):
        goal_of(None, tmp_path / "val.json", tmp_path, None)
    with pytest.raises(UserError, match="--max-drop needs annotated images"):
        goal_of(0.3, None, tmp_path, None)


def only_crowds(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"iscrowd": 1} for entry in objects]


def only_boxes(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "segmentation"} for entry in objects]


def masks_of_another_size(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"segmentation": {"size": [7, 9], "counts": [20, 43]}} for entry in objects]


@pytest.mark.parametrize("change", [only_crowds, only_boxes, masks_of_another_size, lambda objects: []])
def test_annotations_without_a_mask_to_find_are_refused_before_anything_is_run(
    change: Any,
    tiny_files: tuple[Path, Path],
    annotated: Path,
    calibration: Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("export.max_drop.choose.onnx_accuracy", None)
    ranges, given = tmp_path / "r.json", tmp_path / "val.json"
    write_calibration(calibration, ranges)
    content = json.loads((annotated / "val.json").read_text())
    given.write_text(json.dumps(content | {"annotations": change(content["annotations"])}))
    with pytest.raises(
        UserError, match=rf"val\.json: has no object with a mask in its {PICTURES} images, expected some"
    ):
        quantize_onnx(
            tiny_files[1], tmp_path / "a.onnx", images=annotated, ranges=ranges, max_drop=5, annotations=given
        )
    assert sorted(tmp_path.iterdir()) == [ranges, given]


def test_a_full_disk_of_the_candidates_is_named_and_the_search_goes_on_later(
    tiny_files: tuple[Path, Path],
    annotated: Path,
    calibration: Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges, output, places = tmp_path / "r.json", tmp_path / "a.onnx", list[Path]()
    write_calibration(calibration, ranges)
    output.write_bytes(b"an earlier file")
    given: dict[str, Any] = {"images": annotated, "ranges": ranges, "max_drop": 5}
    given["annotations"] = annotated / "val.json"

    def save(model: Any, path: Path) -> None:
        places.append(Path(path).parent)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("export.max_drop.trials.ir.save", save)
        with pytest.raises(UserError) as raised:
            quantize_onnx(tiny_files[1], output, **given)
    assert str(raised.value) == f"{places[0] / 'candidate.onnx'}: cannot be written: No space left on device"
    assert not places[0].exists()
    assert output.read_bytes() == b"an earlier file"
    assert sorted(tmp_path.iterdir()) == [output, search_path(output), ranges]
    assert len(json.loads(search_path(output).read_text())["trials"]) == 1
    kept = quantize_onnx(tiny_files[1], output, **given).metadata.kept
    assert kept is not None
    assert list(kept.layers) == [BROKEN]
    assert sorted(tmp_path.iterdir()) == [output, ranges]
