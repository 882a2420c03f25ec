"""Building an engine through TensorRT's Python API, in a child process: a crash in there, or the kernel's
out-of-memory killer, leaves a parent to report it.

The child takes one JSON argument, ``{"plan": …, "output": …}``, and answers in JSON lines: ``{"progress": …}`` while it
builds, then ``{"result": …}`` or ``{"error": …}``.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engines.trt.api import Flavour, import_tensorrt, load_plugins, make_logger, short_version
from engines.trt.device import cuda_device
from engines.trt.plan import BuildPlan
from engines.trt.precision import Shares, inspector_shares, network_shares
from refinemask.contract import DOMAIN, OPERATORS, read_onnx
from refinemask.files import UserError

MESSAGE_STARTS = tuple(f"{operator.name}:" for operator in OPERATORS)
"""Beginnings of our plugins' messages."""
Progress = Callable[[str, float], None]
"""Takes the name of a phase and the share of it that is done."""


@dataclass(frozen=True)
class Built:
    """What a build tells of itself."""

    version: str
    """TensorRT's."""
    plugin_layers: int
    precision: Shares
    layers: list[Any]
    """The inspector's records of the engine's layers; empty where the engine cannot be loaded, ahead of time."""


def build_engine(plan: BuildPlan, output: Path, progress: Progress) -> Built:
    """Build ``plan`` and write the engine to ``output``.

    Raises:
        UserError: TensorRT is missing or refuses, an operator did not become a plugin, or the machine has no GPU and
            no compute capability was named.
    """
    trt = import_tensorrt(plan.flavour)
    device = cuda_device()
    if device is None and not plan.capabilities:
        raise UserError(
            "this machine has no GPU: TensorRT builds where the engine will run; TensorRT-RTX also ahead of time: "
            "--flavour tensorrt_rtx --capabilities 8.9"
        )
    logger = make_logger(trt)
    if plan.plugins is not None:
        load_plugins(trt, plan.plugins)
    try:
        builder = trt.Builder(logger)
        # The flag is another bit in TensorRT 10 than in 11.
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    except (RuntimeError, TypeError) as error:
        raise UserError(f"TensorRT {trt.__version__} does not start: {_first(logger.errors, error)}") from error
    _parse(trt, network, plan, logger)
    plugin_layers = _require_plugins(trt, network, plan)
    config = _configure(trt, builder, plan)
    # Kept by this name: the builder holds no reference of its own.
    config.progress_monitor = monitor = _make_monitor(trt, progress)
    cache = _load_timing_cache(config, plan)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise UserError(_explain(plan, _first(logger.errors, "no reason given")))
    del monitor
    output.write_bytes(serialized)
    if cache is not None and plan.timing_cache is not None:
        plan.timing_cache.write_bytes(cache.serialize())
    layers = [] if plan.capabilities else _inspect(trt, serialized, logger)
    shares = inspector_shares(layers) if layers else network_shares(trt, network)
    return Built(short_version(trt.__version__), plugin_layers, shares, layers)


def build_in_child(plan: BuildPlan, engine: Path) -> Built:
    """:func:`build_engine` in a process of its own, with a progress bar.

    Raises:
        UserError: as there; or the process ended.
    """
    with _environment(plan.flavour) as environment, tqdm(total=1.0, bar_format="{desc}: {bar}", disable=None) as bar:
        request = json.dumps({"plan": plan.to_json(), "output": str(engine)})
        command = [sys.executable, "-m", "engines.trt.builder", request]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            assert child.stdout is not None
            for line in child.stdout:
                answer = json.loads(line)
                if "result" in answer:
                    return Built(**answer["result"])
                if "error" in answer:
                    raise UserError(answer["error"])
                phase, share = answer["progress"]
                bar.set_description(phase)
                bar.update(share - bar.n)
    code = child.returncode
    reason = f"signal {-code} (9 is usually lack of memory)" if code < 0 else f"exit code {code}"
    raise UserError(f"{plan.onnx}: the build for {plan.shapes()} ended with {reason}; try a smaller --max-shape")


