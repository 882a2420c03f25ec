"""What is said of a package that is missing."""

import sys

import pytest

from refinemask.extras import MissingPackageError, needed_by
from refinemask.files import UserError


@pytest.mark.parametrize(
    ("name", "extra", "command"),
    [
        ("supervision", "", "pip install 'refinemask[draw]'"),
        ("torch.utils.tensorboard", "", "pip install 'refinemask[train]'"),
        ("onnxruntime", "", "pip install 'refinemask[cpu]' or 'refinemask[gpu]'"),
        ("torch", "export", "pip install 'refinemask[export]'"),
        ("supervision", "export", "pip install 'refinemask[draw]'"),
    ],
)
def test_the_extra_is_named(name: str, extra: str, command: str) -> None:
    with pytest.raises(MissingPackageError) as raised, needed_by("this", extra=extra):
        raise ModuleNotFoundError(name=name)
    package = name.partition(".")[0]
    assert str(raised.value) == f"this needs {package}, which is not installed; {command}"
    assert raised.value.name == name
    assert isinstance(raised.value, UserError)


def test_another_way_is_the_end_of_the_line() -> None:
    with pytest.raises(UserError, match=r"'refinemask\[draw\]', or stop$"), needed_by("this", otherwise="stop"):
        raise ModuleNotFoundError(name="supervision")


def test_a_package_that_fails_is_not_called_missing() -> None:
    with (
        pytest.raises(UserError, match=r"^this needs pycuda, which cannot be imported \(no libcuda\.so\.1\); pip"),
        needed_by("this"),
    ):
        raise ImportError("no libcuda.so.1", name="pycuda._driver")


def test_what_no_extra_brings_stays_as_it_is() -> None:
    error = ModuleNotFoundError(name="somebody_elses")
    with pytest.raises(ModuleNotFoundError) as raised, needed_by("this"):
        raise error
    assert raised.value is error


def test_the_first_reason_is_kept() -> None:
    with pytest.raises(MissingPackageError, match=r"^inner needs"), needed_by("outer"), needed_by("inner"):
        raise ModuleNotFoundError(name="torch")


def test_a_process_that_runs_no_command_of_ours_keeps_its_hook() -> None:
    assert sys.excepthook.__module__ != "refinemask.exit_codes"
