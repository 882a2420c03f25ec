"""Counting what layers read: against their values, and after an interruption."""

import json
import os
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from export.calibration import run
from export.calibration.histogram import Histogram
from export.calibration.images import Choice, choose_images
from export.calibration.run import measure_histograms
from export.qdq import kept_layers, layers
from refinemask.bundled import NUCLEI
from refinemask.contract import Metadata
from refinemask.data.transforms import preprocess
from refinemask.files import UserError
from refinemask.onnx_session import cpu_session, run_session


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose_images(NUCLEI / "images", None, 4)


@pytest.fixture(scope="module")
def whole(
    tiny_files: tuple[Path, Path], choice: Choice, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Histogram]:
    """What a run without interruption counts."""
    return measure_histograms(tiny_files[1], choice, tmp_path_factory.mktemp("whole") / "a.partial", "tiny")


def require_same(found: dict[str, Histogram], expected: dict[str, Histogram]) -> None:
    assert list(found) == list(expected)
    for name, histogram in found.items():
        assert (histogram.exponent, histogram.largest) == (expected[name].exponent, expected[name].largest)
        np.testing.assert_array_equal(histogram.counts, expected[name].counts)


def test_the_inputs_of_all_layers_that_may_be_quantised_are_counted(
    tiny_files: tuple[Path, Path], choice: Choice, whole: dict[str, Histogram]
) -> None:
    model = ir.load(tiny_files[1])
    named, kept = layers(model.graph), kept_layers(model.graph)
    assert set(whole) == set(named) - set(kept)
    values = {name: named[name].inputs[0] for name in whole}
    model.graph.outputs.extend(value for value in dict.fromkeys(values.values()) if value)
    session = cpu_session(ir.to_proto(model).SerializeToString(), "tiny", 1)
    metadata = Metadata.of_file(tiny_files[1])
    canvas = metadata.bounds.height[1], metadata.bounds.width[1]
    seen: dict[str, list[np.ndarray]] = {name: [] for name in whole}
    for path in choice.calibration:
        batch = preprocess([choice.read(path)], metadata.config.preprocessing, canvas)
        names = [str(value.name) for value in values.values() if value]
        for name, found in zip(seen, run_session(session, batch, "tiny", names), strict=True):
            seen[name].append(found.ravel())
    require_same(whole, {name: Histogram.of(np.concatenate(parts)) for name, parts in seen.items()})


def test_layers_that_read_one_tensor_have_one_histogram(
    tiny_files: tuple[Path, Path], whole: dict[str, Histogram]
) -> None:
    named = layers(ir.load(tiny_files[1]).graph)
    inputs = {named[name].inputs[0] for name in whole}
    assert len({id(histogram) for histogram in whole.values()}) == len(inputs) < len(whole)


