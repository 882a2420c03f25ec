"""Build files with TensorRT-RTX ahead of time, on a CPU. Run as a script, by test_shipped_files.py.

Each line of the input is a build plan in JSON; the answer to each is a line of what was built, or of the error. A plan
without a plugin library is built with the Python plugins: they need no headers of TensorRT.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorrt_rtx

from engines.trt.builder import build_engine
from engines.trt.plan import BuildPlan
from refinemask.files import UserError
from trt_plugins.python_plugin import register


def main() -> None:
    keep: list[Any] = []
    for line in sys.stdin:
        plan = BuildPlan.from_json(line)
        if plan.plugins is None and not keep:
            keep = register(tensorrt_rtx)
        with tempfile.NamedTemporaryFile() as engine:
            try:
                answer = asdict(build_engine(plan, Path(engine.name), lambda phase, share: None))
                answer["bytes"] = Path(engine.name).stat().st_size
            except UserError as error:
                answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
