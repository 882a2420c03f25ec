"""On the path of a batch job, it lets images of the worker processes take ``SECONDS_AN_IMAGE``, and some kill them.

A name with ``deadly`` kills the process that reads it. Other processes are as they were.
"""

import os
import signal
import sys
import time

if "refinemask.batch.child" in sys.orig_argv:
    from refinemask.batch import referenced

    _read = referenced.read_bytes

    def _slow(reference: str) -> bytes:
        time.sleep(float(os.environ.get("SECONDS_AN_IMAGE", "0")))
        if "deadly" in reference:
            os.kill(os.getpid(), signal.SIGSEGV)
        return _read(reference)

    referenced.read_bytes = _slow
