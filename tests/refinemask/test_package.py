"""The public verbs of the package, beside commands of the same names."""

import subprocess
import sys
from pathlib import Path

import pytest

import refinemask

ROOT = Path(__file__).resolve().parents[2]


def run(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_every_public_name_is_there() -> None:
    for name in refinemask.__all__:
        assert getattr(refinemask, name).__name__ == name
    assert set(refinemask.__all__) <= set(dir(refinemask))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = refinemask.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    run("import sys; sys.modules.update(torch=None, cv2=None, supervision=None, numpy=None); import refinemask")


@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_a_command_does_not_hide_the_verb_of_its_name(verb: str) -> None:
    door, verbs = f"from refinemask.{verb} import Args, main", f"from refinemask import {verb}"
    check = f"""
import sys, refinemask
assert {verb}.__module__ in ("refinemask.evaluation.run", "refinemask.training.run"), {verb}
assert refinemask.{verb} is {verb} and callable({verb})
assert main.__module__ == "refinemask.{verb}" and sys.modules["refinemask.{verb}"].main is main
"""
    run(f"{door}; {verbs}{check}")
    run(f"{verbs}; {door}{check}")


def test_commands_import_no_drawing_library_until_they_draw() -> None:
    commands = "refinemask.train, refinemask.evaluate, refinemask.predict"
    run(f"import sys; sys.modules['supervision'] = None; import {commands}")
