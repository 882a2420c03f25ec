"""The resumable state: whole, of this run, and refused otherwise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from refinemask.config import TrainConfig
from refinemask.files import UserError
from refinemask.training.checkpoint import Progress, load_state, save_state
from refinemask.training.fingerprint import Fingerprint

RUN = Fingerprint.of([])


def parts(seed: int) -> dict[str, nn.Module | torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


def test_everything_comes_back(tmp_path: Path) -> None:
    saved, other = parts(0), parts(1)
    save_state(tmp_path / "state.pt", saved, Progress(iteration=7, best_ap=0.25), RUN)
    expected = torch.rand(3)
    assert load_state(tmp_path / "state.pt", other, RUN) == Progress(iteration=7, best_ap=0.25)
    assert torch.rand(3).equal(expected)
    for name in saved:
        assert str(saved[name].state_dict()) == str(other[name].state_dict())


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    first, more = Fingerprint.of([1, 2], train=TrainConfig()), Fingerprint.of([1, 2, 3], train=TrainConfig())
    second = Fingerprint.of([1, 2], train=replace(TrainConfig(), batch_size=4, epochs=3))
    save_state(tmp_path / "state.pt", parts(0), Progress(), first)
    with pytest.raises(
        UserError, match=r"another run \(train\.epochs is 12, this run's is 3; train\.batch_size is 16, "
    ):
        load_state(tmp_path / "state.pt", parts(0), second)
    with pytest.raises(UserError, match=r"another run \(the images to train on are others\)"):
        load_state(tmp_path / "state.pt", parts(0), more)


def test_a_state_with_other_parts_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state.pt", parts(0), Progress(), RUN)
    with pytest.raises(UserError, match="holds model, optimizer; this run needs model"):
        load_state(tmp_path / "state.pt", {"model": parts(0)["model"]}, RUN)


def test_nothing_is_restored_of_a_state_that_does_not_fit(tmp_path: Path) -> None:
    """A buffer of another shape, which a fused optimizer would write beyond, is found before the model is changed."""
    save_state(tmp_path / "state.pt", parts(0), Progress(), RUN)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["parts"]["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(1)
    torch.save(state, tmp_path / "state.pt")
    other, untouched = parts(1), parts(1)
    message = r"optimizer\.state\.0\.momentum_buffer is float32 \[1\], expected float32 \[2, 3\]"
    with pytest.raises(UserError, match=message):
        load_state(tmp_path / "state.pt", other, RUN)
    for name in other:
        assert str(other[name].state_dict()) == str(untouched[name].state_dict())


def test_momentum_that_a_state_lacks_is_zero(tmp_path: Path) -> None:
    """A parameter may have had no gradient yet; the fused optimizer takes momentum of all parameters or of none."""
    path = tmp_path / "state.pt"
    save_state(path, parts(0), Progress(), RUN)
    state = torch.load(path, weights_only=True)
    del state["parts"]["optimizer"]["state"][0]
    torch.save(state, path)
    other = parts(1)
    load_state(path, other, RUN)
    momentum = other["optimizer"].state_dict()["state"]
    assert momentum[0]["momentum_buffer"].equal(torch.zeros(2, 3))
    assert momentum[1]["momentum_buffer"].equal(parts(0)["optimizer"].state_dict()["state"][1]["momentum_buffer"])


def test_a_flipped_bit_is_found_by_the_checksums(tmp_path: Path) -> None:
    path, weight = tmp_path / "state.pt", parts(0)["model"].state_dict()["weight"].numpy().tobytes()
    save_state(path, parts(0), Progress(), RUN)
    data = path.read_bytes()
    place = data.index(weight)
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(UserError, match=r"the checksum of '.*' is wrong"):
        load_state(path, parts(0), RUN)


def test_a_state_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    save_state(tmp_path / "state.pt", parts(0), Progress(iteration=7), RUN)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["settings"]
    torch.save(state, tmp_path / "state.pt")
    assert load_state(tmp_path / "state.pt", parts(1), RUN).iteration == 7
    with pytest.raises(UserError, match=r"belongs to another run \(hash [0-9a-f]{12}, this one is [0-9a-f]{12}\)"):
        load_state(tmp_path / "state.pt", parts(1), Fingerprint.of([1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": torch.zeros(3, dtype=torch.uint8)}, r"rng is uint8 \[3\], expected uint8 \[5056\]"),
        ({"rng": torch.zeros(5056, dtype=torch.uint8)}, "rng: is no state of a random generator"),
        ({"rng": [1, 2]}, "its rng is a list, expected a Tensor"),
        ({"progress": {"iteration": -1}}, "iteration: expected whole number >= 0"),
        ({"progress": {"best_ap": float("nan")}}, "best_ap: expected number >= -1"),
        ({"progress": []}, "its progress is a list, expected a dict"),
        ({"config": 5}, "its config is a int, expected a str"),
        ({"parts": {}}, "holds nothing; this run needs model, optimizer"),
        ({"parts": {"model": 5, "optimizer": 6}}, "model is a int, expected a dict"),
    ],
)
def test_parts_of_another_kind_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    save_state(tmp_path / "state.pt", parts(0), Progress(), RUN)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save(state | change, tmp_path / "state.pt")
    with pytest.raises(UserError, match=message):
        load_state(tmp_path / "state.pt", parts(0), RUN)


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("content", [b"not a state", "truncated", "foreign", "harmful"])
def test_what_is_no_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.pt"
    if content == "truncated":
        save_state(path, parts(0), Progress(), RUN)
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "foreign":
        torch.save({"state_dict": {}}, path)
    elif content == "harmful":
        torch.save({"parts": Harmful()}, path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with pytest.raises(UserError, match="not a training state"):
        load_state(path, parts(0), RUN)
    assert not (tmp_path / "harm").exists()


def test_a_missing_state_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --resume out"):
        load_state(tmp_path / "state.pt", parts(0), RUN)


def test_a_failed_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    save_state(path, parts(0), Progress(iteration=1), RUN)

    def fail(state: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_state(path, parts(0), Progress(iteration=2), RUN)
    assert load_state(path, parts(0), RUN).iteration == 1
    assert list(tmp_path.iterdir()) == [path]