@pytest.mark.parametrize("kill", [KeyboardInterrupt, MemoryError])
def test_after_an_interruption_a_run_goes_on_to_the_same_histograms(
    kill: type[BaseException],
    tiny_files: tuple[Path, Path],
    choice: Choice,
    whole: dict[str, Histogram],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Path] = []

    def read_two(self: Choice, path: Path) -> Any:
        if len(read) == 2:
            raise kill
        read.append(path)
        return original(self, path)

    original = Choice.read
    with monkeypatch.context() as context:
        context.setattr(Choice, "read", read_two)
        with pytest.raises(kill):
            measure_histograms(tiny_files[1], choice, tmp_path / "a.partial", "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]
    again: list[Path] = []

    def read_on(self: Choice, path: Path) -> Any:
        again.append(path)
        return original(self, path)

    monkeypatch.setattr(Choice, "read", read_on)
    require_same(measure_histograms(tiny_files[1], choice, tmp_path / "a.partial", "tiny"), whole)
    assert read + again == list(choice.calibration)
    again.clear()
    require_same(measure_histograms(tiny_files[1], choice, tmp_path / "a.partial", "tiny"), whole)
    assert again == []


def test_progress_of_another_run_is_refused(tiny_files: tuple[Path, Path], choice: Choice, tmp_path: Path) -> None:
    progress, one = tmp_path / "a.partial", replace(choice, calibration=choice.calibration[:1])
    measure_histograms(tiny_files[1], one, progress, "tiny")
    for images, identity in ((replace(one, sha256="others"), "tiny"), (one, "another")):
        with pytest.raises(UserError, match=r"a\.partial: belongs to .* another model or of other images; delete it"):
            measure_histograms(tiny_files[1], images, progress, identity)
    state = {"origin": {}, "layers": [], "images": "few"}
    for damage in (
        lambda: progress.write_bytes(b"something else"),
        lambda: save_file({"counts": np.zeros(3)}, progress),
        lambda: save_file({"counts": np.zeros(3)}, progress, {"calibration": json.dumps(state)}),
        lambda: progress.write_bytes(progress.read_bytes()[:-8]),
    ):
        damage()
        with pytest.raises(UserError, match=r"a\.partial: not the histograms of a calibration .*delete it to"):
            measure_histograms(tiny_files[1], one, progress, "tiny")


@pytest.mark.parametrize(
    ("name", "index", "value", "words"),
    [
        ("counts", (0, 7), -1, "expected counts from 0"),
        ("counts", (0, 7), 2**62, "expected counts from 0"),
        ("exponents", 0, 4000, "the exponent 4000 is not that of"),
        ("exponents", 0, -4000, "the exponent -4000 is not that of"),
        ("largest", 0, np.nan, "the largest value is nan"),
        ("largest", 0, np.inf, "the largest value is inf"),
        ("largest", 0, -1.0, "the largest value is -1"),
        ("counts", (0, slice(None)), 0, "the bin of the largest value .* is empty"),
        ("images", None, 0, "images is 0, expected whole number"),
        ("images", None, 2, "it counts 2 images of 1"),
        ("images", None, 1e999, "images is inf, expected whole number"),
    ],
)
def test_impossible_progress_is_refused(
    name: str, index: Any, value: Any, words: str, tiny_files: tuple[Path, Path], choice: Choice, tmp_path: Path
) -> None:
    progress, one = tmp_path / "a.partial", replace(choice, calibration=choice.calibration[:1])
    measure_histograms(tiny_files[1], one, progress, "tiny")
    with safe_open(progress, framework="np") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        state = json.loads(file.metadata()["calibration"])
    if name == "images":
        state["images"] = value
    else:
        arrays[name][index] = value
    save_file(arrays, progress, {"calibration": json.dumps(state)})
    with pytest.raises(UserError, match=rf"a\.partial: not the histograms of a calibration \(.*{words}.*delete it to"):
        measure_histograms(tiny_files[1], one, progress, "tiny")


def test_counts_of_another_shape_are_not_read(tiny_files: tuple[Path, Path], choice: Choice, tmp_path: Path) -> None:
    """A file of a few bytes on the disk may say that it has billions of counts."""
    progress, one = tmp_path / "a.partial", replace(choice, calibration=choice.calibration[:1])
    measure_histograms(tiny_files[1], one, progress, "tiny")
    with safe_open(progress, framework="np") as file:
        about = {"__metadata__": file.metadata()}
    end = 1 << 32
    about |= {"counts": {"dtype": "I64", "shape": [end // 8], "data_offsets": [0, end]}}
    header = json.dumps(about).encode()
    progress.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(progress, 8 + len(header) + end)
    tracemalloc.start()
    with pytest.raises(
        UserError, match=r"a\.partial: not the histograms .*expected counts of \d+ tensors in 4096 bins"
    ):
        measure_histograms(tiny_files[1], one, progress, "tiny")
    assert tracemalloc.get_traced_memory()[1] < end // 8
    tracemalloc.stop()


def test_one_batch_is_in_memory_at_a_time(
    tiny_files: tuple[Path, Path], choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: set[int] = set()
    most = 0

    def observed(values: np.ndarray) -> Histogram:
        nonlocal most
        alive.add(id(values))
        weakref.finalize(values, alive.discard, id(values))
        most = max(most, len(alive))
        return Histogram.of(values)

    class Observed:
        of = staticmethod(observed)

    monkeypatch.setattr(run, "Histogram", Observed)
    measure_histograms(tiny_files[1], choice, tmp_path / "a.partial", "tiny")
    assert most == 1


def test_images_on_which_values_overflow_are_named(
    tiny_files: tuple[Path, Path], choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.calibration.histogram.LARGEST", 1e-3)
    with pytest.raises(
        UserError, match=rf"{choice.calibration[0].name}: cannot be calibrated on: in what .* reads there"
    ):
        measure_histograms(tiny_files[1], choice, tmp_path / "a.partial", "tiny")