@contextmanager
def _environment(flavour: Flavour) -> Iterator[dict[str, str]]:
    """The child's environment: our packages, and for TensorRT-RTX a library name that its wheel leaves out."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    libraries = find_spec("tensorrt_rtx_libs") if flavour == "tensorrt_rtx" else None
    with tempfile.TemporaryDirectory() as directory:
        if libraries is not None and libraries.submodule_search_locations:
            # Its parser opens libtensorrt_rtx.so as soon as it meets a plugin, and aborts the process without it.
            found = next(Path(libraries.submodule_search_locations[0]).glob("libtensorrt_rtx.so.*"))
            (Path(directory) / "libtensorrt_rtx.so").symlink_to(found)
            paths = (directory, os.environ.get("LD_LIBRARY_PATH"))
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
        yield environment


def custom_nodes(path: Path) -> list[tuple[str, str]]:
    """(name, operator) of every node of our domain in an ONNX file.

    Raises:
        UserError: the file is no ONNX model.
    """
    return [(node.name, node.op_type) for node in read_onnx(path).graph.node if node.domain == DOMAIN]


def _parse(trt: Any, network: Any, plan: BuildPlan, logger: Any) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(plan.onnx)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        # The first is the cause; what follows is the way out of the functions it happened in.
        reason = f"{_first([errors[0].desc()], '')} (node {errors[0].node_name()})" if errors else "no reason given"
        # A plugin says what it expected to the logger; the parser knows only that it refused.
        reason = "; ".join([*(line for line in logger.errors if line.startswith(MESSAGE_STARTS)), reason])
        hint = "" if plan.plugins else "; without --plugins our operators are parsed from their bodies"
        raise UserError(f"{plan.onnx}: TensorRT {trt.__version__} cannot parse it: {reason}{hint}")


def _require_plugins(trt: Any, network: Any, plan: BuildPlan) -> int:
    """The number of plugin layers; the parser falls back to a function's body without a word."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    found = {layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3}
    missing = Counter(operator for name, operator in custom_nodes(plan.onnx) if name not in found)
    if plan.plugins is not None and missing:
        names = ", ".join(f"{count} {operator}" for operator, count in missing.items())
        raise UserError(
            f"{plan.onnx}: {names} did not become plugin layers; TensorRT {trt.__version__} took their bodies although "
            f"{plan.plugins.name} is loaded: build the library again (python -m trt_plugins.build --force), or export "
            "without bodies (--no-bodies)"
        )
    return len(found)


def _configure(trt: Any, builder: Any, plan: BuildPlan) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if plan.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_mib << 20)
    if plan.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if plan.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if plan.capabilities:
        config.num_compute_capabilities = len(plan.capabilities)
        for index, capability in enumerate(plan.capabilities):
            name = f"SM{capability.replace('.', '')}"
            if not hasattr(trt.ComputeCapability, name):
                raise UserError(f"TensorRT-RTX {trt.__version__} does not build for compute capability {capability}")
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    if not plan.static:
        profile = builder.create_optimization_profile()
        for name, shapes in plan.shapes().items():
            profile.set_shape(name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise UserError(f"{plan.onnx}: TensorRT refuses the profile {plan.shapes()}")
    return config


def _load_timing_cache(config: Any, plan: BuildPlan) -> Any:
    if plan.timing_cache is None:
        return None
    cache = config.create_timing_cache(plan.timing_cache.read_bytes() if plan.timing_cache.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        raise UserError(f"{plan.timing_cache}: a timing cache of another machine or version; delete it or name another")
    return cache


def _inspect(trt: Any, serialized: Any, logger: Any) -> list[Any]:
    engine = trt.Runtime(logger).deserialize_cuda_engine(serialized)
    if engine is None:
        raise UserError(f"the engine was built but cannot be loaded: {_first(logger.errors, 'no reason given')}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return json.loads(text)["Layers"]


def _explain(plan: BuildPlan, reason: str) -> str:
    message = f"{plan.onnx}: TensorRT cannot build it for {plan.shapes()}: {reason}"
    if "memory" in reason.lower():
        message += "; a smaller --max-shape or --workspace needs less memory"
    return message


def _first(errors: Iterable[str], otherwise: object) -> str:
    return next(iter(errors), str(otherwise)).splitlines()[0]


def _make_monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, (step + 1) / max(self.steps[phase_name], 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress(phase_name, 1.0)

    return Monitor()


def main() -> int:
    """The child's side of ``engines.build``."""
    answers = os.fdopen(os.dup(1), "w")
    # What TensorRT prints must not mix with the answers.
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    request = json.loads(sys.argv[1])
    try:
        plan = BuildPlan.from_json(request["plan"])
        built = build_engine(plan, Path(request["output"]), lambda phase, share: answer(progress=[phase, share]))
        answer(result=asdict(built))
    except UserError as error:
        answer(error=str(error))
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
