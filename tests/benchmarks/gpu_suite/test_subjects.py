"""Networks with random weights fill every place on one image, and few on another."""

import numpy as np
import pytest

import engines
from benchmarks.gpu_suite.subjects import Family, subject
from tests.benchmarks.gpu_suite.conftest import MakeContext


@pytest.mark.parametrize("family", ["refinemask", "mask-rcnn"])
def test_many_fill_every_place_and_few_do_not(make_context: MakeContext, family: Family) -> None:
    network = subject(make_context(), family)
    engine = engines.load(network.checkpoint)
    many, few = (engine.infer(*network.images[crowd][:2]).num_detections[0] for crowd in ("many", "few"))
    assert many == engine.config.box_head.detections
    assert 0 < few < many
    assert (
        type(engine.config.mask_head).__name__
        == {"refinemask": "RefineMaskConfig", "mask-rcnn": "FCNMaskConfig"}[family]
    )


def test_a_network_is_made_once(make_context: MakeContext) -> None:
    context = make_context()
    first = subject(context, "refinemask")
    written = first.checkpoint.stat().st_mtime_ns
    again = subject(context, "refinemask")
    assert again.checkpoint.stat().st_mtime_ns == written
    assert np.array_equal(first.images["few"].images, again.images["few"].images)


def test_a_batch_repeats_the_image(make_context: MakeContext) -> None:
    network = subject(make_context(), "refinemask")
    batch = network.batch("many", 3)
    assert batch.images.shape == (3, 3, *network.canvas)
    assert batch.image_sizes.shape == (3, 2)
    assert batch.scale_factors.shape == (3, 4)
    assert (batch.images == network.images["many"].images).all()
