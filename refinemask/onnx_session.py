"""Options of ONNX Runtime, the same wherever a file is verified, used or measured."""

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
