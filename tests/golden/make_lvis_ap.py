"""Writes lvis_ap.json with the `lvis` package, in an environment of its own.

python -m venv /tmp/lvis && /tmp/lvis/bin/pip install numpy pycocotools opencv-python-headless matplotlib
/tmp/lvis/bin/pip install --no-deps lvis==0.5.3    # then replace np.float by float in its eval.py
PYTHONPATH=. /tmp/lvis/bin/python tests/golden/make_lvis_ap.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from lvis import LVIS, LVISEval

from tests.support.lvis_cases import SYNTHETIC, jittered, synthetic_case


def reference(dataset: dict[str, Any], results: list[dict[str, Any]], iou_type: str) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(dataset, file)
        file.flush()
        evaluation = LVISEval(LVIS(file.name), results, iou_type)
    evaluation.run()
    return {name: float(value) for name, value in evaluation.results.items() if name.startswith("AP")}


def main() -> None:
    expected = {
        name: reference(*synthetic_case(seed, bbox=bbox), iou_type)
        for name, (seed, bbox, iou_type) in SYNTHETIC.items()
    }
    for name in ("lvis_v0.5_val_cut.json", "lvis_v0.5_val_cut_cocofied.json"):
        dataset = json.loads(Path(__file__).with_name(name).read_text())
        expected[name] = reference(dataset, jittered(dataset), "segm")
    Path(__file__).with_name("lvis_ap.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
