"""The TensorRT plugin library, on machines that have TensorRT's headers: no GPU, and mostly no TensorRT."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trt_plugins.build import find_headers

HERE = Path(__file__).resolve().parent
EXPORTS = {
    "getCreators",
    "setLoggerFinder",
    "refinemask_roi_align",
    "refinemask_fixed_nms",
    "refinemask_fixed_nms_workspace",
    "refinemask_boundary_merge",
    "refinemask_error_string",
}


def symbols(library: Path, which: str) -> set[str]:
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    text = subprocess.run(["nm", "-D", which, library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines()}


def test_nothing_of_tensorrt_or_cuda_is_undefined(plugin_library: Path) -> None:
    """So that one binary loads into any of their versions."""
    undefined = symbols(plugin_library, "--undefined-only")
    assert not {name for name in undefined if re.search(r"nvinfer|getPluginRegistry|getLogger|^cuda|^cu[A-Z]", name)}


def test_only_the_interface_is_exported(plugin_library: Path) -> None:
    assert symbols(plugin_library, "--defined-only") == EXPORTS


def test_kernels_alone_export_their_interface(built: Path) -> None:
    plugin_only = {"getCreators", "setLoggerFinder"}
    assert symbols(built / "librefinemask_kernels.so", "--defined-only") == EXPORTS - plugin_only


@pytest.fixture(scope="module")
def contract_program(plugin_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    headers, program = find_headers(), tmp_path_factory.mktemp("contract") / "plugin_contract"
    assert headers is not None
    includes = [f"-isystem{directory}" for directory in (headers, "/usr/local/cuda/include")]
    command = ["g++", "-std=c++17", *includes, HERE / "plugin_contract.cpp", "-ldl", "-o", program]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return program


@pytest.mark.parametrize("version", ["10", "11"])
def test_the_plugins_keep_tensorrt_s_contract(plugin_library: Path, contract_program: Path, version: str) -> None:
    """Shapes, formats, types, errors through the logger, serialisation: with a mocked expression builder."""
    result = subprocess.run([contract_program, plugin_library, version], capture_output=True, text=True)
    assert result.stdout == "ok\n", result.stdout + result.stderr


@pytest.mark.tensorrt
def test_tensorrt_s_lean_runtime_loads_the_library(plugin_library: Path) -> None:
    pytest.importorskip("tensorrt_lean_bindings", reason="needs tensorrt-lean-cu13")
    script = (
        "import sys, tensorrt_lean_bindings.tensorrt_lean as trt\n"
        "registry = trt.get_plugin_registry()\n"
        "assert registry.load_library(sys.argv[1]) is not None\n"
        "creator = registry.get_creator('FixedNMS', '1', 'refinemask')\n"
        "print(sorted(c.name for c in registry.all_creators if c.plugin_namespace == 'refinemask'))\n"
        "print([field.name for field in creator.field_names])\n"
    )
    result = subprocess.run([sys.executable, "-c", script, plugin_library], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "['BoundaryMerge', 'FixedNMS', 'MultilevelRoIAlign1', 'MultilevelRoIAlign4']",
        "['iou_threshold', 'k']",
    ]
