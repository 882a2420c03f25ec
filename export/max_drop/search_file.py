"""What a search of layers has measured, kept beside its output until it ends, so that it can be interrupted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from export.max_drop.accuracy import Judged
from refinemask.config_json import from_json
from refinemask.files import UserError, atomic_write
from refinemask.json_files import Positive
from refinemask.kept_layers import Accuracy, Noise
from refinemask.readable import require_readable


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The accuracy of one file."""

    kept: tuple[str, ...] | None
    """Layers that are not quantised; None is the source."""
    accuracy: Accuracy
    images: Positive
    """Number of annotated images that could be used."""


@dataclass(frozen=True, kw_only=True)
class _Content:
    source: dict[str, str]
    noise: dict[str, Noise] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()


class SearchFile:
    """The measurements of a search, written whenever one is added."""

    def __init__(self, path: Path, source: Mapping[str, str]) -> None:
        """Go on with the file, if there is one.

        Args:
            path: the file.
            source: what the measurements depend on, such as hashes of files.

        Raises:
            UserError: the file is of another search or no such file.
        """
        self.path = path
        self.noise = dict[str, float]()
        self.trials = dict[tuple[str, ...] | None, Judged]()
        self._source = dict(source)
        if path.exists():
            self._read()

    def _read(self) -> None:
        require_readable(self.path)
        remedy = "remove it, or name another output"
        try:
            content = from_json(_Content, self.path.read_bytes())
        except ValueError as error:
            raise UserError(f"{self.path}: no measurements of a search ({error}); {remedy}") from error
        names = sorted({*content.source, *self._source})
        if other := [name for name in names if content.source.get(name) != self._source.get(name)]:
            raise UserError(f"{self.path}: holds a search that was begun with other {' and '.join(other)}; {remedy}")
        self.noise.update(content.noise)
        for trial in content.trials:
            kept = None if trial.kept is None else tuple(trial.kept)
            self.trials[kept] = Judged(trial.accuracy, trial.images)

    def add_noise(self, layer: str, noise: float) -> None:
        """Add the noise of a layer; a UserError if the file cannot be written."""
        self.noise[layer] = noise
        self._write()

    def add_trial(self, kept: Sequence[str] | None, judged: Judged) -> None:
        """Add the accuracy of a file; a UserError if the file cannot be written."""
        self.trials[None if kept is None else tuple(kept)] = judged
        self._write()

    def _write(self) -> None:
        trials = tuple(
            Trial(kept=kept, accuracy=judged.accuracy, images=judged.images) for kept, judged in self.trials.items()
        )
        content = _Content(source=self._source, noise=self.noise, trials=trials)
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(asdict(content), indent=1) + "\n")
