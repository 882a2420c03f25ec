"""What each exact saving of work gives on a CPU: ``python -m benchmarks.savings --output savings.json``."""

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch
import tyro
from rich.box import MARKDOWN
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import paste
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.measure import require_at_least
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report import Report, run_and_print
from benchmarks.harness.summary import paired_ratio
from benchmarks.savings.head_export import runners
from benchmarks.savings.plain_head import PlainRefineMaskHead
from benchmarks.savings.rearrangements import Pair, Scene, pairs, with_image_index
from refinemask.bundled import PHOTOS
from refinemask.config import Preprocessing, RefineMaskConfig
from refinemask.data.coco import read_coco
from refinemask.data.transforms import resize_shape
from refinemask.modeling.refine_mask_head import RefineMaskHead, merge_stages

CHANNELS, NUM_CLASSES = 256, 80
OF_PHOTOS = (9, 11)
"""Savings that depend on what a picture shows."""
ELSEWHERE = (
    (8, "RoIAlign as two separable sums", "algebraic", "TensorRT plugin", "python -m benchmarks.gpu_suite"),
    (10, "semantic branch beside the box head on a second stream", "bit-exact", "no", "for GPUs"),
    (12, "stage 3 only at the boundary", "bit-exact", "no", "needs a kernel of its own"),
    (13, "no taps in the padding of dilated convolutions", "bit-exact", "no", "needs a kernel of its own"),
    (16, "boundary test and merge as one operator", "bit-exact", "TensorRT plugin", "python -m benchmarks.gpu_suite"),
    (17, "uint8 in, normalised in the network", "bit-exact", "everywhere", "python -m benchmarks.preprocess"),
    (19, "pasted within the box, runs without pixels", "bit-exact", "everywhere", "python -m benchmarks.paste"),
    (20, "NMS and top-k of fixed sizes, one graph", "bit-exact", "exports", "no synchronisation; for GPUs"),
)
"""Number, name, exactness, where the product has it, and where it is measured or why not here."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure each rearrangement of the mask head off and on, in turns: GFLOP by count, CPU seconds of all threads."""

    height: int = 800
    width: int = 1344
    detections: int = 100
    rounds: int = 12
    """The natural number of objects is that of one bundled photograph per round."""
    threads: int = 1
    output: Path | None = None
    """JSON file for the result."""


def measure(args: Args) -> Report:
    """Run all pairs in turns, then the whole head off and on in each runtime in turns.

    Raises:
        UserError: no rounds are asked for.
    """
    require_at_least(1, rounds=args.rounds)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    plain = PlainRefineMaskHead(CHANNELS, NUM_CLASSES, RefineMaskConfig()).eval()
    ours = RefineMaskHead(CHANNELS, NUM_CLASSES, RefineMaskConfig()).eval()
    ours.load_state_dict(plain.state_dict())
    boxes = paste.example(paste.Args(detections=args.detections, height=args.height, width=args.width, mask_size=1))[1]
    scene = Scene.random(args.height, args.width, boxes, NUM_CLASSES, CHANNELS)
    load = ForeignLoad([os.getpid()])
    with torch.no_grad():
        heads = _measure_heads(args, plain, ours, scene)
        savings = _measure_pairs(args, ours, scene)
    return {
        "provenance": provenance([]),
        "settings": {key: value for key, value in asdict(args).items() if key != "output"},
        "foreign_load": load.fraction(),
        "savings": savings,
        "heads": heads,
    }


def photo_boxes(height: int, width: int) -> Iterator[Tensor]:
    """The annotated boxes [N, 4] of one bundled photograph after another, resized to fit the canvas; without end."""
    dataset = read_coco(PHOTOS / "annotations" / "instances_val.json")
    for image in cycle(dataset.images):
        new_height, new_width = resize_shape(image.height, image.width, Preprocessing(), (height, width))
        boxes = torch.tensor([each.bbox for each in dataset.annotations[image.id]])
        boxes[:, 2:] += boxes[:, :2]
        yield boxes * torch.tensor([new_width / image.width, new_height / image.height]).repeat(2)


def _measure_pairs(args: Args, head: RefineMaskHead, scene: Scene) -> list[Report]:
    shuffle, samples = random.Random(0), defaultdict[int, list[Sample]](list)
    image, photos = torch.randn(1, 3, args.height, args.width), photo_boxes(args.height, args.width)
    for number in track(range(-1, args.rounds), "savings off and on", transient=True):
        boxes = next(photos)
        natural = replace(scene, rois=with_image_index(boxes), labels=scene.labels[:1].expand(len(boxes)))
        turn = pairs(head, scene, natural, image)
        shuffle.shuffle(turn)
        for pair in turn:
            # The first round warms up and counts, but what depends on the photograph is counted in each.
            count = number < 0 or pair.number in OF_PHOTOS
            samples[pair.number].append(take_sample(pair, shuffle, count))
    return [_summary(pair, samples[pair.number]) for pair in sorted(turn, key=lambda pair: pair.number)]


