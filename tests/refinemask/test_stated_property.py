"""What a file says of itself, without a reader of ONNX."""

from pathlib import Path

import onnx
import pytest

from refinemask.contract import Metadata
from refinemask.files import UserError
from refinemask.stated_property import stated_property
from tests.support.toy_onnx import write_toy_onnx


def test_it_is_what_the_reader_of_onnx_finds(tiny_files: tuple[Path, Path]) -> None:
    for name, value in ((entry.key, entry.value) for entry in onnx.load(tiny_files[1]).metadata_props):
        assert stated_property(tiny_files[1], name) == value
    assert stated_property(tiny_files[1], "precision") == Metadata.of_file(tiny_files[1]).precision


def test_the_last_one_counts_and_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    write_toy_onnx(path)
    model = onnx.load(path)
    assert stated_property(path, "colour") is None
    for value in ("blue", "green"):
        model.metadata_props.add(key="colour", value=value)
    onnx.save(model, path)
    assert stated_property(path, "colour") == "green"


@pytest.mark.parametrize("content", [b"", b"\x72\x05ab", b"\x72\x02\x0a\x09"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.onnx"):
        stated_property(path, "precision")
