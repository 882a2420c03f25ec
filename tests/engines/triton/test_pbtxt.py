"""The text format, read back by protocol buffers themselves."""

from typing import Any

import pytest

from engines.triton.pbtxt import Message, Word, to_pbtxt
from tests.support.triton_config import parse_config

TEXTS = (
    "plain",
    "",
    '"quoted" and \\',
    "two\nlines\ttab\r",
    "ümlaut, 核, \U0001f9ea",
    "\x00\x7f1",
    "\\n 'x' {}",
    "a" * 5000,
)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text(text: str) -> None:
    config = parsed({"name": text, "parameters": {"key": text, "value": {"string_value": text}}})
    assert config.name == text
    assert config.parameters[text].string_value == text


def test_kinds_of_values() -> None:
    config = parsed(
        {
            "max_batch_size": 4,
            "input": [
                {"name": "a", "data_type": Word("TYPE_UINT8"), "dims": [-1, 3], "optional": True},
                {"name": "b", "data_type": Word("TYPE_STRING"), "dims": [], "optional": False},
            ],
            "dynamic_batching": {},
        }
    )
    assert config.max_batch_size == 4
    assert [list(each.dims) for each in config.input] == [[-1, 3], []]
    assert [each.optional for each in config.input] == [True, False]
    assert config.input[0].data_type == 2
    assert config.HasField("dynamic_batching")


def parsed(message: Message) -> Any:
    return parse_config(to_pbtxt(message))
