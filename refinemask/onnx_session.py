"""Options of ONNX Runtime, the same wherever a file is verified, used or measured."""

from importlib.metadata import PackageNotFoundError, distribution

import onnxruntime


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """Options of a session that computes a file as it is written.

    Args:
        threads: CPU threads; None leaves the number to ONNX Runtime.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Compute Q/DQ as it is written: the fused integer kernels quantise biases too, wrongly with float16 scales.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def cuda_remedy() -> str:
    """What gives this environment ONNX Runtime's CUDA provider, which it lacks."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "it does not find CUDA and cuDNN in the versions that this onnxruntime-gpu needs: install them"
    remedy = "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'refinemask[gpu]'"
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return f"onnxruntime and onnxruntime-gpu are both installed, and one hides the other; {remedy}"
    return remedy


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
