"""Jobs whose images and results lie in a store that speaks S3's protocol."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
moto = pytest.importorskip("moto.server")

from refinemask.batch import storage  # noqa: E402
from refinemask.batch.inputs import references  # noqa: E402
from refinemask.batch.run import Request, run_job  # noqa: E402
from refinemask.batch.storage import read_bytes  # noqa: E402
from refinemask.files import UserError  # noqa: E402
from tests.support.batch_rows import FakeWorker  # noqa: E402

RequestOf = Callable[..., Request]
BUCKET = "s3://bucket"
PICTURES = ["2026-01/a.png", "2026-01/b?[1] ü#%20.jpg", "2026-02/c.png", "2026-02/note.md"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """PyArrow's file system of a server of this machine, whose bucket holds pictures and a list of them."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret",
             "REGION": "us-east-1"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    # A file system keeps the address of its server.
    storage._opened_system.cache_clear()
    from pyarrow.fs import S3FileSystem

    files = S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True)
    files.create_dir("bucket")
    for name in PICTURES:
        write(files, f"bucket/pictures/{name}", name.encode())
    write(files, "bucket/list.txt", f"{BUCKET}/pictures/{PICTURES[0]}\n{BUCKET}/gone.png\n".encode())
    yield files
    storage._opened_system.cache_clear()
    server.stop()


def write(files: Any, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as stream:
        stream.write(data)


def test_folders_patterns_lists_and_images(store: Any) -> None:
    a, b, c, _ = (f"{BUCKET}/pictures/{name}" for name in PICTURES)
    assert list(references([f"{BUCKET}/pictures"], recursive=True)) == [a, b, c]
    assert list(references([f"{BUCKET}/pictures/2026-01/"])) == [a, b]
    assert list(references([f"{BUCKET}/pictures/*/*.png"])) == [a, c]
    assert list(references([f"{BUCKET}/list.txt", c])) == [a, f"{BUCKET}/gone.png", c]
    for reference, name in zip((a, b, c), PICTURES, strict=False):
        assert read_bytes(reference) == name.encode()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (f"{BUCKET}/picturs", r"^s3://bucket/picturs: cannot be read: no such file or folder$"),
        ("s3://buckt/pictures", r"^s3://buckt/pictures: cannot be read: no such file or folder$"),
        (f"{BUCKET}/pictures/*.gif", "no file matches"),
        (f"{BUCKET}/pictures", "the folder holds no image"),
    ],
)
def test_what_is_misspelt_is_refused(word: str, message: str, store: Any) -> None:
    with pytest.raises(UserError, match=message):
        list(references([word]))


def test_an_image_that_has_gone_is_named(store: Any) -> None:
    with pytest.raises(UserError, match=r"^s3://bucket/gone\.png: cannot be read: "):
        read_bytes(f"{BUCKET}/gone.png")


def test_a_job_leaves_what_one_of_this_machine_leaves_and_goes_on(
    store: Any, worker: FakeWorker, request_of: RequestOf, tmp_path: Path
) -> None:
    here = request_of([f"/{number}.png" for number in range(9)] + ["/bad.png"], shard_size=4)
    run_job(replace(here, to_coco=tmp_path / "here.json"))
    there = replace(here, output=f"{BUCKET}/out/job", to_coco=tmp_path / "there.json")
    run_job(there)
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()
    shards = {path.name: path.read_bytes() for path in (tmp_path / "job" / "results").iterdir()}
    assert len(shards) == 3
    found = {name: read_bytes(f"{BUCKET}/out/job/results/{name}") for name in shards}
    assert found == shards

    store.delete_file("bucket/out/job/results/part-00000001.parquet")
    worker.computed.clear()
    assert run_job(there).computed == 4
    assert worker.computed == [f"/{number}.png" for number in range(4, 8)]
    assert read_bytes(f"{BUCKET}/out/job/results/part-00000001.parquet") == shards["part-00000001.parquet"]


def test_results_for_a_bucket_that_is_not_there(store: Any, worker: FakeWorker, request_of: RequestOf) -> None:
    with pytest.raises(UserError, match=r"^s3://buckt/job/job\.json: cannot be written: "):
        run_job(replace(request_of(["/1.png"]), output="s3://buckt/job"))
