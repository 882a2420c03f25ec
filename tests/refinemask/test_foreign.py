import pytest

from refinemask.files import UserError
from refinemask.foreign import LONGEST, foreign_errors, one_line, reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n  first\nsecond", "first"),
        ("a\x1b[31mred\x07\tb", "a [31mred b"),
        ("ä é 漢", "ä é 漢"),
        ("\x00\x85\u2028", "no reason given"),
        ("", "no reason given"),
    ],
)
def test_a_foreign_text_is_one_line_without_control_characters(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_text_is_cut() -> None:
    assert one_line("x" * 10_000) == "x" * (LONGEST - 1) + "…"


def test_the_cause_stands_last_where_places_in_a_source_come_first() -> None:
    assert reason(RuntimeError("Exception from src/a.cpp:1:\nException from src/b.cpp:2:\nthe cause")) == "the cause"
    assert reason(KeyError()) == "KeyError"


def test_errors_of_a_library_are_named_and_our_own_stay_as_they_are() -> None:
    with (
        pytest.raises(UserError, match=r"^m\.onnx: fails: 5; export it again$"),
        foreign_errors("m.onnx: fails", "export it again"),
    ):
        raise RuntimeError(5)
    with pytest.raises(UserError, match=r"^ours$"), foreign_errors("m.onnx: fails"):
        raise UserError("ours")
    with pytest.raises(KeyboardInterrupt), foreign_errors("m.onnx: fails"):
        raise KeyboardInterrupt
