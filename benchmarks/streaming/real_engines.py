"""Engines on image files, by the pipeline and one image after the other."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import engines
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.spec import EngineSpec
from benchmarks.harness.summary import paired_ratio
from benchmarks.streaming.memory import peak_mib
from benchmarks.streaming.report import EngineReport
from benchmarks.streaming.turns import Route, Watch, serial, speed, streamed, take_turns
from engines import Engine
from refinemask.bundled import NUCLEI
from refinemask.data.annotated import locate, read_annotated
from refinemask.data.coco import CocoImage, read_coco
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.evaluation.predictions import predict_dataset
from refinemask.files import sha256
from refinemask.prediction import predict

FEWEST_IMAGES = 3
"""Images of a round, where an engine is so slow that they take longer than a round should."""
IMAGES = NUCLEI / "images"


def measure_engine(
    spec: EngineSpec, paths: Sequence[Path], *, rounds: int, threads: int, turn_seconds: float
) -> EngineReport:
    """Let the pipeline and one image after the other take turns, in this process.

    Args:
        spec: the engine.
        paths: image files, of which a round has the first ones.
        rounds: times that each way runs.
        threads: CPU threads of the engine.
        turn_seconds: time that a turn should take.

    Raises:
        UserError: the engine or an image is wrong.
        FailedCheckError: the pipeline's results are not those of one image after the other.
    """
    engine = _load(spec, threads)
    start = time.perf_counter()
    serial(engine, paths[:1])
    paths = paths[: max(FEWEST_IMAGES, round(turn_seconds / (time.perf_counter() - start)))]
    # Every size is warm before any counts.
    serial(engine, paths)
    peak_mib_serial, watch = peak_mib(), Watch()
    ways = {
        "serial": Route(partial(serial, engine, paths), len(paths)),
        "streamed": Route(partial(streamed, engine, paths, watch), len(paths)),
    }
    report = _compare(spec, engine, ways, rounds)
    return replace(report, busy=watch.report(), peak_mib_serial=peak_mib_serial, peak_mib_streamed=peak_mib())


def measure_evaluation(spec: EngineSpec, images: int, *, rounds: int, threads: int) -> EngineReport:
    """The predictions of an evaluation of the bundled nuclei, in this process: before, and by the pipeline.

    Args:
        spec: the engine.
        images: number of images of all rounds; the validation images come again and again.
        rounds: times that each way runs, each time on its share of the images.
        threads: CPU threads of the engine.

    Raises:
        UserError: the engine is wrong.
        FailedCheckError: the two files of predictions differ in a byte.
    """
    engine = _load(spec, threads)
    known = read_coco(NUCLEI / "annotations" / "instances_val.json").images
    share = [replace(known[number % len(known)], id=number + 1) for number in range(max(1, images // rounds))]
    serial(engine, [locate(IMAGES, image.file_name) for image in share[:FEWEST_IMAGES]])
    ways = {
        "serial": Route(partial(predict_one_by_one, engine, share), len(share)),
        "streamed": Route(partial(predict_by_pipeline, engine, share), len(share)),
    }
    return _compare(spec, engine, ways, rounds)


def predict_one_by_one(engine: Engine, images: Sequence[CocoImage]) -> bytes:
    """The file of predictions, as an evaluation wrote it before there was a pipeline."""
    window = engine.config.preprocessing.window
    with tempfile.TemporaryDirectory() as folder:
        with PredictionFile(Path(folder) / "predictions", {}) as predictions:
            for image in images:
                pixels, picture = read_annotated(IMAGES, image, window), sha256(locate(IMAGES, image.file_name))
                predictions.append(image.id, predict(engine, [pixels])[0].to_coco(), picture)
        return predictions.path.read_bytes()


def predict_by_pipeline(engine: Engine, images: Sequence[CocoImage]) -> bytes:
    """The file of predictions, as an evaluation writes it."""
    with tempfile.TemporaryDirectory() as folder:
        with PredictionFile(Path(folder) / "predictions", {}) as predictions:
            predict_dataset(engine, images, IMAGES, predictions)
        return predictions.path.read_bytes()


def _load(spec: EngineSpec, threads: int) -> Engine:
    """The engine, after its first image, which takes longer than others."""
    engine = engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)
    serial(engine, sorted(IMAGES.iterdir())[:1])
    return engine


def _compare(spec: EngineSpec, engine: Engine, ways: dict[str, Route], rounds: int) -> EngineReport:
    load = ForeignLoad([os.getpid()])
    rates = take_turns(ways, rounds)
    return EngineReport(
        spec=str(spec),
        name=engine.name,
        precision=engine.precision,
        images=ways["serial"].images,
        serial=speed(rates["serial"]),
        streamed=speed(rates["streamed"]),
        gain=paired_ratio(rates["streamed"], rates["serial"]),
        foreign_load=load.fraction(),
    )
