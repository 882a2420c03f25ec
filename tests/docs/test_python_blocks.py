"""Python code of the pages compiles, and what it takes of our packages exists."""

from pathlib import Path

import pytest

from tests.support.markdown_pages import Page, pages
from tests.support.python_blocks import LANGUAGES, code_faults, python_faults


@pytest.mark.parametrize("page", [page for page in pages() if page.fences(*LANGUAGES)], ids=str)
def test_all_python_code_takes_what_exists(page: Page) -> None:
    assert not python_faults(page)


def test_some_page_has_python_code() -> None:
    assert any(page.fences(*LANGUAGES) for page in pages())


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("for x in 1, 2", "expected ':'"),
        ("import engines.vino", "engines.vino cannot be imported"),
        ("from refinemask.weights import load", "refinemask.weights.load cannot be imported"),
        ("from refinemask.nothing import load", "refinemask.nothing.load cannot be imported"),
        ("import engines\n\nengines.open('a.onnx')", "engines.open does not exist"),
        ("import engines\n\ndef f():\n    return engines.Engine.predicts", "engines.Engine.predicts does not exist"),
        ("import engines as e\n\ne.load('a.onnx', engine='openvino')", "e.load takes no engine"),
        ("from export import Bounds\n\nBounds(least=1)", "Bounds takes no least"),
    ],
)
def test_code_that_could_not_run_is_found(code: str, fault: str) -> None:
    assert [reason for _, reason in code_faults(code)] == [fault]


@pytest.mark.parametrize(
    "code",
    [
        "import engines, export, refinemask\n\nmodel = engines.load('a.onnx', backend='openvino')\nmodel.predict([])",
        "import refinemask.data.coco\n\nrefinemask.data.coco.read_coco('a.json')",
        "from refinemask import evaluation, train\n\ntrain(plan)\nevaluation.run",
        "import engines\n\nengines = load()\nengines.anything",
        "import numpy as np\n\nnp.nothing",
        "    x = 1\n    y = 2",
    ],
)
def test_good_code_is_no_fault(code: str) -> None:
    assert not list(code_faults(code))


def test_a_fault_is_given_with_its_line(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md", "# A page\n\n```python\nimport engines\n\nengines.open()\n```\n")
    assert python_faults(page) == ["page.md:6: engines.open does not exist"]
