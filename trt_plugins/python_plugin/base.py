"""What all plugins written in Python have in common."""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from refinemask.contract import PLUGIN_ATTRIBUTES, Operator
from trt_plugins import kernels_path
from trt_plugins.c_api import Kernels

VERSION, NAMESPACE = PLUGIN_ATTRIBUTES["plugin_version"], PLUGIN_ATTRIBUTES["plugin_namespace"]
FIELD_TYPES = {int: ("INT32", np.int32), float: ("FLOAT32", np.float32)}
"""TensorRT's name and NumPy's type for each Python type of an attribute."""


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    return Kernels(kernels_path())


def concrete(trt: Any, logic: type["Plugin"]) -> type:
    """A plugin class of one TensorRT module."""
    bases = (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime)

    def init(self: Any, attributes: dict[str, Any]) -> None:
        for base in bases:
            base.__init__(self)
        self.attributes = attributes
        self.num_outputs = logic.OUTPUTS
        self.plugin_name, self.plugin_version, self.plugin_namespace = logic.OPERATOR.name, VERSION, NAMESPACE
        # TensorRT adds shapes and formats by itself. Without an identity it would time the plugin in every build.
        self.timing_cache_id = " ".join((self.plugin_name, *(f"{name}={x!r}" for name, x in attributes.items())))

    return type(logic.__name__, (logic, *bases), {"__init__": init, "trt": trt})


class Plugin:
    """What all plugins have in common; the methods are those of TensorRT's interfaces."""

    OPERATOR: ClassVar[Operator]
    DEFAULTS: ClassVar[dict[str, int | float]] = {}
    """Values of attributes that files and engines from before there were these do not have."""
    OUTPUTS: ClassVar[int] = 1
    trt: Any
    attributes: dict[str, Any]

    @property
    def kernels(self) -> Kernels:
        """The kernel library, which an engine needs only once it runs."""
        return _kernels()

    def get_capability_interface(self, kind: Any) -> Any:
        return self

    def clone(self) -> Any:
        return type(self)(self.attributes)  # type: ignore[call-arg]

    def attach_to_context(self, context: Any) -> Any:
        return self.clone()

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        return None

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        return None

    def set_tactic(self, tactic: int) -> None:
        return None

    def get_fields_to_serialize(self) -> Any:
        return self.trt.PluginFieldCollection([self._field(*each) for each in self.OPERATOR.attributes.items()])

    def _field(self, name: str, kind: type) -> Any:
        field_type, dtype = FIELD_TYPES[kind]
        value = np.array([self.attributes[name]], dtype)
        return self.trt.PluginField(name, value, getattr(self.trt.PluginFieldType, field_type))

    def expect_float32(self, what: str, *types: Any) -> None:
        if any(dtype != self.trt.float32 for dtype in types):
            found = ", ".join(dtype.name for dtype in types)
            raise ValueError(f"{type(self).__name__}: {what} are {found}; expected float32")

    def is_linear(self, tensor: Any, dtype: Any) -> bool:
        return tensor.type == dtype and tensor.format == self.trt.TensorFormat.LINEAR