@dataclass(frozen=True)
class Sample:
    """Both sides once."""

    seconds: dict[str, float]
    """CPU time of all threads."""
    gflop: dict[str, float]
    """Empty if not counted."""
    difference: float
    """Largest, relative to the largest value."""
    equal: bool
    """Bit for bit."""


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


def _summary(pair: Pair, samples: list[Sample]) -> Report:
    counted = [sample.gflop for sample in samples if sample.gflop]
    timed = [sample.seconds for sample in samples[1:]]
    return {
        "number": pair.number,
        "name": pair.name,
        "exactness": pair.exactness,
        "used": pair.used,
        "gflop": {side: round(mean(each[side] for each in counted), 3) for side in ("off", "on")},
        "ms": {side: round(1e3 * median(each[side] for each in timed), 2) for side in ("off", "on")},
        "largest_relative_difference": max(sample.difference for sample in samples),
        "bit_equal": all(sample.equal for sample in samples),
        "samples_ms": {side: [round(1e3 * each[side], 2) for each in timed] for side in ("off", "on")},
    }


def _measure_heads(args: Args, plain: RefineMaskHead, ours: RefineMaskHead, scene: Scene) -> list[Report]:
    """The whole head with all that is used everywhere, against the plain one, in each runtime."""
    shuffle = random.Random(0)
    sides = {"off": runners(plain, scene, args.threads), "on": runners(ours, scene, args.threads)}
    for side, head in (("off", plain), ("on", ours)):
        sides[side]["PyTorch"] = partial(_predict, head, scene)
    contenders = [(side, runtime) for side, runs in sides.items() for runtime in runs]
    seconds = defaultdict[tuple[str, str], list[float]](list)
    for number in track(range(-1, args.rounds), "whole heads", transient=True):
        masks = {}
        for side, runtime in shuffle.sample(contenders, len(contenders)):
            start = time.process_time()
            masks[side, runtime] = sides[side][runtime]()
            if number >= 0:
                seconds[side, runtime].append(time.process_time() - start)
    return [
        {
            "runtime": runtime,
            "ms": {side: round(1e3 * median(seconds[side, runtime]), 2) for side in ("off", "on")},
            "speedup": asdict(paired_ratio(seconds["off", runtime], seconds["on", runtime])),
            "changed_pixels": int(((masks["off", runtime] >= 0.5) != (masks["on", runtime] >= 0.5)).sum()),
            "pixels": int(np.prod(masks["off", runtime].shape)),
        }
        for runtime in ("PyTorch", "ONNX Runtime", "OpenVINO")
    ]


def _predict(head: RefineMaskHead, scene: Scene) -> np.ndarray:
    # With the whole semantic branch: what follows from the picture is another saving.
    return merge_stages(head(scene.pyramid, scene.rois, scene.labels).stage_logits).sigmoid()[:, 0].numpy()


def tables(report: Report) -> list[Table]:
    """All savings by number, and the heads."""
    savings = Table(title="Exact savings, each on its own: PyTorch, CPU time of all threads", box=MARKDOWN)
    for heading in ("", "saving", "exactness", "used", "GFLOP off", "on", "ms off", "on", "difference, or where"):
        savings.add_column(heading, justify="left" if heading in ("saving", "exactness", "used") else "right")
    rows = {each["number"]: _cells(each) for each in report["savings"]}
    rows |= {
        number: (name, exactness, used, "", "", "", "", where) for number, name, exactness, used, where in ELSEWHERE
    }
    for number in sorted(rows):
        savings.add_row(str(number), *rows[number])
    heads = Table(title="The whole mask head: all that is used everywhere, off and on", box=MARKDOWN)
    for heading in ("runtime", "ms off", "on", "speed-up", "changed mask pixels"):
        heads.add_column(heading, justify="left" if heading == "runtime" else "right")
    for head in report["heads"]:
        changed = f"{head['changed_pixels']} of {head['pixels']}"
        heads.add_row(head["runtime"], *_off_on(head["ms"]), f"{head['speedup']['p50']:.2f}×", changed)
    return [savings, heads]


def _cells(saving: Report) -> tuple[str, ...]:
    equal, difference = saving["bit_equal"], saving["largest_relative_difference"]
    measured = (*_off_on(saving["gflop"]), *_off_on(saving["ms"]), "none" if equal else f"{difference:.0e}")
    return (saving["name"], saving["exactness"], saving["used"], *measured)


def _off_on(figures: dict[str, float]) -> tuple[str, str]:
    return f"{figures['off']:.1f}", f"{figures['on']:.1f}"


def main(args: Args | None = None) -> int:
    """Measure, print the tables, write the JSON; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args, description=__doc__)
    return run_and_print(lambda: measure(args), tables, args.output)


if __name__ == "__main__":
    raise SystemExit(main())
