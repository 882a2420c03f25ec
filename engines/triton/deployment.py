"""How a model is to run in the server: batches, instances, devices. What both models' configurations share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.triton.pbtxt import Word
from refinemask.options import require_at_least


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What Triton is told of a model beside what it computes."""

    max_batch: int = 16
    """Largest number of images that the server puts together, and that a request may have."""
    queue_delay: int = 1000
    """Microseconds that the server waits for more requests while a batch is not full."""
    instances: int = 1
    """Instances of each model, each of which holds the network."""

    def __post_init__(self) -> None:
        require_at_least(1, max_batch=self.max_batch, instances=self.instances)
        require_at_least(0, queue_delay=self.queue_delay)


def common(deployment: Deployment, device: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a configuration that all models have."""
    kind, _, number = device.partition(":")
    group: dict[str, Any] = {"count": deployment.instances, "kind": Word("KIND_CPU")}
    if kind != "cpu":
        group |= {"kind": Word("KIND_GPU"), "gpus": int(number or 0)}
    return {
        "instance_group": [group],
        "parameters": texts_field(parameters),
    }


def texts_field(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Texts as a configuration has them in its field ``parameters``."""
    return [{"key": key, "value": {"string_value": text}} for key, text in texts.items()]


def batching(deployment: Deployment, typical: int | None = None) -> dict[str, Any]:
    """The field that lets the server put requests together, best of the ``typical`` number of images."""
    preferred = {} if typical is None or typical < 2 else {"preferred_batch_size": typical}
    return {"dynamic_batching": preferred | {"max_queue_delay_microseconds": deployment.queue_delay}}
