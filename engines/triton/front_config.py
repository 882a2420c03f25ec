"""The ``config.pbtxt`` of the model that clients talk to."""

from typing import Any

from engines.triton.deployment import Deployment, batching, common
from engines.triton.interface import IMAGE, OUTPUTS, PIXELS
from engines.triton.pbtxt import Word
from engines.triton.settings import Settings


def front_config(name: str, settings: Settings, deployment: Deployment) -> dict[str, Any]:
    """The configuration of a front model."""
    # Without it, only pixels of one size would be put together.
    ragged = {"allow_ragged_batch": True}
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": deployment.max_batch,
        "input": [
            {"name": IMAGE, "data_type": Word("TYPE_STRING"), "dims": [1], "optional": True},
            {"name": PIXELS, "data_type": Word("TYPE_UINT8"), "dims": [-1, -1, 3], "optional": True} | ragged,
        ],
        "output": [
            {"name": output, "data_type": Word(f"TYPE_{'STRING' if kind == 'BYTES' else kind}"), "dims": [*dims]}
            for output, (kind, dims) in OUTPUTS.items()
        ],
        **batching(deployment),
        **common(deployment, settings.device, settings.to_parameters()),
    }
