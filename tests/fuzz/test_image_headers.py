"""Headers of damaged image files: what is said of a file is what decoding it says, and nothing else is raised."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from refinemask.data.coco import CocoImage
from refinemask.data.images import read_image
from refinemask.data.inspection.image_files import look_at_files
from refinemask.files import UserError
from tests.fuzz.conftest import Seeds
from tests.support.mutations import LONGEST_MESSAGE, mutated_bytes
from tests.support.own_data import noise

HEIGHT, WIDTH = 24, 40


def encoded(kind: str) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    stream = BytesIO()
    picture = Image.fromarray(noise(0, HEIGHT, WIDTH))
    if kind == "GIF":
        picture.convert("P").save(stream, kind)
    else:
        picture.save(stream, kind, exif=tags)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_a_damaged_file_has_a_problem_or_the_size_of_its_picture(seeds: Seeds, tmp_path: Path, kind: str) -> None:
    content, path = encoded(kind), tmp_path / "a"
    unread = 0
    for random in seeds(40):
        path.write_bytes(mutated_bytes(content, random))
        size = decoded_size(path)
        [file] = look_at_files([CocoImage(1, "a", *(size or (WIDTH, HEIGHT)))], tmp_path)
        assert "\n" not in file.reason
        assert len(file.reason) < LONGEST_MESSAGE
        assert file.problem != "missing"
        if size is None:
            unread += 1
        elif file.problem is not None:
            # OpenCV and Pillow may disagree on a damaged orientation, and on nothing else.
            assert file.problem != "unreadable", file.reason
            assert f"is {size[1]}x{size[0]} (height x width" in file.reason
    assert unread


def decoded_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the decoded picture; None if it cannot be decoded."""
    try:
        height, width = read_image(path).shape[:2]
    except UserError:
        return None
    return height, width
