"""Annotations name files below their folder, and no others."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinemask.data.annotated import locate, read_annotated, require_files
from refinemask.data.coco import CocoImage
from refinemask.files import UserError


def entry(file_name: str, height: int = 4) -> CocoImage:
    return CocoImage(id=1, file_name=file_name, height=height, width=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    for name in ("sub/a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    Image.fromarray(pixels).save(tmp_path / "outside.png")
    return tmp_path / "images"


@pytest.mark.parametrize("name", ["sub/a.png", "sub\\a.png", "./sub/a.png", "sub/../b.png", ".\\b.png"])
def test_names_below_the_folder_are_read(folder: Path, name: str) -> None:
    assert read_annotated(folder, entry(name)).shape == (4, 6, 3)
    require_files([entry(name)], folder, "a.json")


def test_absolute_names_may_lead_below_the_folder_and_links_anywhere(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder.parent / "alias").symlink_to(folder)
    for directory in (folder, folder.parent / "alias"):
        for name in ("link.png", str(folder / "b.png"), str(directory / "sub" / "a.png")):
            assert read_annotated(directory, entry(name)).shape == (4, 6, 3)


@pytest.mark.parametrize(
    "name",
    ["/data/of/another/machine/sub/a.png", "C:\\data\\sub\\a.png", "images/sub/a.png", "train/sub/a.png", "sub/a.PNG",
     "https://images.example/v1/sub/a.png?size=l", "file:///data/sub/a.png", "sub%2Fa.png"],
)  # fmt: skip
def test_files_are_found_by_the_last_parts_of_their_names(folder: Path, name: str) -> None:
    assert locate(folder, name) == folder / "sub" / "a.png"
    require_files([entry(name)], folder, "a.json")


@pytest.mark.parametrize("name", ["my picture.png", "café.png", "picture.PNG", "no_ending"])
def test_names_of_any_characters_are_read(folder: Path, name: str) -> None:
    Image.new("RGB", (6, 4)).save(folder / name, "PNG")
    assert read_annotated(folder, entry(name)).shape == (4, 6, 3)


def test_spaces_may_be_escaped_and_endings_in_capitals(folder: Path) -> None:
    Image.new("RGB", (6, 4)).save(folder / "my picture.PNG")
    for name in ("my%20picture.PNG", "my picture.png", "other/my%20picture.png"):
        assert locate(folder, name) == folder / "my picture.PNG"


def test_files_found_elsewhere_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_files([entry("b.png"), entry("sub\\a.png")], folder, "a.json")
    assert not capsys.readouterr().err
    require_files([entry("train/b.png"), entry("x/sub/a.png"), entry("x/sub/a.png")], folder, "a.json")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("a.json: mended: 2 file names that lead elsewhere, the first is 'train/b.png' (found as ")


def test_two_names_do_not_lead_to_one_file(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'train/b.png' and 'val/b.png' of a.json both lead to this file"):
        require_files([entry("train/b.png"), entry("val/b.png")], folder, "a.json")


def test_a_file_with_a_backslash_in_its_name_is_itself(folder: Path) -> None:
    Image.new("RGB", (6, 4), "red").save(folder / "sub\\a.png")
    assert (read_annotated(folder, entry("sub\\a.png")) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://images/a.png", "is a URL"),
        ("../outside.png", "is not below the folder"),
        ("..\\outside.png", "is not below the folder"),
        ("sub/../../outside.png", "is not below the folder"),
        ("/dev/zero", "is not below the folder"),
        ("/etc/passwd", "is not below the folder"),
        ("sub", "is no regular file"),
        ("pipe", "is no regular file"),
        ("", "is no regular file"),
        ("a\x00.png", "no file there can have the name"),
        ("\ud800.png", "no file there can have the name"),
    ],
)
def test_other_names_are_refused(folder: Path, name: str, message: str) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match=message) as error:
        read_annotated(folder, entry(name))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        require_files([entry(name)], folder, "a.json")


@pytest.mark.parametrize("name", ["absent.png", "sub/absent.png", "b.png/a.png", "ä" * 300])
def test_names_of_no_file_are_missing(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"1 of the 2 files for the images of a\.json are missing") as error:
        require_files([entry("b.png"), entry(name)], folder, "a.json")
    assert str(error.value).isprintable()
    with pytest.raises(UserError):
        read_annotated(folder, entry(name))
    with pytest.raises(UserError):
        locate(folder, f"../{name}")


def test_a_picture_of_another_size_is_refused_with_both(folder: Path) -> None:
    with pytest.raises(UserError, match=r"is 4x6 \(height x width, upright by its EXIF .*annotated at 8x6; annotate"):
        read_annotated(folder, entry("b.png", height=8))
