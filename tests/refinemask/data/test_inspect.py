"""The command that looks into a data set."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from refinemask.bundled import NUCLEI
from refinemask.data.inspect import Args, main
from tests.support.hidden import ROOT, without
from tests.support.own_data import clean, square, write_own_data


def run(*arguments: str | Path, hidden: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "refinemask.data.inspect", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=without(hidden), capture_output=True, text=True)


def test_clean_data_end_with_0_and_one_line_of_what_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    assert main(Args(annotations=annotations, images=images)) == 0
    out = capsys.readouterr().out
    assert "training: nothing to mend" in out
    assert out.splitlines()[-1] == "training would use 24 of 24 objects, and lose 0.0 %"


def test_too_many_losses_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = {name: [*group, square(iscrowd=1)] for name, group in clean().items()}
    annotations, images = write_own_data(tmp_path, objects)
    assert main(Args(annotations=annotations, images=images)) == 1
    out = capsys.readouterr().out
    assert "training would lose 33.3 % of the objects, more than the 5.0 % of --tolerate" in out
    assert "--crowd-as-object" in out
    assert main(Args(annotations=annotations, images=images, tolerate=0.34)) == 0
    assert main(Args(annotations=annotations, images=images, crowd_as_object=True)) == 0


def test_the_ending_of_the_output_chooses_its_kind(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    assert main(Args(annotations=annotations, images=images, output=tmp_path / "new" / "a.json")) == 0
    assert json.loads((tmp_path / "new" / "a.json").read_text())["passed"] is True
    assert main(Args(annotations=annotations, images=images, output=tmp_path / "a.HTML", pictures=0)) == 0
    assert (tmp_path / "a.HTML").read_text().startswith("<!doctype html>")


def test_the_output_is_written_where_training_would_lose_too_much(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, {"a.png": [square(iscrowd=1)]})
    assert main(Args(annotations=annotations, images=images, output=tmp_path / "a.json")) == 1
    assert json.loads((tmp_path / "a.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"output": Path("a.pdf")}, "error: --output a.pdf: expected a name that ends in .html (the page) or .json"),
        ({"output": Path("train.json")}, "error: train.json: is read by this very command"),
        ({"pictures": -1}, "error: --pictures is -1; expected at least 0"),
        ({"seed": -1}, "error: --seed is -1; expected at least 0"),
        ({"val_images": Path("images")}, "error: --val-images images: needs --val-annotations"),
        ({"tolerate": 2.0}, "error: --tolerate is 2.0; expected a share from 0 to 1"),
        ({"annotations": Path("absent.json")}, "error: absent.json: no such file"),
        ({"images": Path("absent")}, "error: absent: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, object],
    line: str,
) -> None:
    write_own_data(tmp_path, clean(1))
    monkeypatch.chdir(tmp_path)
    given: dict[str, object] = {"annotations": Path("train.json"), "images": Path("images"), **options}
    assert main(Args(**given)) == 2  # type: ignore[arg-type]
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith(line)


def test_names_are_no_markup_of_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = {1: "[red]cat[/red]", 2: "dog\x1b[31m"}
    annotations, images = write_own_data(tmp_path / "[bold]", clean(), classes=classes)
    assert main(Args(annotations=annotations, images=images)) == 0
    out = capsys.readouterr().out
    assert "[red]cat[/red]" in out
    assert "[bold]" in out
    assert "\x1b" not in out


def test_it_runs_without_pytorch_and_prints_plain_text(tmp_path: Path) -> None:
    annotations = NUCLEI / "annotations" / "instances_train.json"
    ended = run(annotations, "--images", NUCLEI / "images", "-o", tmp_path / "a.json", hidden=["torch"])
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert "5,595" in ended.stdout
    assert ended.stdout.splitlines()[-1] == str(tmp_path / "a.json")


def test_a_recipe_needs_pytorch_and_says_so(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean(1))
    ended = run(annotations, "--images", images, "--recipe", "nuclei-demo", hidden=["torch"])
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: --recipe needs torch, which is not installed; pip install 'refinemask[train]', or")


def test_pictures_need_supervision_and_say_so_before_the_work(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean(1))
    ended = run(annotations, "--images", images, "-o", tmp_path / "a.html", hidden=["supervision"])
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.endswith("pip install 'refinemask[draw]', or leave them out with --pictures 0")
    assert not (tmp_path / "a.html").exists()
    options = ("--images", images, "-o", tmp_path / "a.html", "--pictures", "0")
    assert run(annotations, *options, hidden=["supervision"]).returncode == 0
