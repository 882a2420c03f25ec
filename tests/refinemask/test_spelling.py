"""One spelling on every command line, and the older ones."""

from dataclasses import dataclass

import pytest
import tyro

from refinemask.config import Window
from refinemask.files import UserError
from refinemask.spelling import (
    SECOND,
    Model,
    Old,
    OldSide,
    OptionalOutput,
    OptionalPath,
    OptionalSides,
    OptionalWindow,
    Shape,
    Size,
    respell,
)

OLD: dict[str, Old | OldSide] = {
    "--checkpoint": Old(""),
    "--out": Old("--output"),
    "--canvas": Old("--size", numbers=2),
    "--opt-shape": Old("--opt-shape", numbers=3),
    "--height": OldSide("--size", 0, (800, 1344)),
    "--width": OldSide("--size", 1, (800, 1344)),
}


@dataclass(frozen=True, kw_only=True)
class Args:
    """What a command takes."""

    model: Model
    output: OptionalOutput = None
    timing_cache: OptionalPath = None
    size: Size = (800, 1344)
    opt_shape: Shape | None = None
    sides: OptionalSides = None
    kinds: tuple[str, ...] = ()
    window: OptionalWindow = None


@pytest.mark.parametrize(
    "line",
    [
        "m.onnx -o out.json --size 64x96 --opt-shape 2x64x96 --kinds a b",
        "--kinds a b --output out.json --size 64x96 --opt-shape 2x64x96 --checkpoint m.onnx",
        "--checkpoint=m.onnx --out=out.json --canvas 64 96 --opt_shape 2 64 96 --kinds a b",
        "m.onnx --out out.json --canvas=64x96 --opt-shape=2x64x96 --kinds a b",
    ],
)
def test_old_and_new_spellings_mean_the_same(line: str) -> None:
    args = tyro.cli(Args, args=respell(line.split(), OLD))
    assert (str(args.model), str(args.output), args.size) == ("m.onnx", "out.json", (64, 96))
    assert args.opt_shape == (2, 64, 96)
    assert args.kinds == ("a", "b")


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("--height 64 --width 96", (64, 96)),
        ("--width 96 --kinds a b --height=64", (64, 96)),
        ("--height 64", (64, 1344)),
        ("--width 96", (800, 96)),
    ],
)
def test_a_side_that_had_an_option_of_its_own_leaves_the_other_as_it_is(line: str, size: tuple[int, int]) -> None:
    assert tyro.cli(Args, args=respell(["m.onnx", *line.split()], OLD)).size == size


def test_a_side_without_a_number_is_refused() -> None:
    with pytest.raises(UserError, match="size 'x1344': expected"):
        tyro.cli(Args, args=respell(["m.onnx", "--height"], OLD))


def test_a_value_with_an_equals_sign_stays_with_its_option() -> None:
    assert respell(["--output=-x/", "--checkpoint=a=b.onnx"], OLD) == ["a=b.onnx", "--output=-x/"]


def test_numbers_of_other_options_stay_apart() -> None:
    assert respell(["--limit", "3", "4"], OLD) == ["--limit", "3", "4"]
    assert respell(["--canvas", "64"], OLD) == ["--size", "64"]
    assert respell(["--checkpoint"], OLD) == []


@pytest.mark.parametrize("line", ["a.pth b.st", "a.pth -o b.st", "-o b.st a.pth", "a.pth --output=b.st"])
def test_a_second_positional_argument_may_have_become_an_option(line: str) -> None:
    words = respell(line.split(), {SECOND: Old("--output")})
    args = tyro.cli(Args, args=words)
    assert (str(args.model), str(args.output)) == ("a.pth", "b.st")


def test_the_help_shows_the_new_spelling_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(Args, args=["--help"])
    text = capsys.readouterr().out
    assert "MODEL" in text
    assert "--size HxW" in text
    assert "800x1344" in text
    assert "--timing-cache PATH" in text
    assert "--checkpoint" not in text


@pytest.mark.parametrize(("option", "text"), [("--size", "64"), ("--size", "64x"), ("--opt-shape", "64x96")])
def test_a_wrong_size_is_named(option: str, text: str) -> None:
    with pytest.raises(UserError, match=f"'{text}': expected|'96': expected"):
        tyro.cli(Args, args=["m.onnx", option, text])


def test_sides_are_written_with_an_x() -> None:
    assert tyro.cli(Args, args=["m.onnx", "--sides", "800x1333"]).sides == (800, 1333)
    assert tyro.cli(Args, args=["m.onnx"]).sides is None


@pytest.mark.parametrize("text", ["800", "800x", "axb", "800x1333x3", "-1x5", "٣x٤", "9" * 5000 + "x1"])
def test_other_sides_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected SHORTxLONG in pixels, such as 800x1333"):
        tyro.cli(Args, args=["m.onnx", f"--sides={text}"])


@pytest.mark.parametrize(
    ("line", "window"),
    [
        ("m.onnx --window 0 4095 --size 64x96", Window(low=0, high=4095)),
        ("m.onnx --window -1000 -5.5", Window(low=-1000, high=-5.5)),
        ("--window percentile 0.1 99.9 --out a.json m.onnx", Window(low=0.1, high=99.9, percentile=True)),
        ("m.onnx", None),
    ],
)
def test_a_window_is_two_values_or_two_percentiles(line: str, window: Window | None) -> None:
    assert tyro.cli(Args, args=respell(line.split(), OLD)).window == window


def test_a_window_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"^--window 9: expected --window LOW HIGH"):
        tyro.cli(Args, args=["--window", "9", "m.onnx"])
