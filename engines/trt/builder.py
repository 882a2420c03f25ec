"""Building an engine through TensorRT's Python API, in this process."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engines.trt.api import import_tensorrt, load_plugins, make_logger, require_tiling, short_version
from engines.trt.device import cuda_device
from engines.trt.plan import BuildPlan, Built
from engines.trt.precision import inspected_layers, inspector_shares, network_shares
from refinemask.contract import OPERATORS
from refinemask.files import UserError, atomic_write
from refinemask.foreign import one_line
from refinemask.json_files import parse_json

MESSAGE_STARTS = tuple(f"{operator.name}:" for operator in OPERATORS)
"""Beginnings of our plugins' messages."""
Progress = Callable[[str, float], None]
"""Receiver of the name of a phase and the share of it that is done."""


def build_in_process(plan: BuildPlan, output: Path, progress: Progress) -> Built:
    """Build ``plan`` and write the engine to ``output``.

    Raises:
        UserError: TensorRT is missing or refuses, an operator did not become a plugin, or the machine has no GPU and
            no compute capability was named.
    """
    trt = import_tensorrt(plan.flavour)
    device = cuda_device()
    if device is None and not plan.options.capabilities:
        raise UserError(
            "this machine has no GPU: TensorRT builds where the engine will run; TensorRT-RTX also ahead of time: "
            "--flavour tensorrt_rtx --capabilities 8.9"
        )
    logger = make_logger(trt)
    try:
        builder = trt.Builder(logger)
        # The flag is another bit in TensorRT 10 than in 11.
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    except (RuntimeError, TypeError) as error:
        raise UserError(f"TensorRT {trt.__version__} does not start: {_first(logger.errors, error)}") from error
    load_plugins(trt, plan.plugins, logger)
    _parse(trt, network, plan, logger)
    _require_plugins(trt, network, plan)
    config = _configure(trt, builder, plan)
    # This name keeps the monitor alive: the builder holds no reference of its own.
    config.progress_monitor = monitor = _make_monitor(trt, progress)
    cache = _load_timing_cache(config, plan)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise UserError(_explain(plan, _first(logger.errors, "no reason given")))
    del monitor
    output.write_bytes(serialized)
    if cache is not None and plan.options.timing_cache is not None:
        with atomic_write(plan.options.timing_cache) as temporary:
            temporary.write_bytes(cache.serialize())
    layers = [] if plan.options.capabilities else _inspect(trt, serialized, plan, logger)
    inspected = inspector_shares(layers) if layers else None
    return Built(short_version(trt.__version__), network_shares(trt, network), inspected, layers)


def _parse(trt: Any, network: Any, plan: BuildPlan, logger: Any) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(plan.onnx)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        # The first error is the cause; the others come from the functions around it.
        reason = f"{_first([errors[0].desc()], '')} (node {errors[0].node_name()})" if errors else "no reason given"
        # A plugin tells the logger what it expected; the parser knows only that the plugin refused.
        reason = "; ".join([*(line for line in logger.errors if line.startswith(MESSAGE_STARTS)), reason])
        hint = "; build with the plugins instead of the bodies: leave out --bodies" if plan.options.bodies else ""
        raise UserError(f"{plan.onnx}: TensorRT {trt.__version__} cannot parse it: {reason}{hint}")


def _require_plugins(trt: Any, network: Any, plan: BuildPlan) -> None:
    """Raise :class:`UserError` for custom nodes that became no plugin layers.

    The parser falls back to a function's body without a word.
    """
    if plan.options.bodies:
        return
    layers = (network.get_layer(index) for index in range(network.num_layers))
    plugins = {layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3}
    missing = Counter(node.operator for node in plan.custom_nodes if node.name not in plugins)
    if missing:
        names = ", ".join(f"{count} {operator}" for operator, count in missing.items())
        raise UserError(
            f"{plan.onnx}: {names} did not become plugin layers; TensorRT {trt.__version__} took their bodies although "
            "plugins are loaded: build the library again (python -m trt_plugins.build --force), or export "
            "without bodies (--no-bodies)"
        )


def _configure(trt: Any, builder: Any, plan: BuildPlan) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not plan.tf32:
        # TensorRT's own default is on.
        config.clear_flag(trt.BuilderFlag.TF32)
    if plan.options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.options.workspace_mib << 20)
    if plan.options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if plan.options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if plan.flavour == "tensorrt_rtx":
        # Otherwise an engine may allocate in its runs, which then cannot be recorded.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    _set_effort(trt, config, plan)
    if plan.options.capabilities:
        config.num_compute_capabilities = len(plan.options.capabilities)
        for index, capability in enumerate(plan.options.capabilities):
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


def _set_effort(trt: Any, config: Any, plan: BuildPlan) -> None:
    """Set how hard TensorRT tries, where the plan says so."""
    options = plan.options
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.tiling_level is not None:
        if plan.flavour == "tensorrt":
            require_tiling(trt.__version__)
        config.tiling_optimization_level = getattr(trt.TilingOptimizationLevel, options.tiling_level.upper())
    if options.auxiliary_streams is not None:
        config.max_aux_streams = options.auxiliary_streams


def _load_timing_cache(config: Any, plan: BuildPlan) -> Any:
    if plan.options.timing_cache is None:
        return None
    cache = config.create_timing_cache(
        plan.options.timing_cache.read_bytes() if plan.options.timing_cache.is_file() else b""
    )
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        raise UserError(
            f"{plan.options.timing_cache}: a timing cache of another machine or version; delete it or name another"
        )
    return cache


def _inspect(trt: Any, serialized: Any, plan: BuildPlan, logger: Any) -> list[Any]:
    runtime = trt.Runtime(logger)
    if plan.options.version_compatible:
        # Such an engine carries, as code, the runtime that it was built with.
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(serialized)
    if engine is None:
        raise UserError(f"the engine was built but cannot be loaded: {_first(logger.errors, 'no reason given')}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return inspected_layers(parse_json(text))
    except ValueError as error:
        raise UserError(f"{plan.onnx}: TensorRT's inspector does not list the engine's layers: {error}") from error


def _explain(plan: BuildPlan, reason: str) -> str:
    message = f"{plan.onnx}: TensorRT cannot build it for {plan.shapes()}: {reason}"
    if "memory" in reason.lower():
        message += "; a smaller --max-shape or --workspace needs less memory"
    return message


def _first(errors: Iterable[str], otherwise: object) -> str:
    return one_line(next(iter(errors), otherwise))


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
