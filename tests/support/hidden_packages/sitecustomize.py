"""With this folder on PYTHONPATH a process, and all that it starts, does not find the packages in HIDDEN_PACKAGES."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HIDDEN = set(os.environ["HIDDEN_PACKAGES"].split())


class Hiding:
    """A finder that finds what another one finds, but for the hidden packages."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


sys.meta_path[:] = map(Hiding, sys.meta_path)
