from pathlib import Path
from typing import Any

import pytest

from refinemask.files import UserError
from refinemask.official.stored_config import LONGEST_TEXT, Unknown, lookup, parse_settings, stored_settings
from tests.support.official_files import mmdetection_2


def test_plain_values_are_read() -> None:
    text = """
base = dict(mean=[1, 2.5, -3], to_rgb=True)
model = dict(type='A', inner=dict(none=None, pair=(1, 2)), **base)
copy = model
data = {'x': {'y': [dict(z=1), dict(z=2)]}}
a = b = 7
"""
    settings = parse_settings(text)
    assert settings["model"] == {
        "type": "A", "inner": {"none": None, "pair": [1, 2]}, "mean": [1, 2.5, -3], "to_rgb": True,
    }  # fmt: skip
    assert settings["copy"] == settings["model"]
    assert (settings["a"], settings["b"]) == (7, 7)
    assert list(lookup(settings, "data.x.y.z")) == [("data.x.y[0].z", 1), ("data.x.y[1].z", 2)]
    assert list(lookup(settings, "model.inner.absent")) == []


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').mkdir('owned')", "open('owned', 'w')", "[x for x in (1,)]", "f'{1}'", "2 * 3", "1 if 1 else 2",
     "name", "(lambda: 1)()", "dict([('a', 1)])", "a.b", "dict(**other)", "list((1, 2))"],
)  # fmt: skip
def test_what_must_be_run_is_unknown_and_not_run(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = parse_settings(f"before = 1\nvalue = {expression}\nafter = dict(inner={expression})")
    assert isinstance(settings["value"], Unknown)
    assert isinstance(settings["after"]["inner"], Unknown)
    assert settings["before"] == 1
    assert not list(tmp_path.iterdir())


def test_statements_are_not_run() -> None:
    text = "import os\nif True:\n    x = 1\nfor i in range(10**10):\n    pass\nclass A:\n    y = 1\nz = 2\ndel z\n"
    assert parse_settings(text) == {"z": 2}


@pytest.mark.parametrize(
    "text",
    ["x = (", "(" * 1000, "-" * 100_000 + "1", "x = " + "a." * 50_000 + "a", "x = " + "[" * 5000, "9" * 10_000 + " = 1",
     "\x00", "\ud800", "x" * (LONGEST_TEXT + 1), "x = " + "not " * 50_000 + "1", "x=" + "{1:" * 3000, "\t x = 1\n y",
     "x = " + "a." * 499_000 + "a", "x = a" + "()" * 499_000, "x = a" + "[0,0]" * 190_000,
     "x = " + "1+" * 499_000 + "1", "x = " + "a.\\\r\n" * 190_000 + "a", "x = f'{" + "a." * 499_000 + "a}'",
     "x = (" + "a.\n" * 330_000 + "a)", "x = " + "a.\\\n" * 249_000 + "a"],
)  # fmt: skip
def test_text_that_is_no_configuration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="unreadable configuration") as error:
        parse_settings(text)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_long_texts_that_are_not_deep_are_read() -> None:
    names = [f"a name, no. {number}; ({number})" for number in range(20_000)]
    text = f"# {'a.' * 2000}\nx = {names!r}\ny = '{'a.' * 2000}'\n" + "z = dict(a=1.5)\n" * 2000
    assert parse_settings(text) == {"x": names, "y": "a." * 2000, "z": {"a": 1.5}}


def test_the_text_is_found_in_the_metadata_of_both_versions() -> None:
    assert stored_settings({"config": "x = 1"}) == {"x": 1}
    assert stored_settings({"cfg": "x = 1"}) == {"x": 1}
    assert stored_settings({"config": {"x": 1}}) == {"x": 1}
    metas: list[dict[str, Any]] = [{}, {"config": None}, {"config": ""}, {"cfg": 5}, {"config": []}]
    for meta in metas:
        assert stored_settings(meta) == {}


def test_a_stored_configuration_is_read_whole() -> None:
    settings = parse_settings(mmdetection_2())
    assert settings["data"]["test"]["pipeline"][1]["img_scale"] == [1333, 800]
    assert isinstance(settings["gpu_ids"], Unknown)
