"""The command on a real Ray, with real worker processes: its results are those of the engine, however it is cut."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

pytest.importorskip("ray")
pytest.importorskip("onnxruntime")

import engines
from refinemask.batch.__main__ import Args, main
from refinemask.batch.cluster import Pool, connected
from refinemask.bundled import PHOTOS
from refinemask.data.images import images_of, read_image
from refinemask.exit_codes import BAD_INPUT, INTERRUPTED, TERMINATED

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray for all jobs of this file, with room for five actors."""
    with connected(Pool(least=5, most=5), None):
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Small pictures of several sizes, one of them twice, one that is none, and one that is missing."""
    folder = tmp_path_factory.mktemp("images")
    names = []
    for number, path in enumerate(images_of(PHOTOS, recursive=True)[:4]):
        pixels = cv2.resize(read_image(path), (96 + 32 * number, 128))
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        names.append(str(folder / f"{number}.png"))
    (folder / "text.png").write_text("no picture")
    return [*names, str(folder / "text.png"), names[1], str(folder / "gone.png"), names[0]]


@pytest.fixture
def listed(images: list[str], tmp_path: Path) -> str:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(images))
    return str(path)


def run(listed: str, model: Path, folder: Path, size: int, actors: str) -> bytes:
    merged = folder.parent / f"{folder.name}.json"
    arguments = Args(
        images=(listed,), model=model, output=str(folder), shard_size=size, actors=actors, to_coco=merged,
        detections=10,
    )  # fmt: skip
    assert main(arguments) == 0
    return merged.read_bytes()


def test_the_results_are_those_of_the_engine(
    ray_here: None, tiny_files: tuple[Path, Path], images: list[str], listed: str, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = run(listed, tiny_files[1], tmp_path / "job", 3, "2")
    expected = []
    engine = engines.load(tiny_files[1], threads=1, detections=10)
    good = [(number, name) for number, name in enumerate(images, start=1) if Path(name).name[0].isdigit()]
    for (number, name), prediction in zip(good, engine.predict([name for _, name in good]), strict=True):
        expected += [{"image_id": number, "file_name": name} | entry for entry in prediction.to_coco()]
    assert len(expected) > len(good)
    assert json.loads(found) == json.loads(json.dumps(expected))
    said = capfd.readouterr()
    assert said.out == f"6 of 8 images predicted, 2 failed: {tmp_path / 'job'}\n"
    # Nothing of Ray's own.
    assert len(said.err.splitlines()) == 1
    assert "images/s" in said.err
    failures = json.loads((tmp_path / "job" / "manifest.json").read_text())["failures"]
    assert [each["index"] for each in failures] == [4, 6]
    assert "not an image of a known format" in failures[0]["error"]
    assert failures[1]["error"].endswith("gone.png: cannot be read: No such file or directory")


def test_what_is_left_of_a_job_is_made_as_it_was(
    ray_here: None, tiny_files: tuple[Path, Path], listed: str, tmp_path: Path
) -> None:
    first = run(listed, tiny_files[1], tmp_path / "job", 1, "1-2")
    shards = sorted((tmp_path / "job" / "results").iterdir())
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards]
    for path in shards[1::2]:
        path.unlink()
    (tmp_path / "job" / "manifest.json").unlink()
    assert run(listed, tiny_files[1], tmp_path / "job", 1, "1") == first
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards] == before
    # The hash in the manifest is that of the file.
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert [shard["sha256"] for shard in manifest["shards"]] == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "file"])
def test_the_merged_file_is_the_same_for_all_actors_and_shards(
    kind: str, ray_here: None, tiny_files: tuple[Path, Path], listed: str, tmp_path: Path
) -> None:
    model = tiny_files[kind == "file"]
    found = {
        (actors, size): hashlib.sha256(run(listed, model, tmp_path / f"{actors}-{size}", size, actors)).hexdigest()
        for actors in ("1", "2", "5")
        for size in (1, 7, 1000)
    }
    assert len(set(found.values())) == 1, found


def test_results_in_a_store_that_fsspec_reads(
    ray_here: None, tiny_files: tuple[Path, Path], images: list[str], tmp_path: Path
) -> None:
    """The scheme ``local`` is fsspec's own: it goes the way of a store of which this project knows nothing."""
    (tmp_path / "list.txt").write_text("\n".join(f"local://{name}" for name in images))
    arguments = Args(
        images=(f"local://{tmp_path}/list.txt",), model=tiny_files[1], output=f"local://{tmp_path}/job", actors="1"
    )
    assert main(arguments) == 0
    assert json.loads((tmp_path / "job" / "manifest.json").read_text())["predicted"] == 6
    assert main(arguments) == 0


