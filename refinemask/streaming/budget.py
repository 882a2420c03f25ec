"""How many bytes of decoded images are in memory. Imports no PyTorch."""

from threading import Condition


class Budget:
    """Bytes in use, and a gate that images pass in their order while there are not too many."""

    def __init__(self, most: int) -> None:
        """``most`` is the number of bytes from which on no other image passes."""
        self._most, self._used, self._next, self._closed = most, 0, 0, False
        self._changed = Condition()

    def wait(self) -> None:
        """Wait for room, or until the gate is closed; what waits here holds no bytes that others wait for."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._used < self._most)

    def enter(self, index: int) -> bool:
        """Wait for the turn of the image at this position, and for room; False if the gate was closed meanwhile.

        A later image must not pass first: its bytes could be what an earlier one waits for, while it waits for the
        earlier one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (index == self._next and self._used < self._most))
            self._next += 1
            self._changed.notify_all()
            return not self._closed

    def add(self, size: int) -> None:
        """Count bytes of an image, or negative ones of an image that is gone."""
        with self._changed:
            self._used += size
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
