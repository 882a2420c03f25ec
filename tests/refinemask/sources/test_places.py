import os
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinemask.sources.places import Places

NAMES = st.sampled_from(
    ["a", "A", "a-2", "A-2", "b", "\u00e4", "a\u0308", "clip", "000001", "000001-2", "..", "x" * 255]
)
IMAGES = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: ("image", PurePosixPath(*parts)))
VIDEOS = NAMES.map(lambda name: ("video", PurePosixPath(name)))


@given(st.lists(IMAGES | VIDEOS, max_size=12))
def test_no_output_has_the_place_of_another(given: list[tuple[str, PurePosixPath]]) -> None:
    places = Places()
    found: list[PurePosixPath] = []
    for kind, place in given:
        if kind == "image":
            found.append(places.of_image(place))
        else:
            stem = PurePosixPath(places.of_numbered(place.name))
            found += [stem, stem / "000000", stem / "000001"]
    # macOS and Windows have one file for names that differ only in case, or in how Unicode composes a letter.
    assert len({unicodedata.normalize("NFD", str(place)).lower() for place in found}) == len(found)
    assert all(len(os.fsencode(f"{place.name}.json")) <= 255 for place in found)


def test_places_are_numbered_as_pictures_are() -> None:
    places = Places()
    assert [str(places.of_image(PurePosixPath(name))) for name in ("x/a", "a", "a", "a-2", "x/a", "x")] == [
        "x/a",
        "a",
        "a-2",
        "a-2-2",
        "x/a-2",
        "x",
    ]
    assert places.of_numbered("a") == "a-3"
    assert places.of_numbered("clip") == "clip"
    assert str(places.of_image(PurePosixPath("clip/000012"))) == "clip/000012-2"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_is_none_becomes_one(name: str) -> None:
    assert str(Places().of_image(PurePosixPath(name))) == "image"
