"""The parts of a detector as a program that is not compiled."""

from engines.compiled.parts import Boxes, Features, ImageMaps, Masks
from engines.compiled.program import Program
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.detector import Detector


def eager_program(detector: Detector) -> Program:
    """The parts of a detector in eager PyTorch."""
    boxes = Boxes(detector)
    return Program(
        features=Features(detector),
        boxes=lambda features, image_sizes: DetectedBoxes(*boxes(features, image_sizes)),
        image_maps=ImageMaps(detector),
        masks=Masks(detector),
    )
