"""The command line of NVIDIA's ``trtexec`` that builds what a :class:`BuildPlan` describes."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from engines.trt.api import require_known, require_tiling, short_version
from engines.trt.plan import TILING_LEVELS, BuildPlan, Built
from engines.trt.precision import inspected_layers, inspector_shares
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.json_files import read_json
from refinemask.orphans import ended_by_errors


def trtexec_command(plan: BuildPlan, output: Path, layers: Path, *, major: int) -> list[str]:
    """The arguments of ``trtexec``, the program first.

    TensorRT 11 knows no other network than a strongly typed one; TensorRT 10 has to be told. Inference is skipped,
    because latency is measured elsewhere (``benchmarks.fps``).

    Args:
        plan: what to build.
        output: the engine file to write.
        layers: where the layer information (the inspector's JSON) is written.
        major: TensorRT's major version, 10 or 11.
    """
    options = plan.options
    command = [options.trtexec or "trtexec", f"--onnx={plan.onnx}", f"--saveEngine={output}", "--skipInference"]
    if major < 11:
        command.append("--stronglyTyped")
    if not plan.tf32:
        command.append("--noTF32")
    if plan.plugins is not None:
        command.append(f"--dynamicPlugins={os.path.realpath(plan.plugins)}")
    if not plan.static:
        for index, option in enumerate(("minShapes", "optShapes", "maxShapes")):
            shapes = (f"{name}:{'x'.join(map(str, limits[index]))}" for name, limits in plan.shapes().items())
            command.append(f"--{option}={','.join(shapes)}")
    if options.timing_cache is not None:
        command.append(f"--timingCacheFile={options.timing_cache}")
    if options.workspace_mib is not None:
        command.append(f"--memPoolSize=workspace:{options.workspace_mib}M")
    if options.version_compatible:
        command.append("--versionCompatible")
    if options.hardware_compatible:
        command.append("--hardwareCompatibilityLevel=ampere+")
    if options.optimization_level is not None:
        command.append(f"--builderOptimizationLevel={options.optimization_level}")
    if options.tiling_level is not None:
        command.append(f"--tilingOptimizationLevel={TILING_LEVELS.index(options.tiling_level)}")
    if options.auxiliary_streams is not None:
        command.append(f"--maxAuxStreams={options.auxiliary_streams}")
    return [*command, "--profilingVerbosity=detailed", f"--exportLayerInfo={layers}"]


def trtexec_version(trtexec: str) -> str:
    """TensorRT's version, such as ``10.13.0``, as ``trtexec`` prints it in its first line (``[TensorRT v…]``).

    Raises:
        UserError: the program does not run, or is of a version that this project does not know.
    """
    try:
        run = subprocess.run([trtexec, "--help"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise UserError(f"{trtexec}: cannot be run: {error.strerror}") from error
    match = re.search(r"\[TensorRT v([0-9]{1,9}(?:\.[0-9]{1,9})*)\]", run.stdout)
    if match is None:
        raise UserError(f"{trtexec}: is not trtexec; expected a first line with [TensorRT v…]")
    text = match[1]
    if "." not in text:
        # TensorRT 11 prints 11.1.0.106; 10 printed 101300 for 10.13.0.
        number = int(text)
        text = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    require_known(text)
    return short_version(text)


def build_with_trtexec(plan: BuildPlan, engine: Path) -> Built:
    """Build ``plan`` and write the engine, passing on what trtexec prints.

    Raises:
        UserError: ``trtexec`` fails, as its first error line says, or an operator became no plugin layer.
    """
    trtexec, errors = plan.options.trtexec or "trtexec", []
    version = trtexec_version(trtexec)
    if plan.options.tiling_level is not None:
        require_tiling(version)
    with tempfile.TemporaryDirectory() as directory:
        layer_file = Path(directory) / "layers.json"
        command = trtexec_command(plan, engine, layer_file, major=int(version.split(".")[0]))
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with ended_by_errors(subprocess.Popen(command, errors="replace", **pipes)) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", file=sys.stderr)
                if "[E]" in line:
                    errors.append(line.strip())
        if process.returncode:
            raise UserError(f"{trtexec}: {one_line(errors[0]) if errors else f'exit code {process.returncode}'}")
        content = read_json(layer_file, f"the layers of the engine, which {trtexec} writes")
        try:
            layers = inspected_layers(content)
        except ValueError as error:
            raise UserError(f"{trtexec}: does not list the engine's layers: {error}") from error
    _require_plugins(plan, layers)
    return Built(version, plan.types, inspector_shares(layers), layers)


def _require_plugins(plan: BuildPlan, layers: list[Any]) -> None:
    plugins = sum("plugin" in str(layer.get("LayerType", "")).lower() for layer in layers)
    if not plan.options.bodies and plugins < len(plan.custom_nodes):
        raise UserError(
            f"{plan.onnx}: only {plugins} of {len(plan.custom_nodes)} operators became plugin layers; see --plugins"
        )
