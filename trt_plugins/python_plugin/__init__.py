"""The plugins as Python ``IPluginV3`` classes over the kernels' C interface.

For machines without TensorRT's headers or a C++ compiler: ``register(tensorrt)`` or ``register(tensorrt_rtx)`` puts
creators of the same names, version and namespace into the registry. The plugins need the kernel library only once an
engine runs, so a network can be built without it. An engine that was built with these plugins needs this module to run;
one that was built with the C++ library does not.
"""

import sys
from typing import Any

import numpy as np

from trt_plugins.python_plugin.base import FIELD_TYPES, NAMESPACE, VERSION, Plugin, concrete
from trt_plugins.python_plugin.boundary_merge import BoundaryMerge
from trt_plugins.python_plugin.fixed_nms import FixedNMS
from trt_plugins.python_plugin.label_logits import LabelLogits, UpsampledLabelLogits
from trt_plugins.python_plugin.roi_align import MultilevelRoIAlign1, MultilevelRoIAlign4
from trt_plugins.python_plugin.select_proposals import SelectProposals
from trt_plugins.python_plugin.top_scores import TopScores

PLUGINS: tuple[type[Plugin], ...] = (
    MultilevelRoIAlign4,
    MultilevelRoIAlign1,
    FixedNMS,
    BoundaryMerge,
    SelectProposals,
    TopScores,
    LabelLogits,
    UpsampledLabelLogits,
)


def register(trt: Any) -> list[Any]:
    """Register the creators of all plugins with the module's plugin registry.

    Args:
        trt: the imported ``tensorrt`` (10.0 or newer) or ``tensorrt_rtx``.

    Returns:
        The creators. The registry does not own them: keep them as long as the registry is used.

    Raises:
        RuntimeError: the registry refused one, usually because the C++ library is loaded already.
    """
    creators = [_creator(trt, plugin) for plugin in PLUGINS]
    for creator in creators:
        if not trt.get_plugin_registry().register_creator(creator, NAMESPACE):
            raise RuntimeError(f"{creator.name} {VERSION} is registered already; use either the library or this module")
    return creators


def _creator(trt: Any, logic: type["Plugin"]) -> Any:
    plugin = concrete(trt, logic)
    attributes = logic.OPERATOR.attributes
    fields = [
        trt.PluginField(name, np.zeros(0), getattr(trt.PluginFieldType, FIELD_TYPES[kind][0]))
        for name, kind in attributes.items()
    ]

    class Creator(trt.IPluginCreatorV3One):
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = logic.OPERATOR.name, VERSION, NAMESPACE
            self.field_names = trt.PluginFieldCollection(fields)

        def create_plugin(self, name: str, collection: Any, phase: Any) -> Any:
            given = {name: np.array([value]) for name, value in logic.DEFAULTS.items()}
            given |= {field.name: np.asarray(field.data).reshape(-1) for field in collection}
            if missing := [name for name in attributes if name not in given]:
                # Python plugins have no way to TensorRT's logger; TensorRT itself reports the null result.
                print(f"{self.name}: attributes {', '.join(missing)} are missing", file=sys.stderr)
                return None
            return plugin({name: given[name][0].item() for name in attributes})

    return Creator()
