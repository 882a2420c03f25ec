"""How a repository's model is to be opened: written into its ``config.pbtxt``, read again by the server's process."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import msgspec

from engines.triton.interface import Response
from refinemask.files import UserError, sha256
from refinemask.foreign import one_line
from refinemask.json_files import Positive, checked
from refinemask.window import parse_window

DIGEST = "sha256:"
"""Beginning of the parameters that have the SHA-256 of a file, before its name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A model's file, and the options with which it is served; see :func:`engines.load`."""

    model: str
    """Name of the model's file, in the folder of the version."""
    backend: str
    """The engine."""
    precision: str
    """Arithmetic of the convolutions; the server refuses to start in any other."""
    device: str = "cpu"
    """``cpu`` or ``cuda``, for a checkpoint also ``cuda:1``."""
    threads: Positive | None = None
    """CPU threads of an instance; None leaves the number to the engine."""
    response: Response = "rle"
    """How masks are answered where a request does not say."""
    detections: Positive | None = None
    """Largest number of detections per image; None is the file's."""
    score_threshold: float | None = None
    """Score above which a detection counts; None is the file's."""
    batch_size: Positive | None = None
    """Images that go through the network together; None is what the engine prefers."""
    window: str | None = None
    """How images of more than 8 bits become images of 8, as ``--window`` takes it; None is the model's."""
    version: str
    """Version of this project that wrote the repository."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the model, by its name."""

    def __post_init__(self) -> None:
        if self.window is not None:
            parse_window(self.window.split())

    def to_parameters(self) -> dict[str, str]:
        """The parameters of a ``config.pbtxt``."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "files"}
        texts = {name: str(value) for name, value in given.items() if value is not None}
        return texts | {f"{DIGEST}{name}": digest for name, digest in self.files.items()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Mapping[str, str]]) -> "Settings":
        """Read the parameters of a model's configuration, as the server gives it; those of others are passed over.

        Raises:
            UserError: one is missing or of another kind.
        """
        texts = {name: value["string_value"] for name, value in parameters.items()}
        known = {each.name for each in fields(cls)} - {"files"}
        files = {name.removeprefix(DIGEST): text for name, text in texts.items() if name.startswith(DIGEST)}
        try:
            return checked({name: text for name, text in texts.items() if name in known} | {"files": files}, cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise UserError(
                f"config.pbtxt: its parameters are not those of python -m engines.triton ({one_line(error)}); write "
                "the repository again"
            ) from error

    def require_files(self, folder: Path) -> None:
        """Raise a UserError unless the folder has the files for which the repository was written."""
        for name, digest in self.files.items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: no such file; write the repository again: python -m engines.triton")
            if (found := sha256(path)) != digest:
                raise UserError(
                    f"{path}: its SHA-256 is {found}, that of config.pbtxt is {digest}; write the repository again: "
                    "python -m engines.triton"
                )
