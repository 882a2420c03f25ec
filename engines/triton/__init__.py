"""Serving with Triton: a model repository, and the models in it, which Triton's Python backend runs.

    python -m engines.triton r50.onnx --output repository/

The server does the network, the threads and the batches. Importing this package loads no runtime and no client.
"""

from engines.triton.deployment import Deployment
from engines.triton.interface import RESPONSES, Response
from engines.triton.repository import Repository, write_repository
from engines.triton.settings import Settings

__all__ = ["RESPONSES", "Deployment", "Repository", "Response", "Settings", "write_repository"]
