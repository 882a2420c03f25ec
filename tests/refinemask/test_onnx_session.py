"""The one set of options for ONNX Runtime."""

import pytest

from refinemask.onnx_session import session_options


@pytest.mark.parametrize(("threads", "number"), [(None, 0), (3, 3)])
def test_a_file_is_computed_as_it_is_written_on_the_threads_asked_for(threads: int | None, number: int) -> None:
    options = session_options(threads)
    assert options.intra_op_num_threads == number
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
