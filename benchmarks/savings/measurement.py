"""Running every saving off and on, in turns, and then the whole mask head in every runtime."""

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from statistics import mean, median

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.provenance import provenance
from benchmarks.harness.random_detections import random_detections
from benchmarks.harness.summary import paired_ratio
from benchmarks.savings.catalogue import SAVINGS
from benchmarks.savings.head_export import runners
from benchmarks.savings.plain_head import PlainRefineMaskHead
from benchmarks.savings.rearrangements import Pair, Scene, pairs, with_image_index
from benchmarks.savings.report import HeadReport, OffOn, OffOnSamples, SavingReport, SavingsReport, Settings
from refinemask.bundled import PHOTOS
from refinemask.config import Preprocessing, RefineMaskConfig
from refinemask.crossings import THRESHOLD
from refinemask.data.coco import read_coco
from refinemask.data.transforms import resize_shape
from refinemask.modeling.refine_mask_head import RefineMaskHead, merge_stages

CHANNELS, NUM_CLASSES = 256, 80
RUNTIMES = ("PyTorch", "ONNX Runtime", "OpenVINO")


def measure_savings(settings: Settings) -> SavingsReport:
    """Run the whole head off and on in each runtime in turns, then all pairs in turns.

    Raises:
        UserError: OpenVINO is not installed.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    plain = PlainRefineMaskHead(CHANNELS, NUM_CLASSES, RefineMaskConfig()).eval()
    ours = RefineMaskHead(CHANNELS, NUM_CLASSES, RefineMaskConfig()).eval()
    ours.load_state_dict(plain.state_dict())
    _, boxes = random_detections(settings.detections, settings.height, settings.width, mask_size=1)
    scene = Scene.random(settings.height, settings.width, boxes, NUM_CLASSES, CHANNELS)
    load = ForeignLoad([os.getpid()])
    with torch.no_grad():
        heads = _measure_heads(settings, plain, ours, scene)
        savings = _measure_pairs(settings, ours, scene)
    return SavingsReport(
        provenance=provenance(), settings=settings, foreign_load=load.fraction(), savings=savings, heads=heads
    )


def photo_boxes(height: int, width: int) -> Iterator[Tensor]:
    """The annotated boxes [N, 4] of one bundled photograph after another, resized to fit the canvas; without end."""
    dataset = read_coco(PHOTOS / "annotations" / "instances_val.json")
    for image in cycle(dataset.images):
        new_height, new_width = resize_shape(image.height, image.width, Preprocessing(), (height, width))
        boxes = torch.tensor([each.bbox for each in dataset.annotations[image.id]])
        boxes[:, 2:] += boxes[:, :2]
        yield boxes * torch.tensor([new_width / image.width, new_height / image.height]).repeat(2)


@dataclass(frozen=True)
class Sample:
    """One saving off and on, once each."""

    seconds: dict[str, float]
    """CPU seconds of all threads, by side."""
    gflop: dict[str, float]
    """Billions of operations, by side; empty if not counted."""
    difference: float
    """Largest difference, relative to the largest value."""
    equal: bool
    """Whether both sides gave the same, bit for bit."""


def take_sample(pair: Pair, shuffle: random.Random, count: bool) -> Sample:
    """Run both sides in random order; counting slows them down a little."""
    sides = {"off": pair.off, "on": pair.on}
    seconds, gflop, results = {}, {}, {}
    for side in shuffle.sample(sorted(sides), len(sides)):
        with FlopCounterMode(display=False) if count else nullcontext() as counter:
            start = time.process_time()
            results[side] = sides[side]()
            seconds[side] = time.process_time() - start
        if counter is not None:
            gflop[side] = counter.get_total_flops() / 1e9
    both = list(zip(results["off"], results["on"], strict=True))
    difference = max(float((a - b).abs().max() / a.abs().max()) for a, b in both)
    return Sample(seconds, gflop, difference, all(torch.equal(a, b) for a, b in both))


def _measure_pairs(settings: Settings, head: RefineMaskHead, scene: Scene) -> tuple[SavingReport, ...]:
    shuffle, samples = random.Random(0), defaultdict[str, list[Sample]](list)
    image = torch.randn(1, 3, settings.height, settings.width)
    photos = photo_boxes(settings.height, settings.width)
    for number in track(range(-1, settings.rounds), "savings off and on", transient=True):
        boxes = next(photos)
        natural = replace(scene, rois=with_image_index(boxes), labels=scene.labels[:1].expand(len(boxes)))
        turn = pairs(head, scene, natural, image)
        shuffle.shuffle(turn)
        for pair in turn:
            # The first round warms up and counts, but what depends on the photograph is counted in each.
            count = number < 0 or pair.saving.depends_on_picture
            samples[pair.saving.name].append(take_sample(pair, shuffle, count))
    return tuple(
        _saving(number, name, samples[name]) for number, name in enumerate(SAVINGS, start=1) if name in samples
    )


def _saving(number: int, name: str, samples: list[Sample]) -> SavingReport:
    counted = [sample.gflop for sample in samples if sample.gflop]
    off, on = ([sample.seconds[side] for sample in samples[1:]] for side in ("off", "on"))
    return SavingReport(
        number=number,
        name=name,
        exactness=SAVINGS[name].exactness,
        used=SAVINGS[name].used,
        gflop=OffOn(*(round(mean(each[side] for each in counted), 3) for side in ("off", "on"))),
        ms=_milliseconds(off, on),
        largest_relative_difference=max(sample.difference for sample in samples),
        bit_equal=all(sample.equal for sample in samples),
        samples_ms=OffOnSamples(*(tuple(round(1e3 * each, 2) for each in side) for side in (off, on))),
    )


def _milliseconds(off: list[float], on: list[float]) -> OffOn:
    return OffOn(round(1e3 * median(off), 2), round(1e3 * median(on), 2))


def _measure_heads(
    settings: Settings, plain: RefineMaskHead, ours: RefineMaskHead, scene: Scene
) -> tuple[HeadReport, ...]:
    """The whole head with all that is used everywhere, against the plain one, in each runtime."""
    shuffle = random.Random(0)
    sides = {"off": runners(plain, scene, settings.threads), "on": runners(ours, scene, settings.threads)}
    for side, head in (("off", plain), ("on", ours)):
        sides[side]["PyTorch"] = partial(_predict, head, scene)
    contenders = [(side, runtime) for side, runs in sides.items() for runtime in runs]
    seconds = defaultdict[tuple[str, str], list[float]](list)
    for number in track(range(-1, settings.rounds), "whole heads", transient=True):
        masks = {}
        for side, runtime in shuffle.sample(contenders, len(contenders)):
            start = time.process_time()
            masks[side, runtime] = sides[side][runtime]()
            if number >= 0:
                seconds[side, runtime].append(time.process_time() - start)
    return tuple(
        HeadReport(
            runtime=runtime,
            ms=_milliseconds(seconds["off", runtime], seconds["on", runtime]),
            speedup=paired_ratio(seconds["off", runtime], seconds["on", runtime]),
            changed_pixels=int(((masks["off", runtime] >= THRESHOLD) != (masks["on", runtime] >= THRESHOLD)).sum()),
            pixels=int(np.prod(masks["off", runtime].shape)),
        )
        for runtime in RUNTIMES
    )


def _predict(head: RefineMaskHead, scene: Scene) -> np.ndarray:
    # With the whole semantic branch: what follows from the picture is another saving.
    return merge_stages(head(scene.pyramid, scene.rois, scene.labels).stage_logits).sigmoid()[:, 0].numpy()
