"""Parse ONNX files with TensorRT-RTX and build them ahead of time, on a CPU. Run as a script, by test_rtx.py.

``python rtx_build.py PLUGINS MODEL... --targets SM89 ...`` where PLUGINS is a library's path, ``python`` or ``none``;
prints one JSON object per model: its layers' types, the size of each target's engine (null where the build failed),
and the messages.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROFILE = {
    "B": (1, 1, 2),
    "h": (2, 50, 64),
    "w": (2, 84, 128),
    "R": (1, 100, 1000),
    "G": (1, 5, 10),
    "N": (1, 1000, 3840),
}


def run_with_library_path(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run this script where RTX's parser finds ``libtensorrt_rtx.so``, which its package ships under another name."""
    spec = find_spec("tensorrt_rtx_libs")
    assert spec is not None
    assert spec.origin is not None
    libraries = Path(spec.origin).parent
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "libtensorrt_rtx.so").symlink_to(libraries / "libtensorrt_rtx.so.1")
        path = os.pathsep.join(filter(None, [directory, str(libraries), os.environ.get("LD_LIBRARY_PATH")]))
        environment = {**os.environ, "LD_LIBRARY_PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, __file__, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)


def build(trt: Any, model: bytes, targets: list[str]) -> dict[str, Any]:
    """Parse and build for each target."""
    messages: list[str] = []

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.append(message)

    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    result: dict[str, Any] = {"layers": [], "engines": {}, "messages": messages}
    if not parser.parse(model):
        messages.extend(parser.get_error(i).desc() for i in range(parser.num_errors))
        return result
    result["layers"] = [network.get_layer(i).type.name for i in range(network.num_layers)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        names = [tensor.get_dimension_name(d) for d in range(len(tensor.shape))]
        ranges = [PROFILE[name] if size < 0 else (size,) * 3 for name, size in zip(names, tensor.shape, strict=True)]
        profile.set_shape(tensor.name, *zip(*ranges, strict=True))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = 1
    for target in targets:
        config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
        engine = builder.build_serialized_network(network, config)
        result["engines"][target] = None if engine is None else engine.nbytes
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("plugins")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--targets", nargs="+", default=["SM89", "SM120"])
    args = parser.parse_args()
    import tensorrt_rtx as trt

    keep = None
    if args.plugins == "python":
        from trt_plugins.python_plugin import register

        keep = register(trt)
    elif args.plugins != "none":
        keep = trt.get_plugin_registry().load_library(args.plugins)
    for model in args.models:
        print(json.dumps(build(trt, Path(model).read_bytes(), args.targets)), flush=True)
    del keep


if __name__ == "__main__":
    main()
