"""The floors of the house: which package may import which, and what importing a package may load."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "refinemask": set[str](),
    "export": {"refinemask"},
    "trt_plugins": {"refinemask"},
    "engines": {"refinemask", "trt_plugins"},
    "benchmarks": {"refinemask", "export", "trt_plugins", "engines"},
}
"""The packages below each package."""
DOORS = {"refinemask.predict", "refinemask.evaluate", "export.max_drop.accuracy", "refinemask.batch.child"}
"""Modules that import upwards, from within their functions, so that who imports them loads nothing of it."""
HEAVY = ("torch", "onnxruntime", "openvino", "tensorrt", "supervision", "matplotlib", "ray", "pyarrow", "tritonclient")


class Import(NamedTuple):
    """One import statement."""

    importer: str
    imported: str
    lazy: bool
    """Whether it stands within a function."""

    def package(self) -> str:
        return self.imported.partition(".")[0]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for package in FLOORS for path in (ROOT / package).rglob("*.py")}


def imports(name: str, path: Path) -> Iterator[Import]:
    """The imports of our own packages in a module, but for those that only a type checker sees."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name, lazy) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            yield from (Import(name, f"{node.module}.{alias.name}", lazy) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy or inside)

    yield from (found for found in visit(ast.parse(path.read_text()), False) if found.package() in FLOORS)


def all_imports() -> list[Import]:
    return [found for name, path in modules().items() for found in imports(name, path)]


def test_no_package_imports_one_above_it() -> None:
    found = all_imports()
    assert {each.importer.partition(".")[0] for each in found} == set(FLOORS)
    upwards = [
        f"{each.importer} imports {each.imported}"
        for each in found
        for own in [each.importer.partition(".")[0]]
        if each.package() not in {own, *FLOORS[own]} and not (each.lazy and each.importer in DOORS)
    ]
    assert not upwards


def room(module: str) -> str:
    """The module or subpackage of a package that a module is, or lies in."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("place", [str, room], ids=["modules", "rooms"])
def test_no_circle(place: Callable[[str], str]) -> None:
    known = modules()
    edges: dict[str, set[str]] = {place(name): set() for name in known}
    for each in all_imports():
        imported = each.imported if each.imported in known else each.imported.rpartition(".")[0]
        if not each.lazy and place(imported) != place(each.importer):
            edges[place(each.importer)].add(place(imported))
    while free := {name for name, needs in edges.items() if not needs & edges.keys()}:
        edges = {name: needs for name, needs in edges.items() if name not in free}
    assert not edges, "what imports one another, and what lies above it"


@pytest.mark.parametrize("package", FLOORS)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    script = f"import sys, {package}; print(*sorted(set({HEAVY}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
