"""Ways to predict the same images, taking turns."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmarks.harness.summary import quartiles
from benchmarks.streaming.report import Busy, Speed
from refinemask.data.images import read_image
from refinemask.files import FailedCheckError
from refinemask.prediction import Predictor, predict
from refinemask.sources.files import Files
from refinemask.sources.images import ImageFile
from refinemask.streaming.pipeline import Pipeline
from refinemask.streaming.stream import stream
from refinemask.structures import Result


@dataclass(frozen=True)
class Route:
    """One way, and how many images it takes per turn."""

    run: Callable[[], object]
    """Does the work; what it returns must equal what the others return, unless it is None."""
    images: int


def take_turns(routes: Mapping[str, Route], rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Images per second of each route in each round.

    Turns are shuffled, so that no route always follows the same neighbour.

    Raises:
        FailedCheckError: two routes differ in what they return.
    """
    shuffle = random.Random(seed)
    rates: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds):
        found: dict[str, object] = {}
        for name in shuffle.sample(list(routes), len(routes)):
            start = time.perf_counter()
            answer = routes[name].run()
            seconds = time.perf_counter() - start
            if answer is not None:
                found[name] = answer
            rates[name].append(routes[name].images / seconds)
        require_equal(found)
    return rates


def require_equal(found: Mapping[str, object]) -> None:
    """Raise a FailedCheckError unless all routes found the same."""
    (first, expected), *others = found.items()
    for name, answer in others:
        if answer != expected:
            raise FailedCheckError(f"the results of '{name}' are not those of '{first}'")


def serial(predictor: Predictor, paths: Sequence[Path]) -> list[list[Result]]:
    """The results of each image file, which is read, predicted and pasted before the next."""
    window = predictor.config.preprocessing.window
    return [predict(predictor, [read_image(path, window)])[0].to_coco() for path in paths]


@dataclass
class Watch:
    """What passes through the pipeline waited for."""

    limits: list[str] = field(default_factory=list)
    shares: list[dict[str, float]] = field(default_factory=list)

    def note(self, pipeline: Pipeline[Any]) -> None:
        """A pass has ended."""
        self.limits.append(pipeline.meter.limit())
        self.shares.append(pipeline.meter.shares())

    def report(self) -> Busy:
        """All passes together."""
        medians = {stage: float(np.median([each[stage] for each in self.shares])) for stage in self.shares[0]}
        return Busy(
            limits=dict(Counter(self.limits)), shares={stage: round(share, 3) for stage, share in medians.items()}
        )


def streamed(predictor: Predictor, paths: Sequence[Path], watch: Watch) -> list[list[Result]]:
    """The results of each image file, by the pipeline."""
    pipeline = stream(predictor, Files([ImageFile(path, PurePosixPath(path.stem)) for path in paths]))
    found = []
    for result in pipeline.results():
        if result.error is not None:
            raise result.error
        assert result.prediction is not None
        found.append(result.prediction.to_coco())
    watch.note(pipeline)
    return found


def speed(samples: Sequence[float]) -> Speed:
    """Rates of one route."""
    return Speed(images_per_second=quartiles(samples), samples=tuple(round(each, 3) for each in samples))
