"""The COCO results file is the one that predictions are, however the work ends."""

import json
from pathlib import Path

import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.prediction import predict
from refinemask.writers import scratch
from refinemask.writers.coco_results import CocoResults
from tests.support.bright_box import BrightBox
from tests.support.written import BROKEN, boxes_of, clip, frame, prediction, put, still

ONE = prediction(boxes_of((1, 2, 8, 9)))


def test_the_file_has_the_predictions_with_numbers_and_names(tmp_path: Path) -> None:
    pixels = [np.full((20, 30, 3), value, np.uint8) for value in (51, 0, 204)]
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    expected = []
    with CocoResults(tmp_path / "results.json") as writer:
        for number, (path, image) in enumerate(zip(paths, [*pixels[:2], None, pixels[2]], strict=True), start=1):
            if image is None:
                writer.fail(still(path), BROKEN)
                continue
            [found] = predict(BrightBox(), [image], [path])
            put(writer, still(path), found)
            expected += [{"image_id": number, "file_name": path.name, **result} for result in found.to_coco()]
    assert json.loads((tmp_path / "results.json").read_text()) == expected
    assert [result["image_id"] for result in expected] == [1, 4]


def test_folders_and_frames_are_named(tmp_path: Path) -> None:
    with CocoResults(tmp_path / "results.json") as writer:
        put(writer, still(Path("in/street/a.jpg"), "street/a"), ONE)
        put(writer, frame(clip(path=Path("in/clip.mp4")), 12), ONE)
    first, second = json.loads((tmp_path / "results.json").read_text())
    assert list(first) == ["image_id", "file_name", "category_id", "bbox", "score", "segmentation"]
    assert (first["image_id"], first["file_name"]) == (1, "street/a.jpg")
    assert (second["image_id"], second["file_name"], second["frame"]) == (2, "clip.mp4", 12)


@pytest.mark.parametrize(("given", "told"), [(5, "2 of 5"), (None, "2")])
def test_an_interrupted_block_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: int | None, told: str
) -> None:
    path = tmp_path / "results.json"

    def interrupted() -> None:
        with CocoResults(path, given) as writer:
            for number in range(2):
                put(writer, still(Path(f"{number}.png")), ONE)
            assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [result["image_id"] for result in json.loads(path.read_text())] == [1, 2]
    assert capsys.readouterr().err == f"interrupted: {told} images predicted: {path}\n"


def test_without_an_image_nothing_is_written_and_without_an_object_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with CocoResults(path) as writer:
        writer.fail(still(Path("a.png")), BROKEN)
    assert not path.exists()
    with CocoResults(path) as writer:
        put(writer, still(Path("a.png")), prediction(boxes_of()))
    assert path.read_text() == "[]\n"


def test_what_cannot_be_written_is_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_text("no folder")
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(scratch, "mkdtemp", lambda prefix: str(tmp_path / "kept"))
    with (
        pytest.raises(UserError, match=r"out/results\.json: cannot .*; the results of 1 images are in .*kept/results"),
        CocoResults(tmp_path / "out" / "results.json") as writer,
    ):
        put(writer, still(Path("a.png")), ONE)
    assert len(json.loads((tmp_path / "kept" / "results.json").read_text())) == 1


def test_a_disk_that_fills_up_leaves_whole_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"

    def filled() -> None:
        with CocoResults(path) as writer:
            put(writer, still(Path("a.png")), ONE)
            monkeypatch.setattr(writer._scratch, "_file", _Full(writer._scratch._file))
            put(writer, still(Path("b.png")), ONE)

    with pytest.raises(UserError, match="temporary file cannot be written: No space"):
        filled()
    assert [result["file_name"] for result in json.loads(path.read_text())] == ["a.png"]


class _Full:
    """A file whose disk takes ten more bytes."""

    def __init__(self, file: object) -> None:
        self._file = file
        self._rest = 10

    def write(self, data: memoryview) -> int:
        if not self._rest:
            raise OSError(28, "No space left on device")
        count = self._file.write(data[: self._rest])  # type: ignore[attr-defined]
        self._rest -= count
        return count

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)
