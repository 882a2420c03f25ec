"""The picture of one object's edges by several models."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinemask.bundled import DEMO, NUCLEI
from scripts.edges_picture import GAP, PANEL_WIDTH, Args, main

PHOTO = NUCLEI / "images" / "0105.png"
MODELS = DEMO / "weights" / "refinemask-nuclei.safetensors", DEMO / "weights" / "mask-rcnn-nuclei.safetensors"


def test_each_model_has_a_panel_with_the_outline_of_its_own_mask(tmp_path: Path) -> None:
    output = tmp_path / "edges.png"
    assert main(Args(photo=PHOTO, models=MODELS, crop=(120, 180, 24, 24), output=output)) == 0
    picture = np.asarray(Image.open(output))
    assert picture.shape == (PANEL_WIDTH, 2 * PANEL_WIDTH + GAP, 3)
    left, right = picture[:, :PANEL_WIDTH], picture[:, PANEL_WIDTH + GAP :]
    # The photograph is grey, so what has a colour was drawn.
    drawn = [np.ptp(panel.astype(int), axis=2) > 0 for panel in (left, right)]
    assert all(0.1 < share.mean() < 0.9 for share in drawn)
    assert (drawn[0] != drawn[1]).any()


def test_a_part_without_an_object_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "edges.png"
    assert main(Args(photo=PHOTO, models=MODELS[:1], crop=(100, 120, 8, 8), output=output)) == 2
    assert "finds nothing in (100, 120, 8, 8)" in capsys.readouterr().err
    assert not output.exists()
