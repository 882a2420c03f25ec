"""A job is begun once, goes on where it stopped, and is never mixed with anything else."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from refinemask.batch import run
from refinemask.batch.job import Job, difference, shard_size_for
from refinemask.batch.row import Row
from refinemask.batch.run import Request, run_job
from refinemask.batch.shards import Shard
from refinemask.files import UserError
from refinemask.locks import locked
from tests.support.batch_rows import FakeWorker, row_of

RequestOf = Callable[..., Request]
NAMES = [*(f"/{number}.png" for number in range(10)), "/bad.png", "/1.png", "/dead.png"]


def results(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "job" / "results").iterdir())}


def test_a_job_and_its_manifest(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    done = run_job(request_of(NAMES, shard_size=5))
    assert (done.images, done.failed, done.quarantined, done.computed) == (13, 2, 1, 13)
    assert worker.computed == NAMES
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert [manifest[key] for key in ("images", "predicted", "failed", "quarantined")] == [13, 11, 2, 1]
    assert [shard["rows"] for shard in manifest["shards"]] == [5, 5, 3]
    assert [(each["index"], each["image"], each["quarantined"]) for each in manifest["failures"]] == [
        (10, "/bad.png", False),
        (12, "/dead.png", True),
    ]
    assert list(results(tmp_path)) == [f"part-0000000{piece}.parquet" for piece in range(3)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_merged_file_does_not_depend_on_the_shards(
    size: int, worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    run_job(replace(request_of(NAMES, shard_size=size), to_coco=tmp_path / "results.json"))
    entries = []
    for number, name in enumerate(NAMES, start=1):
        row = row_of(name)
        for category_id, box, score, counts in zip(row.category_ids, row.boxes, row.scores, row.counts, strict=True):
            x1, y1, x2, y2 = box.tolist()
            entries.append(
                {
                    "image_id": number,
                    "file_name": name,
                    "category_id": int(category_id),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score.item(),
                    "segmentation": {"size": [40, 60], "counts": counts},
                }
            )
    expected = "[" + ",\n".join(json.dumps(entry) for entry in entries) + "]\n"
    assert (tmp_path / "results.json").read_text() == expected


def test_the_same_command_again_computes_nothing(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    run_job(request_of(NAMES, shard_size=5))
    before = results(tmp_path)
    worker.computed.clear()
    done = run_job(request_of(NAMES, shard_size=5))
    assert (done.images, done.failed, done.computed) == (13, 2, 0)
    assert worker.computed == []
    assert results(tmp_path) == before


def test_a_missing_cut_or_changed_shard_alone_is_made_again(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(request_of(NAMES, shard_size=2))
    before = results(tmp_path)
    folder = tmp_path / "job" / "results"
    names = list(before)
    (folder / names[0]).unlink()
    (folder / names[2]).write_bytes(before[names[2]][:-20])
    (folder / names[3]).write_bytes(before[names[4]])
    (folder / names[5]).write_bytes(b"")
    middle = before[names[4]].index(b"PQ") if b"PQ" in before[names[4]] else 60
    (folder / names[4]).write_bytes(before[names[4]][:middle] + b"??" + before[names[4]][middle + 2 :])
    worker.computed.clear()
    run_job(request_of(NAMES, shard_size=2))
    assert worker.computed == [NAMES[number] for number in (0, 1, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert results(tmp_path) == before
    said = capsys.readouterr().err
    assert said.count("it is made again") == 4
    assert f"{names[3]}: is a result of other images" in said


def test_a_damaged_manifest_is_written_again(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    run_job(request_of(NAMES, shard_size=5))
    path = tmp_path / "job" / "manifest.json"
    shards = json.loads(path.read_text())["shards"]
    for damage in (
        b"",
        b"{",
        b"[]",
        b"{}",
        path.read_bytes()[:-20],
        path.read_bytes().replace(b'"rows": 3', b'"rows": 4'),
    ):
        path.write_bytes(damage)
        assert run_job(request_of(NAMES, shard_size=5)).computed == 0
        assert json.loads(path.read_text())["shards"] == shards
    before = path.stat().st_mtime_ns
    run_job(request_of(NAMES, shard_size=5))
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "name",
    ["job.json", "job.lock", "manifest.json", "images", "results/a.json", "images/part-00000.parquet", "x/../job.json"],
)
def test_the_merged_file_takes_no_place_of_the_job(
    name: str, worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"--to-coco .*: is a place of the job's own files"):
        run_job(replace(request_of(NAMES), to_coco=tmp_path / "job" / name))
    assert not worker.computed
    run_job(replace(request_of(NAMES), to_coco=tmp_path / "job" / "results.json"))
    assert run_job(request_of(NAMES)).computed == 0


def test_a_folder_that_cannot_be_made_is_one_line(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for name in ("loop/job", "file/job"):
        with pytest.raises(UserError, match=r"cannot be written: .*; name another folder"):
            run_job(request_of(NAMES, output=name))


def test_a_shard_that_vanishes_while_the_job_runs_is_no_success(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = worker.rows
    first = tmp_path / "job" / "results" / "part-00000000.parquet"

    def rows(references: list[str]) -> Iterator[Row]:
        first.unlink(missing_ok=True)
        return compute(references)

    monkeypatch.setattr(worker, "rows", rows)
    with pytest.raises(UserError, match=r"part-00000000\.parquet: has vanished"):
        run_job(request_of(NAMES, shard_size=5))
    assert not (tmp_path / "job" / "manifest.json").exists()


def test_what_was_listed_stays_the_job(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    run_job(request_of(NAMES, shard_size=5))
    (tmp_path / "job" / "results" / "part-00000001.parquet").unlink()
    worker.computed.clear()
    assert run_job(request_of(["/other.png"], shard_size=5)).images == 13
    assert worker.computed == NAMES[5:10]


@pytest.mark.parametrize(("images", "size"), [(0, 8), (229, 8), (6_400, 100), (64_000, 1000), (10**9, 1000)])
def test_small_jobs_have_pieces_for_many_actors(images: int, size: int) -> None:
    assert shard_size_for(images) == size


def test_a_job_keeps_the_size_of_its_shards(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    run_job(request_of(NAMES, shard_size=None))
    assert list(results(tmp_path)) == ["part-00000000.parquet", "part-00000001.parquet"]
    assert run_job(request_of(NAMES, shard_size=8)).computed == 0
    assert run_job(request_of(NAMES, shard_size=None)).computed == 0
    with pytest.raises(UserError, match="--shard-size was 8 there, and is 5 now"):
        run_job(request_of(NAMES, shard_size=5))


def test_a_job_begun_with_a_size_goes_on_without_it(worker: FakeWorker, request_of: RequestOf) -> None:
    run_job(request_of(NAMES, shard_size=5))
    assert run_job(request_of(NAMES, shard_size=None)).computed == 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shard_size": 4}, r"--shard-size was 5 there, and is 4 now"),
        ({"settings": {"model": "", "precision": "bf16"}}, r"--precision was not given there, and is 'bf16' now"),
        ({"settings": {"model": "", "threads": 2}}, r"--threads was 1 there, and is 2 now"),
        ({"inputs": ("/a.png",)}, "input 1 was"),
        ({"recursive": True}, "--recursive was False there"),
    ],
)
def test_another_job_is_refused_by_its_difference(
    changes: dict, what: str, worker: FakeWorker, request_of: RequestOf
) -> None:
    request = request_of(NAMES, shard_size=5)
    run_job(request)
    if "settings" in changes:
        changes = {"settings": replace(request.settings, **changes["settings"] | {"model": request.settings.model})}
    with pytest.raises(UserError, match=what):
        run_job(replace(request, **changes))


def test_a_job_without_results_may_become_another(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    request = request_of(NAMES, shard_size=50)
    run_job(request)
    (tmp_path / "job" / "results" / "part-00000000.parquet").unlink()
    assert run_job(request_of(["/other.png"], shard_size=4)).images == 1
    assert worker.computed[-1] == "/other.png"


def test_another_model_is_refused_and_another_name_of_it_is_not(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    request = request_of(NAMES)
    run_job(request)
    moved = (tmp_path / "model.onnx").rename(tmp_path / "moved.onnx")
    again = replace(request, settings=replace(request.settings, model=str(moved), timeout=1.0), retries=9)
    assert run_job(again).computed == 0
    moved.write_bytes(b"another model")
    with pytest.raises(UserError, match="the content of --model was"):
        run_job(again)


def test_foreign_files_are_neither_mixed_in_nor_removed(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    request = request_of(NAMES)
    for name in ("images/part-00000.parquet", "results/mine.parquet"):
        path = tmp_path / "job" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"mine")
        with pytest.raises(UserError, match=rf"holds {path.name}, but no job\.json"):
            run_job(request)
        assert path.read_bytes() == b"mine"
        path.unlink()
        path.parent.rmdir()
    (tmp_path / "job" / "notes.md").write_text("mine")
    run_job(request)
    assert (tmp_path / "job" / "notes.md").read_text() == "mine"
    for name in ("mine.parquet", "part-00000007.parquet"):
        (tmp_path / "job" / "results" / name).write_bytes(b"mine")
        with pytest.raises(UserError, match=f"holds {name}, which is none of the job's"):
            run_job(request)
        (tmp_path / "job" / "results" / name).unlink()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no file of a job"),
        (b"{", "is no file of a job"),
        (b"[]", "has format None"),
        (b'{"format": 2}', "has format 2, expected 1"),
        (b'{"format": 1}', "lacks 'inputs'"),
    ],
)
def test_a_damaged_job_file_is_refused(
    content: bytes, what: str, worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.json").write_bytes(content)
    with pytest.raises(UserError, match=what):
        run_job(request_of(NAMES))


def test_an_unfinished_listing_begins_again(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    # The second list does not exist, which is found when the first one was listed.
    request = request_of(NAMES)
    broken = replace(request, inputs=(*request.inputs, str(tmp_path / "gone.txt")))
    with pytest.raises(UserError, match=r"gone\.txt: cannot be read"):
        run_job(broken)
    assert worker.computed == []
    assert run_job(request).images == len(NAMES)
    assert worker.computed == NAMES


def test_actors_are_told_a_folder_that_means_the_same_for_them(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor of a cluster that ran before has the working directory of the cluster."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    here = run.finish

    def elsewhere(pieces: Any, task: Any, pool: Any, look: Any) -> Iterator[Shard]:
        monkeypatch.chdir(tmp_path / "elsewhere")
        yield from here(pieces, task, pool, look)
        monkeypatch.chdir(tmp_path)

    monkeypatch.setattr(run, "finish", elsewhere)
    assert run_job(replace(request_of(NAMES), output="job")).computed == len(NAMES)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("last", "what"),
    [
        (["/other"], "input 41 was '/last' there, and is '/other' now"),
        ([], "input 41 was '/last' there, and is not given now"),
        (["https://user:word@host/a.txt?key=1"], "input 41 was '/last' there, and is 'https://host/a.txt' now"),
    ],
)
def test_the_first_input_that_differs_is_named_without_secrets(last: list[str], what: str) -> None:
    same = [f"/folder/{number}" for number in range(40)]
    begun = Job(
        format=1, inputs=[*same, "/last"], column=None, recursive=False, model="m", model_sha256="", settings={},
        shard_size=1,
    )  # fmt: skip
    assert difference(begun, replace(begun, inputs=[*same, *last])) == what


def test_one_folder_has_one_job_at_a_time(worker: FakeWorker, request_of: RequestOf, tmp_path: Path) -> None:
    request = request_of(NAMES)
    (tmp_path / "job").mkdir()
    with locked(tmp_path / "job" / "job.lock"), pytest.raises(UserError, match="runs already"):
        run_job(request)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="is a file; expected the name of a folder"):
        run_job(request_of(NAMES, output="file"))


def test_a_full_disk_ends_the_job_and_it_goes_on_later(
    worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    # The first shard is small, the second is larger than any file may be.
    names = [*(["/bad.png"] * 500), *(f"/{number}.png" for number in range(500))]
    request = request_of(names, shard_size=500)
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"part-00000001\.parquet: cannot be written: File too large"):
            run_job(request)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path / "job" / "results") == ["part-00000000.parquet"]
    worker.computed.clear()
    assert run_job(request).failed == 500
    assert worker.computed == names[500:]
