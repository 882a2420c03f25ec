"""What a server says of the models of this project that it serves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.canvases import Canvases
from engines.triton.interface import BOUNDS, CANVASES, CONFIG, IMAGE, PIXELS
from engines.triton.settings import Settings
from engines.triton_client.connection import Connection
from engines.triton_client.errors import ServerError
from refinemask.config import ModelConfig, with_window
from refinemask.config_json import from_json
from refinemask.contract import INPUTS, Bounds
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.nearest import nearest
from refinemask.selection import Selection
from refinemask.window import parse_window

UNLIKE_OURS = (UserError, ValueError, LookupError, TypeError, AttributeError)
"""What reading the configuration of another's model raises."""
SIZES: dict[str, type[Bounds] | type[Canvases]] = {BOUNDS: Bounds, CANVASES: Canvases}
"""The parameters that say what sizes a model's file accepts."""
MOST_LISTED = 5
"""Models that an error names."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model of this project on a server."""

    name: str
    inputs: frozenset[str]
    settings: Settings
    """How the server opens it: engine, precision, device, hashes."""
    file_config: ModelConfig
    """Configuration in the model's file."""
    bounds: Bounds | Canvases | None
    """Batches and sizes that the network accepts; None where the file does not say."""
    max_batch: int
    """Largest number of images of a request; 0 if the server does not look at it."""

    @property
    def is_front(self) -> bool:
        """Whether it takes images as they are."""
        return self.inputs == {IMAGE, PIXELS}

    @property
    def is_network(self) -> bool:
        """Whether it takes padded batches."""
        return self.inputs == {*INPUTS}

    @property
    def request_bounds(self) -> Bounds | Canvases | None:
        """The same, with no least or typical batch that the server refuses: it fills up a smaller one itself."""
        if self.bounds is None or self.max_batch == 0:
            return self.bounds
        if isinstance(self.bounds, Canvases):
            return replace(self.bounds, batch=min(self.bounds.batch, self.max_batch))
        smallest, typical, largest = self.bounds.batch
        return replace(self.bounds, batch=(min(smallest, self.max_batch), min(typical, self.max_batch), largest))

    @property
    def selection(self) -> Selection:
        """Number of detections and score threshold in place of the file's."""
        return Selection(detections=self.settings.detections, score_threshold=self.settings.score_threshold)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the detector as it is served, which names the classes."""
        window = None if self.settings.window is None else parse_window(self.settings.window.split())
        return with_window(self.selection.of_network(self.file_config), window)

    @classmethod
    def of_config(cls, name: str, config: Mapping[str, Any]) -> "ServedModel":
        """Read the configuration that the server has of a model.

        Raises:
            ValueError: the model is none of this project, or of another version of it.
            UserError: its parameters are not those of this version.
        """
        parameters = config.get("parameters", {})
        if CONFIG not in parameters:
            raise ValueError("its parameters lack the configuration of a detector")
        return cls(
            name=name,
            inputs=frozenset(each["name"] for each in config.get("input", ())),
            settings=Settings.from_parameters(parameters),
            file_config=from_json(ModelConfig, parameters[CONFIG]["string_value"]),
            bounds=next(
                (from_json(kind, parameters[key]["string_value"]) for key, kind in SIZES.items() if key in parameters),
                None,
            ),
            max_batch=int(config.get("max_batch_size", 0)),
        )


def find_front(connection: Connection, name: str | None) -> ServedModel:
    """The model that takes images; see :func:`_find`."""
    return _find(connection, name, "takes images", lambda model: model.is_front)


def find_network(connection: Connection, name: str | None) -> ServedModel:
    """The model that takes padded batches; see :func:`_find`."""
    return _find(connection, name, "is a bare network", lambda model: model.is_network)


def _find(connection: Connection, name: str | None, kind: str, fits: Callable[[ServedModel], bool]) -> ServedModel:
    """The model of this name, or the only one of its kind.

    Args:
        connection: the server.
        name: name of the model; None is the only one that fits.
        kind: what such a model does, for errors.
        fits: whether a model is of the kind.

    Raises:
        UserError: the server has no such model, or several, or does not answer.
    """
    address, names = connection.address, connection.models()
    if name is not None:
        if name not in names:
            raise UserError(f"{address}: no model '{one_line(name)}' is ready; {_listed(names)}{nearest(name, names)}")
        try:
            model = ServedModel.of_config(name, connection.config(name))
        except ServerError:
            raise
        except UNLIKE_OURS as error:
            raise UserError(
                f"{address}: model '{name}' is not of this project ({one_line(error)}); expected one that "
                "`python -m engines.triton MODEL --output repository/` wrote"
            ) from error
        if not fits(model):
            raise UserError(f"{address}: model '{name}' is none that {kind}: its inputs are {_named(model.inputs)}")
        return model
    found = [model for model in _ours(connection, names) if fits(model)]
    if len(found) != 1:
        which = f"several models: {_named(each.name for each in found)}" if found else "no model of this project"
        raise UserError(f"{address}: {which} {kind}; {'choose with --model' if found else _listed(names)}".strip())
    return found[0]


def _ours(connection: Connection, names: Sequence[str]) -> Iterator[ServedModel]:
    for name in names:
        try:
            yield ServedModel.of_config(name, connection.config(name))
        # A server may have models of others, and may unload one meanwhile.
        except UNLIKE_OURS:
            continue


def _listed(names: Sequence[str]) -> str:
    return f"the server has {_named(names)}" if names else "the server has no model that is ready"


def _named(names: Any) -> str:
    found = sorted(names)
    return ", ".join(found[:MOST_LISTED]) + (", …" if len(found) > MOST_LISTED else "")
