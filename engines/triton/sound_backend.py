"""Whether this server's Python backend reads the arrays of the installed NumPy rightly.

One that was built for NumPy 1 takes the size of an item from the wrong place in an array of NumPy 2. It then sends
outputs of the wrong length, and every request fails. Arrays that it makes itself from memory show that: they repeat
their first value.
"""

from typing import Any

import numpy as np

from refinemask.files import UserError


def require_sound_backend(pb_utils: Any) -> None:
    """Raise a UserError unless an array that the backend reads from memory is what was put there.

    Args:
        pb_utils: the module ``triton_python_backend_utils`` of the server.
    """
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = pb_utils.Tensor("written", array)
    # Not the first tensor's own array, which it would only give back.
    found = pb_utils.Tensor.from_dlpack("read", tensor.to_dlpack()).as_numpy()
    if found.shape != array.shape or not (found == array).all():
        raise UserError(
            f"this server's Python backend does not work with NumPy {np.__version__}: it reads {found.tolist()} where "
            f"{array.tolist()} was written; install another in the server's environment: pip install 'numpy<2'"
        )
