"""The table of training runs: read from their directories, measured on both sets, refused where a run is not whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.training import Args, main
from tests.support import tiny_training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, ``data`` beside it."""
    root = tmp_path_factory.mktemp("training")
    tiny_training.draw_dataset(root / "data")
    # In a process of its own: PyTorch's training and the engines' runtimes do not share one.
    options = ["--data-root", root / "data", "--output", root / "run", "--workers", "0", "--log-every", "1"]
    command = [sys.executable, tiny_training.__file__, "--recipe", "tiny", "--evaluate-every", "0", *map(str, options)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, env={"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"})
    return root / "run"


def test_table_and_curves(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "result.json"
    assert main(Args(runs=(run, run), data_root=run.parent / "data", output=output, limit=3)) == 0
    first, second = json.loads(output.read_text())["runs"]
    assert (first["recipe"], first["iterations"], first["epochs"], first["batch_size"]) == ("tiny", 4, 2.0, 4)
    assert first["accuracy"] == second["accuracy"]
    assert first["evaluated_images"] == 3
    # The recipe validates on its training images.
    assert first["accuracy"]["training images"] == first["accuracy"]["held-out images"]
    assert set(first["accuracy"]["training images"]) == {"bbox", "segm", "boundary"}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [point["loss"] for point in first["curve"]] == [record["loss"] for record in records]
    assert "<svg" in output.with_suffix(".svg").read_text()
    assert "boundary AP" in capsys.readouterr().out.replace("\n", " ")


def test_a_run_that_stopped_early_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "recipe.json").write_text((run / "recipe.json").read_text())
    (half / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().splitlines()[0] + "\n")
    assert main(Args(runs=(half,), data_root=run.parent / "data", output=tmp_path / "result.json")) == 2
    assert "stopped in epoch 0.5 of 2; go on with its command and --resume auto" in capsys.readouterr().err


def test_a_run_that_stopped_by_itself_and_without_held_out_images_has_a_row(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "last.safetensors").symlink_to(run / "last.safetensors")
    recipe = json.loads((run / "recipe.json").read_text()) | {"validation": None}
    recipe["data"] |= {name: str(run.parent / "data" / recipe["data"][name]) for name in ("annotations", "images")}
    recipe["train"]["epochs"] = 9
    (own / "recipe.json").write_text(json.dumps(recipe))
    end = json.dumps({"iteration": 4, "epoch": 2, "stopped_early": "3 evaluations without a gain"})
    (own / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text() + end + "\n")
    # The recipe's paths are absolute: no data root changes them.
    assert main(Args(runs=(own,), data_root=tmp_path, output=tmp_path / "result.json", limit=1)) == 0
    [row] = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert list(row["accuracy"]) == ["training images"]
    assert row["epochs"] == 2
    assert "–" in capsys.readouterr().out


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(runs=(tmp_path,), data_root=tmp_path, output=tmp_path / "result.json")) == 2
    assert "expected the directory of a run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("recipe.json", "[" * 100_000),
        ("recipe.json", '{"name": "a", "train": 5, "data": {}, "validation": {}}'),
        ("metrics.jsonl", ""),
        ("metrics.jsonl", "[]"),
        ("metrics.jsonl", '{"loss": 1}'),
        ("metrics.jsonl", '{"loss": null, "epoch": 2}'),
    ],
)
def test_a_damaged_run_is_one_line(
    file: str, text: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("recipe.json", "metrics.jsonl"):
        (damaged / name).write_text((run / name).read_text() if name != file else text)
    assert main(Args(runs=(damaged,), data_root=run.parent / "data", output=tmp_path / "result.json")) == 2
    error = capsys.readouterr().err
    assert "expected the directory of a run of python -m refinemask.train" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["recipe.json", "last.safetensors"])
def test_a_runs_own_file_is_no_output(name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / name).read_bytes()
    assert main(Args(runs=(run,), data_root=run.parent / "data", output=run / name)) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert (run / name).read_bytes() == before


def test_the_figure_is_not_the_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(runs=(run,), data_root=run.parent / "data", output=tmp_path / "result.svg")) == 2
    assert "the figure takes this name" in capsys.readouterr().err


def test_a_recipe_that_lacks_a_part_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    recipe = json.loads((run / "recipe.json").read_text())
    del recipe["validation"]
    (other / "recipe.json").write_text(json.dumps(recipe))
    (other / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text())
    assert main(Args(runs=(other,), data_root=run.parent / "data", output=tmp_path / "result.json")) == 2
    assert (
        "expected the directory of a run of python -m refinemask.train: lacks 'validation'" in capsys.readouterr().err
    )
