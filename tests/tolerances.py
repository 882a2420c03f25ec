"""Every numeric tolerance of the tests, each with its reason."""

from typing import NamedTuple


class Tolerance(NamedTuple):
    """Largest absolute difference, largest relative difference, and why."""

    absolute: float
    relative: float
    reason: str


TOLERANCES: dict[str, Tolerance] = {
    "onnx reference evaluator": Tolerance(1e-6, 1e-5, "one convolution in fp32, summed in another order"),
}
