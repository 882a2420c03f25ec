"""A detector that waits as for a GPU, and what is left for the host."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2

from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.random_detections import random_detections
from benchmarks.harness.summary import paired_ratio, quartiles
from benchmarks.streaming.report import HostReport, WaitingReport
from benchmarks.streaming.turns import Route, Watch, serial, speed, streamed, take_turns
from benchmarks.streaming.waiting import DeviceQueue, Found, WaitingPredictor
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.masks import paste_rle

SETS = 4
"""Sets of objects, of which each image has one."""
MASK_SIZE = 112
CONCURRENCIES = 1, 2
"""Images that the device is given at the same time; a GPU's engines have two slots."""
CONCURRENCY = CONCURRENCIES[-1]
WARM_IMAGES = 8
"""Images before those that count."""


def given_objects(masks: int, height: int, width: int) -> Found:
    """Masks and boxes of :data:`SETS` images, as a detector gives them."""
    drawn = (random_detections(masks, height, width, mask_size=MASK_SIZE, seed=seed) for seed in range(SETS))
    return [(mask.numpy(), boxes.numpy()) for mask, boxes in drawn]


def measure_waiting(milliseconds: float, paths: Sequence[Path], found: Found, rounds: int) -> list[WaitingReport]:
    """The pipeline, one image after the other, and the device alone, for each number of images on the device.

    Args:
        milliseconds: time of an image on the device.
        paths: the image files of a round.
        found: what the detector finds.
        rounds: times that each route runs.

    Raises:
        FailedCheckError: the pipeline's results are not those of one image after the other.
    """
    count, seconds, load = len(paths), milliseconds / 1e3, ForeignLoad([os.getpid()])
    predictors = {places: WaitingPredictor(seconds, places, found) for places in CONCURRENCIES}
    watches = {places: Watch() for places in CONCURRENCIES}
    routes = {"serial": Route(partial(serial, predictors[1], paths), count)}
    for places, predictor in predictors.items():
        streamed(predictor, paths[:WARM_IMAGES], Watch())
        routes[f"streamed {places}"] = Route(partial(streamed, predictor, paths, watches[places]), count)
        routes[f"alone {places}"] = Route(partial(run_alone, seconds, places, count), count)
    rates = take_turns(routes, rounds)
    foreign = load.fraction()
    return [
        WaitingReport(
            milliseconds=milliseconds,
            concurrency=places,
            images=count,
            serial=speed(rates["serial"]),
            streamed=speed(rates[f"streamed {places}"]),
            alone=speed(rates[f"alone {places}"]),
            # Of two latencies it is the first over the second; these are rates.
            share=paired_ratio(rates[f"streamed {places}"], rates[f"alone {places}"]),
            gain=paired_ratio(rates[f"streamed {places}"], rates["serial"]),
            busy=watches[places].report(),
            foreign_load=foreign,
        )
        for places in CONCURRENCIES
    ]


def run_alone(seconds: float, places: int, images: int) -> None:
    """Give a device so many images, from as many threads as it has places."""
    device = DeviceQueue(seconds, places)
    with ThreadPoolExecutor(places) as threads:
        list(threads.map(lambda _: device.run(), range(images)))


def measure_host(paths: Sequence[Path], found: Found, rounds: int) -> HostReport:
    """Processor time of decoding, resizing and pasting, on one thread."""
    preprocessing, threads = WaitingPredictor.config.preprocessing, cv2.getNumThreads()
    times: dict[str, list[float]] = {"decode": [], "resize": [], "paste": []}
    cv2.setNumThreads(1)
    try:
        for number in range(-1, rounds):
            marks = [time.process_time()]
            images = [read_image(path) for path in paths]
            marks.append(time.process_time())
            for image in images:
                preprocess([image], preprocessing)
            marks.append(time.process_time())
            for index, image in enumerate(images):
                paste_rle(*found[index % len(found)], *image.shape[:2])
            marks.append(time.process_time())
            if number >= 0:
                for name, start, end in zip(times, marks[:-1], marks[1:], strict=True):
                    times[name].append((end - start) / len(paths))
    finally:
        cv2.setNumThreads(threads)
    return HostReport(
        milliseconds={name: quartiles([each * 1e3 for each in values]) for name, values in times.items()},
        images_per_second=quartiles([1 / sum(parts) for parts in zip(*times.values(), strict=True)]),
    )
