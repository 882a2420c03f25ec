import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.categories import read_categories
from refinemask.files import UserError


def test_categories_are_read_in_the_order_of_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"images": 5, "categories": [{"id": 3, "name": "b", "supercategory": "x"}, {"id": -1, "name": "a"}]}
    path.write_text(json.dumps(content))
    assert list(read_categories(path).items()) == [(-1, "a"), (3, "b")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "expected object"),
        ({}, "lacks 'categories'"),
        ({"categories": []}, "is empty"),
        ({"categories": [{"id": 1}]}, "lacks 'name'"),
        ({"categories": [{"id": 1, "name": None}]}, "expected text, found null"),
        ({"categories": [{"id": 2**70, "name": "a"}]}, "categories"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "an id of several categories"),
    ],
)
def test_files_without_categories_are_refused(tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"a\.json: .*{reason}"):
        read_categories(path)
