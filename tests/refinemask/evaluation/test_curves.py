"""What stands behind an average precision."""

import numpy as np

from refinemask.evaluation.curves import class_average_precision, precision_recall


def test_classes_without_objects_are_left_out_of_the_curves() -> None:
    precision = np.full((3, 4, 10, 101), 0.25)
    precision[0, 0] = np.linspace(1, 0, 101)
    precision[0, 0, 5] = 0.75
    precision[1, 0] = np.nan
    curves = precision_recall(precision)
    assert list(curves) == ["AP50", "AP75", "AP"]
    assert curves["AP50"][0] == (1 + 0.25) / 2
    assert set(curves["AP75"]) == {(0.75 + 0.25) / 2}
    # The two classes' APs have the mean of the curve of all IoU thresholds.
    aps = class_average_precision(precision)
    assert aps[1:] == [-1, 0.25]
    assert np.isclose(np.mean(curves["AP"]), (aps[0] + aps[2]) / 2, rtol=0, atol=1e-12)


def test_without_objects_there_is_no_curve() -> None:
    assert precision_recall(np.full((2, 4, 10, 101), np.nan)) == {}
