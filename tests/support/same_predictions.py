"""Whether predictions are the same, byte for byte."""

from collections.abc import Iterable

from refinemask.prediction import Prediction


def content(prediction: Prediction) -> tuple[object, ...]:
    """All that a prediction says of its image, as values that can be compared."""
    arrays = (prediction.boxes, prediction.scores, prediction.labels)
    return (
        (prediction.height, prediction.width),
        tuple((str(array.dtype), array.shape, array.tobytes()) for array in arrays),
        tuple((tuple(rle["size"]), rle["counts"]) for rle in prediction.rles),
    )


def contents(predictions: Iterable[Prediction]) -> list[tuple[object, ...]]:
    """The content of each."""
    return [content(prediction) for prediction in predictions]
