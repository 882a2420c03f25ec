"""CUDA kernels of the custom ops, and the TensorRT plugin library around them."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
LIBRARY_DIR = PACKAGE / "lib"
PLUGIN_LIBRARY = "librefinemask_plugins.so"
BUILD_COMMAND = "python -m trt_plugins.build"


def library_path() -> Path:
    """The TensorRT plugin library: for ``load_library`` of the plugin registry, or ``trtexec --dynamicPlugins``.

    Raises:
        FileNotFoundError: it has not been built.
    """
    return _built(PLUGIN_LIBRARY, "the TensorRT plugin library, which needs nvcc and TensorRT's headers")


def kernels_path() -> Path:
    """The library of the kernels alone, with their C interface (``kernels/refinemask_kernels.h``).

    Raises:
        FileNotFoundError: it has not been built.
    """
    return _built("librefinemask_kernels.so", "the CUDA kernels, which need nvcc")


def _built(name: str, what: str) -> Path:
    path = LIBRARY_DIR / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not built ({what}); build it with: {BUILD_COMMAND}")
    return path
