"""Inspections of damaged annotations: refused in one line, or counted and shown whatever they are."""

import json
from pathlib import Path

from PIL import Image

from refinemask.data.inspection.page import write_page
from refinemask.data.inspection.run import inspect
from refinemask.data.inspection.tables import show
from tests.fuzz.conftest import Seeds
from tests.support.mutations import refusal
from tests.support.own_data import noise
from tests.support.small_annotations import HEIGHT, WIDTH, damaged_content


def test_what_is_read_can_be_counted_printed_and_drawn(seeds: Seeds, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        Image.fromarray(noise(number, HEIGHT, WIDTH)).save(tmp_path / f"{name}.png")
    annotations = tmp_path / "train.json"
    shown = 0
    for random in seeds(25):
        annotations.write_text(json.dumps(damaged_content(random)))

        def inspected() -> None:
            nonlocal shown
            found = inspect(annotations, tmp_path)
            losses = found.training.losses
            assert 0 <= losses.lost <= losses.objects
            assert found.training.statistics.trainable <= losses.objects - losses.lost
            json.loads(found.to_json())
            show(found)
            write_page(found, tmp_path / "page.html", pictures=2)
            shown += 1

        refusal(inspected)
    assert shown
