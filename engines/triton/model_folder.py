"""A model's folder in a repository, which takes its place whole or not at all, and only that of one of ours."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from refinemask.files import UserError
from refinemask.locks import lock

CONFIG = "config.pbtxt"
MARK = "# Written by python -m engines.triton"
"""Beginning of the first line of each configuration of ours."""
NETWORK_MARK = f"{MARK} --network"
"""The same of the configuration of a bare network."""
NEW = ".new"
"""Ending of folders that are not yet whole."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Names of models that are the same in a path, in a URL and in a metric."""


def require_name(name: str) -> None:
    """Raise a UserError unless ``name`` can name a model."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"--name {name!r}: cannot name a model; expected letters, digits, _, - and . behind a letter or digit, at "
            "most 100"
        )


def is_ours(folder: Path) -> bool:
    """Whether a folder is a model that :mod:`engines.triton` has written."""
    return _first_line(folder).startswith(MARK)


def _first_line(folder: Path) -> str:
    try:
        with open(folder / CONFIG, encoding="utf-8", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""


def require_free(repository: Path, name: str) -> None:
    """Raise a UserError if what lies at a model's place is not one of ours, or the repository is a file."""
    if os.path.lexists(repository) and not repository.is_dir():
        raise UserError(f"{repository}: is a file, expected a folder for models")
    folder = repository / name
    if os.path.lexists(folder) and not is_ours(folder):
        raise UserError(
            f"{folder}: exists, and is no model that python -m engines.triton has written; remove it, or give another "
            "--name or --output"
        )


def require_same_kind(repository: Path, name: str, *, is_network: bool) -> None:
    """Raise a UserError if a model of ours of this name is of the other kind: a front model, or a bare network."""
    line = _first_line(repository / name)
    if line.startswith(MARK) and line.startswith(NETWORK_MARK) != is_network:
        found = "takes images" if is_network else "is the bare network of another"
        raise UserError(f"{repository / name}: is a model that {found}, and would be lost; give another --name")


@contextmanager
def new_model(repository: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder that becomes the model ``name`` if the block ends without an error, in place of an older.

    Raises:
        UserError: something else lies there, or the repository cannot be written.
    """
    require_free(repository, name)
    try:
        repository.mkdir(parents=True, exist_ok=True)
        place, prefix = _place_of_new(repository), f".{repository.resolve().name}.{name}."
        _remove_abandoned(place, prefix)
        folder = Path(tempfile.mkdtemp(dir=place, prefix=prefix, suffix=NEW))
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{repository}: cannot be written: {error.strerror}") from error
    try:
        # Others see by it whether the folder is abandoned.
        with suppress(OSError):
            lock(handle)
        yield folder
        _publish(folder, repository / name)
    except OSError as error:
        raise UserError(f"{repository / name}: cannot be written: {error.strerror}") from error
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def remove_network(repository: Path, name: str) -> None:
    """Remove a bare network that an earlier call has written; anything else stays."""
    if _first_line(repository / name).startswith(NETWORK_MARK):
        shutil.rmtree(repository / name)


def _place_of_new(repository: Path) -> Path:
    """The folder in which a new model is put together: the one around the repository, if it is of the same disk.

    A server that starts takes every folder in the repository for a model.
    """
    around = repository.resolve().parent
    is_same_disk = around.stat().st_dev == repository.stat().st_dev
    return around if is_same_disk and os.access(around, os.W_OK) else repository


def _publish(folder: Path, target: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    os.sync()
    if target.exists():
        # A folder takes the place of an empty one alone.
        old = folder.with_suffix(".old")
        target.rename(old)
        folder.rename(target)
        shutil.rmtree(old)
    else:
        folder.rename(target)


def _remove_abandoned(place: Path, prefix: str) -> None:
    """Remove what killed writers of the same model have left."""
    for folder in [each for each in place.iterdir() if each.name.startswith(prefix) and each.suffix == NEW]:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                if lock(handle):
                    shutil.rmtree(folder)
            finally:
                os.close(handle)
