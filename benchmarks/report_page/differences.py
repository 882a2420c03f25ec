"""The section of a page that shows where engines differ most."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness.report import ComparisonReport
from benchmarks.report_page.names import engine_series
from benchmarks.report_page.write import Extra
from refinemask.config import Window
from refinemask.data.coco import CocoDataset
from refinemask.differences.figures import differences_html, engine_differences
from refinemask.differences.pairing import MIN_SCORE
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.page.document import Section
from refinemask.page.viewer import VIEWER_SCRIPT, VIEWER_STYLE


def differences(
    report: ComparisonReport,
    predictions: Sequence[PredictionFile],
    window: Window | None,
    *,
    dataset: CocoDataset,
    directory: Path,
) -> Extra | None:
    """The images in which an engine's masks differ most from the first engine's; None if there is no other engine.

    Args:
        report: the engines.
        predictions: what each engine found.
        window: how the engines see images of more than 8 bits.
        dataset: the annotated images.
        directory: folder of the images' files.

    Raises:
        UserError: an image cannot be read any more.
    """
    if len(predictions) < 2:
        return None
    found = [partial(each.sure, least=MIN_SCORE / 2) for each in predictions]
    names = [each.name for each in engine_series(report.engines)]
    html = differences_html(engine_differences(dataset, directory, window, names, found, sorted(predictions[0])))
    return Extra(Section("differences", "Where the masks differ most", html), VIEWER_STYLE, VIEWER_SCRIPT)
