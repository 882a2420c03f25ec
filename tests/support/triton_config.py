"""A ``config.pbtxt``, read strictly by the schema of Triton's client."""

from typing import Any

import pytest


def parse_config(text: str) -> Any:
    """The message ``ModelConfig``; an unknown field or value is an error."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse(text, schema.ModelConfig())
