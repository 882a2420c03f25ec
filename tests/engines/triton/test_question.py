"""What a request asks, and what is refused before anything is decoded."""

import json

import numpy as np
import pytest

from engines.triton.question import Wanted, ask
from refinemask.contract import InputError

DEFAULT = Wanted(response="rle", score_threshold=0.5)
ONE = np.array([[b"file"]], object)


def test_headers_that_the_server_forwards_are_passed_over() -> None:
    headers = {"Accept-Encoding": "identity", "user-agent": "curl", "X-Request-Id": "1", "Host": "a"}
    [image] = ask(ONE, None, json.dumps(headers | {"response": "masks"}), DEFAULT)
    assert image.wanted == Wanted(response="masks", score_threshold=0.5)


@pytest.mark.parametrize("name", ["respons", "score_treshold", "Response", "threshold_score"])
def test_a_parameter_that_is_misspelt_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected response or score_threshold.*did you mean"):
        ask(ONE, None, json.dumps({name: "rle"}), DEFAULT)


def test_texts_of_another_shape_are_refused() -> None:
    """The array that the backend makes of a shape such as [2**62, 1] has one dimension."""
    with pytest.raises(InputError, match=r"1 texts and another shape than \[B, 1\]"):
        ask(ONE[0], None, "", DEFAULT)
