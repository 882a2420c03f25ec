"""The section of a page that shows where engines differ most."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness.comparison import Look
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


def look_for_differences(extras: list[Extra], dataset: CocoDataset, directory: Path) -> Look:
    """A function for ``compare`` that adds the section to ``extras``, if there are engines to compare.

    Args:
        extras: gets the section.
        dataset: the annotated images.
        directory: folder of the images' files.
    """

    def look(report: ComparisonReport, predictions: Sequence[PredictionFile], window: Window | None) -> None:
        if len(predictions) < 2:
            return
        found = [partial(each.sure, least=MIN_SCORE / 2) for each in predictions]
        names = [each.name for each in engine_series(report.engines)]
        views = engine_differences(dataset, directory, window, names, found, sorted(predictions[0]))
        section = Section("differences", "Where the masks differ most", differences_html(views))
        extras.append(Extra(section, VIEWER_STYLE, VIEWER_SCRIPT))

    return look
