"""macOS and Windows, of which neither is here: nothing that only Linux or POSIX has is needed to train and predict."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.compiled.private_copy import private_copy
from refinemask import orphans
from refinemask.files import UserError
from refinemask.training.peak_memory import peak_memory_mb
from tests.support.as_windows import POSIX_MODULES, POSIX_NAMES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for package in ("refinemask", "export", "engines") for path in (ROOT / package).rglob("*.py")]
NAMES = {f"{module.__name__}.{name}" for module, names in POSIX_NAMES.items() for name in names}


def done_by_importing(node: ast.AST) -> Iterator[ast.AST]:
    """What is executed when a module is imported, but for what stands below a condition on the system."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If | ast.IfExp) and "sys.platform" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            defaults = [*child.args.defaults, *child.args.kw_defaults, *getattr(child, "decorator_list", [])]
            for default in filter(None, defaults):
                yield from ast.walk(default)
            continue
        yield child
        yield from done_by_importing(child)


def posix_only(source: str) -> list[str]:
    found = []
    for node in done_by_importing(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.partition(".")[0] in POSIX_MODULES]
        found += [ast.unparse(node)] if isinstance(node, ast.Attribute) and ast.unparse(node) in NAMES else []
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os, fcntl", ["fcntl"]),
        ("from resource import getrusage", ["resource"]),
        ("import signal\ndef f(n=signal.SIGKILL): ...", ["signal.SIGKILL"]),
        ("class A:\n    code = 128 + signal.SIGPIPE", ["signal.SIGPIPE"]),
        ("try:\n    os.register_at_fork(after_in_child=f)\nfinally: ...", ["os.register_at_fork"]),
        ("def f():\n    import fcntl\n    os.killpg(0, signal.SIGKILL)", []),
        ("if sys.platform != 'win32':\n    import fcntl", []),
    ],
)
def test_what_importing_needs_is_seen(source: str, found: list[str]) -> None:
    assert posix_only(source) == found


def test_no_module_needs_what_windows_has_not_to_be_imported() -> None:
    assert len(SOURCES) > 150
    found = {str(path.relative_to(ROOT)): posix_only(path.read_text("utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_process_without_what_windows_has_not_trains_and_predicts(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.as_windows", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].endswith(" modules")
    assert "1 of 1 images predicted" in ended.stdout
    assert '"memory_mb": 123' in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_macos_counts_memory_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = peak_memory_mb()
    assert here > 50
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory_mb() == pytest.approx(here / 1024, rel=0.01)


def test_on_windows_a_parent_is_looked_for_without_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    # As it is imported here: it knows no other system. There the signal 0 is Ctrl-C.
    import psutil

    monkeypatch.setattr(psutil, "pid_exists", lambda process: process == 7)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("sent a signal"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert orphans._is_alive(7)
    assert not orphans._is_alive(8)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_compiled_packages_are_refused_where_they_do_not_run(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    (tmp_path / "model.pt2").write_bytes(b"package")
    with (
        pytest.raises(UserError, match=rf"model\.pt2: compiled code is made and run on Linux alone, this is {system}"),
        private_copy(tmp_path / "model.pt2"),
    ):
        pass
