"""The TensorRT plugin library, on machines that have TensorRT's headers: no GPU, and mostly no TensorRT."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refinemask.contract import DOMAIN, OPERATORS, PLUGIN_ATTRIBUTES
from trt_plugins import PACKAGE
from trt_plugins.libraries import find_headers

HERE = Path(__file__).resolve().parent
CUDA_HEADERS = "/usr/local/cuda/include"
EXPORTS = {
    "getCreators",
    "setLoggerFinder",
    "refinemask_roi_align",
    "refinemask_roi_align_refusal",
    "refinemask_fixed_nms",
    "refinemask_fixed_nms_workspace",
    "refinemask_top_k_segments",
    "refinemask_top_k_segments_workspace",
    "refinemask_boundary_merge",
    "refinemask_label_logits",
    "refinemask_paste_runs",
    "refinemask_rle_strings",
    "refinemask_select_proposals",
    "refinemask_select_proposals_refusal",
    "refinemask_select_proposals_workspace",
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
def compiler() -> list[str]:
    """The command that compiles against TensorRT's headers."""
    headers = find_headers()
    if headers is None or not Path(CUDA_HEADERS).is_dir():
        pytest.skip("needs TensorRT's headers (TENSORRT_ROOT or TENSORRT_INCLUDE_DIR) and CUDA's")
    return ["g++", "-std=c++17", f"-isystem{headers}", f"-isystem{CUDA_HEADERS}"]


def run(command: list[object]) -> str:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def contract_program(compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("contract") / "plugin_contract"
    run([*compiler, *sorted((HERE / "plugin_contract").glob("*.cpp")), "-ldl", "-o", program])
    return program


@pytest.fixture(scope="module")
def host_plugins(compiler: list[str], host_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugins' sources over the kernels compiled for the CPU."""
    library = tmp_path_factory.mktemp("plugins") / "host_plugins.so"
    sources = sorted((PACKAGE / "plugin").glob("*.cpp"))
    link = [host_library, "-ldl", f"-Wl,-rpath,{host_library.parent}", "-o", library]
    run([*compiler, "-fPIC", "-shared", "-fvisibility=hidden", f"-I{PACKAGE / 'kernels'}", *sources, *link])
    return library


def test_enqueue_hands_the_tensors_to_the_kernels(host_plugins: Path, contract_program: Path) -> None:
    assert run([contract_program, host_plugins, "11", "run"]) == "ok\n"


def test_the_operators_are_those_of_the_contract(host_plugins: Path, contract_program: Path) -> None:
    expected = [
        " ".join([DOMAIN, PLUGIN_ATTRIBUTES["plugin_version"], name, *(f"{a}:{t.__name__}" for a, t in types.items())])
        for name, types in OPERATORS
    ]
    assert run([contract_program, host_plugins, "11", "operators"]).splitlines() == expected


@pytest.mark.parametrize("version", ["10", "11"])
def test_the_plugins_keep_tensorrt_s_contract(plugin_library: Path, contract_program: Path, version: str) -> None:
    """Shapes, formats, types, errors through the logger, serialisation: with a mocked expression builder."""
    assert run([contract_program, plugin_library, version]) == "ok\n"


@pytest.mark.tensorrt
def test_tensorrt_s_lean_runtime_loads_the_library(plugin_library: Path) -> None:
    pytest.importorskip("tensorrt_lean_bindings", reason="needs tensorrt-lean-cu13: pip install -e '.[lean]'")
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
        str(sorted(operator.name for operator in OPERATORS)),
        "['iou_threshold', 'k']",
    ]
