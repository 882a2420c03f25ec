"""Whether this server's Python backend hands arrays over as they are.

That of some servers was built for NumPy 1 and reads the shapes of NumPy 2's arrays from the wrong place.
"""

from typing import Any

import numpy as np

from refinemask.files import UserError


def require_sound_backend(pb_utils: Any) -> None:
    """Raise a UserError unless arrays that become tensors keep their shapes, types and values.

    Args:
        pb_utils: the module ``triton_python_backend_utils`` of the server.
    """
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[b"a", b"bc"]], object)):
        try:
            found = pb_utils.Tensor("check", array).as_numpy()
            is_same = found.shape == array.shape and found.dtype == array.dtype and bool((found == array).all())
        except Exception:  # A backend that reads garbage raises any kind.
            is_same = False
        if not is_same:
            raise UserError(
                f"this server's Python backend does not work with NumPy {np.__version__}: an array {list(array.shape)} "
                "does not come back as it was; install another in the server's environment: pip install 'numpy<2'"
            )
