"""A shard holds what its rows say, is read by any reader of Parquet, and is known again."""

import hashlib

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from refinemask.batch.shards import decode, encode, name_of, piece_of, summary  # noqa: E402
from tests.support.batch_rows import row_of  # noqa: E402

NAMES = [*(f"/{number}.png" for number in range(9)), "/bad.png", "/dead.png"]
ROWS = [row_of(name) for name in NAMES]
DATA = encode(ROWS, first=33, piece=3, job="abc")


def test_a_reader_of_parquet_finds_the_rows() -> None:
    table = parquet.read_table(pa.BufferReader(DATA))
    assert [str(field.type) for field in table.schema] == [
        "int64", "string", "int32", "int32", "list<element: fixed_size_list<element: float>[4]>",
        "list<element: float>", "list<element: int32>", "list<element: int32>", "list<element: string>", "string",
    ]  # fmt: skip
    for place, (found, row) in enumerate(zip(table.to_pylist(), ROWS, strict=True)):
        assert found["index"] == 33 + place
        assert (found["image"], found["error"]) == (row.image, row.error)
        assert (found["height"], found["width"]) == (row.height, row.width)
        np.testing.assert_array_equal(np.reshape(found["boxes"], (-1, 4)).astype(np.float32), row.boxes)
        np.testing.assert_array_equal(np.float32(found["scores"]), row.scores)
        assert found["labels"] == row.labels.tolist()
        assert found["category_ids"] == row.category_ids.tolist()
        assert tuple(found["counts"]) == row.counts
    assert {len(row.scores) for row in ROWS} > {0, 1, 2}


def test_equal_rows_give_equal_bytes() -> None:
    assert encode([row_of(name) for name in NAMES], first=33, piece=3, job="abc") == DATA


def test_a_summary_counts() -> None:
    found = summary(DATA, decode(DATA, first=33, count=11, piece=3, job="abc"), 3)
    assert (found.piece, found.rows, found.failed, found.quarantined) == (3, 11, 2, 1)
    assert found.objects == sum(len(row.scores) for row in ROWS)
    assert (found.bytes, found.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.mark.parametrize("error", ["/bad.png", "/dead.png"])
def test_a_shard_of_failures_alone_is_one(error: str) -> None:
    data = encode([row_of(error)], first=0, piece=0, job="abc")
    found = summary(data, decode(data, first=0, count=1, piece=0, job="abc"), 0)
    assert (found.failed, found.objects) == (1, 0)


def test_the_shard_of_another_job_or_piece_is_known() -> None:
    with pytest.raises(ValueError, match="another job"):
        decode(DATA, first=33, count=11, piece=3, job="abd")
    with pytest.raises(ValueError, match="other images"):
        decode(DATA, first=33, count=11, piece=4, job="abc")
    with pytest.raises(ValueError, match="other images"):
        decode(DATA, first=33, count=10, piece=3, job="abc")
    with pytest.raises(ValueError, match="not those of its images"):
        decode(DATA, first=34, count=11, piece=3, job="abc")


def test_every_cut_and_every_changed_page_is_found() -> None:
    random = np.random.default_rng(0)
    for end in [0, 3, *random.integers(4, len(DATA) - 1, 40).tolist(), len(DATA) - 1]:
        with pytest.raises(ValueError, match=r"is damaged|another job|other images"):
            decode(DATA[:end], first=33, count=11, piece=3, job="abc")
    footer = len(DATA) - 8 - int.from_bytes(DATA[-8:-4], "little")
    found = 0
    for place in random.integers(4, footer, 60).tolist():
        changed = DATA[:place] + bytes([DATA[place] ^ 0xFF]) + DATA[place + 1 :]
        try:
            table = decode(changed, first=33, count=11, piece=3, job="abc")
        except ValueError:
            found += 1
        else:
            # A header of a page has bytes that nobody needs.
            assert table.equals(decode(DATA, first=33, count=11, piece=3, job="abc"))
    assert found > 30


def test_names_of_pieces() -> None:
    assert [piece_of(name_of(piece).removeprefix("results/")) for piece in (0, 7, 123456789)] == [0, 7, 123456789]
    for name in ("part-7.parquet", "part-0000000x.parquet", "a.parquet", "part-00000007.csv", "part--0000007.parquet"):
        assert piece_of(name) is None