def test_a_model_that_cannot_be_opened_ends_the_job_in_one_line(
    ray_here: None, tiny_files: tuple[Path, Path], listed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "cut.onnx"
    model.write_bytes(tiny_files[1].read_bytes()[:1000])
    assert main(Args(images=(listed,), model=model, output=str(tmp_path / "job"), actors="1")) == BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "cut.onnx" in line
    assert not (tmp_path / "job" / "results").exists()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"actors": "none"}, "--actors is 'none'; expected a number such as 4, or a range"),
        ({"actors": "4-2"}, "--actors is 4-2"),
        ({"actors": "0"}, "--actors is 0-0"),
        ({"actors": "9"}, "has room for 6 actors of 1 CPU, and 9 are the fewest"),
        ({"actors": "2", "cpus_per_actor": 4}, "has room for 1 actors of 4 CPUs"),
        ({"actors": "1", "gpus_per_actor": 0.5, "device": "cpu"}, "has room for 0 actors of 1 CPU and 0.5 GPU"),
        ({"gpus_per_actor": 1.5}, "--gpus-per-actor is 1.5"),
        ({"gpus_per_actor": float("nan")}, "--gpus-per-actor is nan"),
        ({"gpus_per_actor": float("inf")}, "--gpus-per-actor is inf"),
        ({"shard_size": 0}, "--shard-size is 0"),
        ({"retries": -1}, "--retries is -1"),
        ({"timeout": 0.0}, "--timeout is 0"),
        ({"timeout": float("nan")}, "--timeout is nan"),
        ({"timeout": 1e9}, "--timeout is 1e+09; expected seconds above 0, and 1e+06 at most"),
        ({"to_coco": Path("s3://bucket/all.json")}, "--to-coco s3:/bucket/all.json: is a URL"),
        ({"overlap": 4}, "--overlap"),
        ({"images": ()}, "no image was given"),
        ({"output": ""}, "--output is empty"),
        ({"output": "https://host/a"}, "takes no results"),
        ({"output": "nothing://host/a"}, "cannot be reached"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(
    options: dict, what: str, ray_here: None, tiny_files: tuple[Path, Path], listed: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = {"images": (listed,), "model": tiny_files[1], "output": str(tmp_path / "job")} | options
    assert main(Args(**given)) == BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert what in line


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_an_interrupted_job_says_so_and_goes_on(
    number: signal.Signals, code: int, tiny_files: tuple[Path, Path], listed: str, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "refinemask.batch", listed, "--model", str(tiny_files[1]), "--output",
        str(tmp_path / "job"), "--actors", "1", "--shard-size", "1", "--to-coco", str(tmp_path / "all.json"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = tmp_path / "job" / "results" / "part-00000000.parquet"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        end = time.monotonic() + 120
        while not first.exists() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == code, said
    assert said.splitlines() == ["interrupted" if number == signal.SIGINT else "terminated"]
    kept = first.stat().st_mtime_ns
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == kept
    entries = json.loads((tmp_path / "all.json").read_text())
    assert {entry["image_id"] for entry in entries} == {1, 2, 3, 4, 6, 8}
    shutil.rmtree(tmp_path / "job")


@pytest.mark.parametrize("command", [["refinemask.batch"], ["refinemask", "batch"]])
def test_an_interrupt_while_ray_begins_is_one_line_whatever_ray_does_at_the_end(
    command: list[str], tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    # A real one leaves a handler that fails where its import was broken off.
    (fake / "ray.py").write_text("import atexit\natexit.register(lambda: 1 / 0)\nraise KeyboardInterrupt\n")
    environment = {**os.environ, "PYTHONPATH": f"{fake}{os.pathsep}{ROOT}"}
    words = [str(PHOTOS), "--recursive", "--model", str(tiny_files[1]), "--output", str(tmp_path / "job")]
    words = [sys.executable, "-m", *command, *words]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (INTERRUPTED, "interrupted")
    assert "Traceback" not in done.stderr
