"""How much each layer alone, in 8 bits, disturbs what the network computes: measured on a few images.

The choices between the stages (proposals, detections) are taken from the source's own run and given to every candidate.
So all values belong to the same boxes as the source's, and no near-tie looks like a large error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from tqdm import tqdm

from export.model import BOUNDARY
from export.qdq import QuantizedType, insert_qdq, layers
from export.reading import read_model
from refinemask.contract import INPUTS
from refinemask.data.transforms import NetworkInput
from refinemask.foreign import foreign_errors

CHOICES = ("boxes", "labels", "num_detections", BOUNDARY + "proposal", BOUNDARY + "refined_")
"""What the names of chosen values begin with."""
GIVEN = "given."
"""What the names of choices begin with where they are inputs."""

TINY = 1e-12
"""Smallest mean square that is divided by."""

LOUDEST = 1e300
"""Noise of a layer whose values are no numbers."""

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


def sensitivities(
    source: Path,
    ranges: Mapping[str, float],
    precision: QuantizedType,
    batches: Sequence[NetworkInput],
    known: Mapping[str, float],
    tell: Callable[[str, float], None],
) -> dict[str, float]:
    """The noise that each layer of ``ranges`` causes alone, the loudest layer first.

    Noise is the mean square of the error in units of the mean square of the source's own values, summed over RPN's
    logits and deltas, the box head's, and the masks. Of several layers, whose errors are independent, it adds up.

    Args:
        source: the file before the quantisation, with bodies.
        ranges: largest magnitude that is kept of each layer's input, by the layer's name.
        precision: the type that inputs and weights are rounded to.
        batches: the images to measure on.
        known: noise of layers that were measured before, which are not measured again.
        tell: called with the name and the noise of each layer once it is measured.

    Raises:
        UserError: ONNX Runtime fails.
    """
    noise = {name: known[name] for name in ranges if name in known}
    pending = [name for name in layers(read_model(source).graph) if name in ranges and name not in noise]
    references = _references(source, batches) if pending else []
    for name in tqdm(pending, "sensitivity of layers", unit="layer", disable=None):
        run = _runner(source, {name: ranges[name]}, precision)
        errors = [_noise(run(reference), reference) for reference in references]
        # What overflows is the loudest.
        noise[name] = float(np.nan_to_num(np.mean(errors), nan=LOUDEST, posinf=LOUDEST))
        tell(name, noise[name])
    return dict(sorted(noise.items(), key=lambda entry: -entry[1]))


def _references(source: Path, batches: Sequence[NetworkInput]) -> list[Arrays]:
    """The inputs, all values of the source between and after its stages, and its choices as inputs, of each batch."""
    model = read_model(source)
    choices, between = _choices(model.graph), _between(model.graph)
    model.graph.outputs.extend(value for value in between if not value.is_graph_output())
    run = _session(model, source, [str(value.name) for value in model.graph.outputs])
    found = []
    for batch in batches:
        inputs = {name: getattr(batch, name) for name in INPUTS}
        outputs = run(inputs)
        given = {GIVEN + str(choice.name): outputs[str(choice.name)] for choice in choices}
        found.append(inputs | outputs | given)
    return found


def _runner(source: Path, ranges: Mapping[str, float], precision: QuantizedType) -> Callable[[Arrays], Arrays]:
    """A runner of the source with some layers quantised, which takes the choices as inputs and returns the values."""
    model = read_model(source)
    graph = model.graph
    values = _values(graph)
    for choice in _choices(graph):
        given = ir.Value(name=GIVEN + str(choice.name), type=choice.type, shape=choice.shape)
        for reader, index in choice.uses():
            reader.replace_input_with(index, given)
        graph.inputs.append(given)
    insert_qdq(graph, ranges, precision)
    # ONNX Runtime computes none of the choices then.
    graph.outputs.clear()
    graph.outputs.extend(values)
    return _session(model, source, [str(value.name) for value in values])


def _session(model: ir.Model, shown: Path, names: list[str]) -> Callable[[Arrays], Arrays]:
    from refinemask.onnx_session import cpu_session

    session = cpu_session(ir.to_proto(model).SerializeToString(), shown)
    inputs = [value.name for value in session.get_inputs()]

    def run(arrays: Arrays) -> Arrays:
        with foreign_errors(f"{shown}: ONNX Runtime fails on the pictures of the search"):
            return dict(zip(names, session.run(names, {name: arrays[name] for name in inputs}), strict=True))

    return run


def _choices(graph: ir.Graph) -> list[ir.Value]:
    """The chosen values that later stages read."""
    values = (value for node in graph for value in node.outputs)
    return [value for value in values if (value.name or "").startswith(CHOICES) and value.uses()]


def _values(graph: ir.Graph) -> list[ir.Value]:
    """What is computed between and after the choices: the maps and logits at the stages' boundaries, and the masks."""
    masks = [value for value in graph.outputs if value.name == "masks"]
    return [value for value in _between(graph) if not str(value.name).startswith(CHOICES)] + masks


def _between(graph: ir.Graph) -> list[ir.Value]:
    """The values at the stages' boundaries."""
    values = (value for node in graph for value in node.outputs)
    return [value for value in values if (value.name or "").startswith(BOUNDARY)]


def _noise(found: Arrays, reference: Arrays) -> float:
    """The sum over the kinds of values of their noise."""
    errors, powers = dict[str, float](), dict[str, float]()
    for kind, own, other, weight in _parts(found, reference):
        errors[kind] = errors.get(kind, 0.0) + float((weight * (other - own) ** 2).sum())
        powers[kind] = powers.get(kind, 0.0) + float((weight * own**2).sum())
    return sum(errors[kind] / max(powers[kind], TINY) for kind in errors)


def _parts(found: Arrays, reference: Arrays) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """Each kind of value, as the source has it and as it was found, and a weight: what is no object weighs little."""
    between = [name for name in found if name.startswith(BOUNDARY)]
    pairs = {name: (reference[name].astype(np.float64), found[name].astype(np.float64)) for name in between}
    for name, (own, other) in pairs.items():
        if name.startswith(BOUNDARY + "rpn_joint_"):
            # A logit and four deltas for each anchor.
            anchors = own.shape[1] // 5
            weight = 1 / (1 + np.exp(-own[:, :anchors].clip(-60, 60)))
            yield "rpn logits", own[:, :anchors], other[:, :anchors], weight
            yield "rpn deltas", own[:, anchors:], other[:, anchors:], weight.repeat(4, axis=1)
    real = (reference[BOUNDARY + "proposal_scores"] >= 0).reshape(-1, 1)
    own, other = pairs[BOUNDARY + "class_logits"]
    yield "class logits", own, other, real.astype(np.float64)
    background = np.exp(own[:, -1:] - np.logaddexp.reduce(own, axis=1, keepdims=True))
    yield "box deltas", *pairs[BOUNDARY + "box_deltas"], real * (1 - background)
    detected = np.arange(reference["masks"].shape[1]) < reference["num_detections"][:, None]
    # Probabilities: one half is undecided.
    own, other = (arrays["masks"][detected].astype(np.float64) - 0.5 for arrays in (reference, found))
    yield "masks", own, other, np.ones(1)
