"""What decides a run's result: its configurations and its images. A state resumes only a run of the same."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refinemask.config import Augmentation
from refinemask.config_json import to_json
from refinemask.json_files import short

LATER: dict[str, Any] = {
    "window": None,
    "background_images": False,
    "crowd_as_object": False,
    "augmentation": json.loads(to_json(Augmentation())),
    "schedule": "step",
    "early_stop": None,
}
"""Settings that earlier versions did not have, with the values that mean what those versions did."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The identity of a run."""

    hash: str
    """SHA-256 of the configurations and of the images of an epoch."""
    settings: Mapping[str, Any]
    """The configurations as JSON values, by name, to say what differs."""

    @classmethod
    def of(cls, image_ids: Sequence[int], **configs: Any) -> "Fingerprint":
        """The identity of a run with these images and configurations, by name."""
        settings = {name: json.loads(to_json(config)) for name, config in configs.items()}
        texts = [json.dumps(each) for each in (*map(_without_later, settings.values()), image_ids)]
        return cls(hash=hashlib.sha256("\n".join(texts).encode()).hexdigest(), settings=settings)

    def differences(self, settings: Any) -> list[str]:
        """What another run's settings have that this run's have not; empty if they are the same or were not kept."""
        return list(_differences(settings, self.settings, "")) if isinstance(settings, dict) else []


def _without_later(value: Any) -> Any:
    """The settings without those that an earlier version had not, where they mean what it did."""
    if not isinstance(value, dict):
        return value
    return {name: _without_later(each) for name, each in value.items() if name not in LATER or each != LATER[name]}


def _differences(found: Any, expected: Any, place: str) -> Iterator[str]:
    if not isinstance(expected, Mapping) or not isinstance(found, dict):
        if found != expected:
            yield f"{place} is {short(found)}, this run's is {short(expected)}"
        return
    for name, value in expected.items():
        yield from _differences(found.get(name, LATER.get(name)), value, f"{place}.{name}".lstrip("."))
