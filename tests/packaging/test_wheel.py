"""What the wheels hold and say, and that they run where the checkout is not."""

import json
import os
import subprocess
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from refinemask import __version__
from refinemask.extras import EXTRAS
from tests.conftest import ROOT
from tests.packaging.conftest import Environment

PACKAGES = {"refinemask": ("refinemask", "export", "engines", "trt_plugins"), "refinemask_benchmarks": ("benchmarks",)}
DISTRIBUTIONS = {
    "benchmarks": "refinemask-benchmarks",
    "tensorrt": "tensorrt-cu13",
    "tensorrt_lean": "tensorrt-lean-cu13",
    "yaml": "pyyaml",
}
"""Names of the distributions that bring a module, where they differ from the module's."""
ELSEWHERE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(archive.read(name).decode())


def requirements(wheel: Path, extra: str = "") -> dict[str, Requirement]:
    """What an extra asks for beyond the base, or the base."""
    found = [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist", [])]
    wanted = [each for each in found if (f'extra == "{extra}"' if extra else "extra") in str(each.marker)]
    chosen = wanted if extra else [each for each in found if each not in wanted]
    return {str(canonicalize_name(each.name)): each for each in chosen}


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_its_packages_whole_and_typed(distribution: str, wheels: dict[str, Path]) -> None:
    found = names(wheels[distribution])
    assert {name.split("/")[0] for name in found if ".dist-info/" not in name} == set(PACKAGES[distribution])
    for package in PACKAGES[distribution]:
        assert f"{package}/py.typed" in found
        sources = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert sources
        assert sources <= found


def test_the_demo_is_in_the_wheel(wheels: dict[str, Path]) -> None:
    bundled = {f"refinemask/{path.relative_to(ROOT)}" for path in (ROOT / "demo").rglob("*") if path.is_file()}
    assert "refinemask/demo/weights/refinemask-nuclei.safetensors" in bundled
    assert bundled == {name for name in names(wheels["refinemask"]) if name.startswith("refinemask/demo/")}


def test_the_sources_of_the_plugins_are_in_the_wheel(wheels: dict[str, Path]) -> None:
    sources = [path for part in ("kernels", "plugin") for path in (ROOT / "trt_plugins" / part).iterdir()]
    assert sources
    expected = {str(path.relative_to(ROOT)) for path in sources}
    assert expected | {"trt_plugins/CMakeLists.txt", "trt_plugins/exports.map"} <= names(wheels["refinemask"])


@pytest.mark.parametrize("distribution", PACKAGES)
def test_no_results_no_tests_and_nothing_built_here(distribution: str, wheels: dict[str, Path]) -> None:
    for name in names(wheels[distribution]):
        assert "results/" not in name
        assert not name.startswith("tests/")
        assert not name.endswith(("pyproject.toml", ".so", ".pyc", "compile_report.json"))


def test_the_base_runs_no_network_by_itself(wheels: dict[str, Path]) -> None:
    expected = ["msgspec", "numpy", "opencv-python-headless", "pillow", "pycocotools", "rich", "tqdm", "tyro"]
    assert sorted(requirements(wheels["refinemask"])) == expected


def test_every_extra_brings_the_modules_that_name_it(wheels: dict[str, Path]) -> None:
    wheel = wheels["refinemask"]
    for module, extras in EXTRAS.items():
        distribution = DISTRIBUTIONS.get(module, canonicalize_name(module))
        for extra in extras:
            expected = f"{distribution}-gpu" if (module, extra) == ("onnxruntime", "gpu") else distribution
            asked = requirements(wheel, extra)
            if extra == "bench":
                asked |= requirements(wheels["refinemask_benchmarks"])
            assert expected in asked, (module, extra)


def test_one_package_of_onnx_runtime_at_most(wheels: dict[str, Path]) -> None:
    wheel = wheels["refinemask"]
    extras = metadata(wheel).get_all("Provides-Extra", [])
    brings = {extra for extra in extras if "onnxruntime" in requirements(wheel, extra)}
    assert brings == {"cpu", "all-cpu"}
    assert "onnxruntime-gpu" in requirements(wheel, "gpu")


def test_both_distributions_have_one_version(wheels: dict[str, Path]) -> None:
    benchmarks = wheels["refinemask_benchmarks"]
    assert {metadata(wheel)["Version"] for wheel in wheels.values()} == {__version__}
    assert str(requirements(benchmarks)["refinemask"].specifier) == f"=={__version__}"


@pytest.mark.parametrize("distribution", PACKAGES)
def test_the_metadata_say_where_it_runs(distribution: str, wheels: dict[str, Path]) -> None:
    said = metadata(wheels[distribution])
    classifiers = said.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)} <= set(classifiers)
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= set(classifiers)
    assert said["Requires-Python"] == ">=3.10"
    assert said["License-Expression"].split(" AND ")[0] == "Apache-2.0"
    assert any(name.endswith("LICENSE") for name in names(wheels[distribution]))


def test_every_module_comes_from_the_wheels(installed: Environment, wheels: dict[str, Path], tmp_path: Path) -> None:
    files = [name for wheel in wheels.values() for name in names(wheel) if name.endswith(".py")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files]
    script = (
        "import sys; from importlib.util import find_spec; print(*(find_spec(name).origin for name in sys.argv[1:]))"
    )
    origins = run(tmp_path, installed.python, "-c", script, *modules).split()
    assert len(origins) == len(files) > 200
    assert {Path(origin) for origin in origins} == {installed.packages / name for name in files}
    run(tmp_path, installed.python, "-c", "from importlib.util import find_spec; assert find_spec('tests') is None")


def test_predict_export_and_compare_run_on_the_bundled_model(installed: Environment, tmp_path: Path) -> None:
    demo, command = installed.packages / "refinemask" / "demo", installed.command
    checkpoint, image = demo / "weights" / "refinemask-nuclei.safetensors", demo / "nuclei" / "images" / "0001.png"
    # The verification takes the bundled pictures by itself.
    export = f"export {checkpoint} -o nuclei.onnx --static 256x256 --batch 1 --masks found"
    assert "nuclei.onnx: written and verified" in run(tmp_path, command, *export.split())
    run(tmp_path, command, *f"predict {image} --model nuclei.onnx -o drawn".split())
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["0001.png", "results.json"]
    data = f"--annotations {demo}/nuclei/annotations/instances_val.json --images {demo}/nuclei/images"
    compare = f"compare nuclei.onnx {data} --limit 1 --rounds 1 --warmup 0 --threads 1 -o report.json"
    assert "Δ boundary" in run(tmp_path, command, *compare.split())
    assert [each["name"] for each in json.loads((tmp_path / "report.json").read_text())["engines"]] == ["ONNX Runtime"]


def test_recipe_and_demo_find_the_bundled_images(installed: Environment, tmp_path: Path) -> None:
    script = (
        "from benchmarks.demo import Args; from refinemask.train import NUCLEI; args = Args()\n"
        "print(args.model, args.annotations, args.images, NUCLEI, args.output)"
    )
    *paths, output = run(tmp_path, installed.python, "-c", script).split()
    assert all(Path(path).exists() and Path(path).is_relative_to(installed.packages) for path in paths)
    assert output == "out/demo"


def run(folder: Path, *command: str | Path) -> str:
    """What a command prints that runs outside the checkout."""
    done = subprocess.run(command, cwd=folder, env=ELSEWHERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
