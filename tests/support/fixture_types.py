"""What the fixtures of tests/conftest.py are."""

from collections.abc import Callable

import numpy as np
import torch

from refinemask.modeling.detector import Detector

Golden = Callable[[str], dict[str, np.ndarray]]
OfficialState = Callable[[str], dict[str, torch.Tensor]]
OfficialDetector = Callable[[str], Detector]
