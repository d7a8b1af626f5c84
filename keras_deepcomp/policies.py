"""Which layers are worth pruning, by what the hardware or library makes of the zeros.

Zeros always make the file smaller; they make inference faster only where the kernels that run it
leave zeros out. A policy says of each layer whether it is one of these, and of the model whether
the library will use sparse inference for it at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class PruningPolicy:
    """What `prune_low_magnitude(pruning_policy=)` asks. This one has no objections."""

    def allow_pruning(self, layer: keras.Layer) -> bool:
        """Whether a layer of the model is to be pruned."""
        return True

    def ensure_model_supports_pruning(self, model: keras.Model) -> None:
        """Raises ValueError if pruning is of no use for the model as a whole, and says why."""


class _Asked(PruningPolicy):
    def __init__(self, allow: Callable[[Any], Any], ensure: Callable[[Any], Any] | None) -> None:
        self._allow, self._ensure = allow, ensure

    def allow_pruning(self, layer: keras.Layer) -> bool:
        return bool(self._allow(layer))

    def ensure_model_supports_pruning(self, model: keras.Model) -> None:
        if self._ensure is not None:
            self._ensure(model)


class PruneForLatencyOnXNNPack(PruningPolicy):
    """Prunes what makes inference on CPUs faster with XNNPACK, as TensorFlow Lite uses it.

    XNNPACK's sparse kernels are for 1x1 convolutions ("Fast Sparse ConvNets", Elsen et al. 2020),
    and it takes them for a part of a network that

    - begins with a 3x3 convolution of three channels with stride 2 and "valid" padding, after a
      `ZeroPadding2D` of 1 all around;
    - ends with `GlobalAveragePooling2D`;
    - has in between only 1x1 convolutions, depthwise ones of 3x3 or 5x5 with stride 1 or (after a
      `ZeroPadding2D`) 2, additions, products, common activations, batch normalization and the like,
      channels last.

    So this allows 1x1 `Conv2D` layers only, and refuses models of other kinds, with a reason for
    each layer in the way. Models inside the model are looked into.
    """

    def allow_pruning(self, layer: keras.Layer) -> bool:
        """Whether it is a 1x1 convolution."""
        return type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1)

    def ensure_model_supports_pruning(self, model: keras.Model) -> None:
        """Checks the part of the model that would be sparse.

        Raises:
            ValueError: It does not begin, go on or end as XNNPACK needs it.
        """
        graph = _Graph(model)
        starts = graph.first(graph.inputs, graph.consumers, self._starts)
        if starts is None:
            raise ValueError(
                f"XNNPACK's sparse inference needs '{model.name}' to begin, from each input, with "
                "a 3x3 Conv2D of three input channels with strides=2 and padding='valid', after "
                "ZeroPadding2D(1). Change the model, or leave pruning_policy= out to prune for "
                "size alone."
            )
        ends = graph.first(graph.outputs, graph.producers, self._ends)
        if ends is None:
            raise ValueError(
                f"XNNPACK's sparse inference needs '{model.name}' to have a GlobalAveragePooling2D "
                "on the way to each output. Change the model, or leave pruning_policy= out to "
                "prune for size alone."
            )
        reasons = []
        for place in graph.between(starts, ends):
            reason = self._reason_against(graph, place)
            if reason:
                name = graph.operations[place].name
                reasons.append(f"'{name}' ({type(graph.operations[place]).__name__}): {reason}")
        if reasons:
            raise ValueError(
                f"XNNPACK's sparse inference cannot run these layers of '{model.name}': "
                f"{'; '.join(reasons)}. Change them, or leave pruning_policy= out to prune for "
                "size alone."
            )

    def _starts(self, graph: _Graph, place: int) -> bool:
        layer = graph.operations[place]
        return (
            isinstance(layer, keras.layers.Conv2D)
            and tuple(layer.kernel.shape[:3]) == (3, 3, 3)
            and layer.strides == (2, 2)
            and layer.padding == "valid"
            and graph.padding_before(place) == 1
        )

    def _ends(self, graph: _Graph, place: int) -> bool:
        return isinstance(graph.operations[place], keras.layers.GlobalAveragePooling2D)

    def _reason_against(self, graph: _Graph, place: int) -> str:
        layer, layers = graph.operations[place], keras.layers
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            return "channels are not last"
        if isinstance(layer, layers.GlobalAveragePooling2D):
            return ""
        if isinstance(layer, layers.DepthwiseConv2D):
            return _against_depthwise(layer, graph.padding_before(place))
        if isinstance(layer, layers.Conv2D):
            plain = layer.groups == 1 and layer.dilation_rate == (1, 1) and layer.strides == (1, 1)
            if not plain or layer.kernel_size != (1, 1):
                return "of the convolutions, only 1x1 ones without strides, dilation and groups"
            return _against_activation(layer.activation)
        if isinstance(layer, layers.BatchNormalization):
            return "" if layer.axis in (-1, 3) else "only over the last axis"
        if isinstance(layer, layers.UpSampling2D):
            return "" if layer.interpolation == "bilinear" else 'only interpolation="bilinear"'
        if isinstance(layer, layers.Activation):
            return _against_activation(layer.activation)
        if isinstance(layer, keras.Layer):
            return "" if isinstance(layer, _supported_layers()) else "there is no sparse kernel"
        known = type(layer).__name__ in _OPERATIONS
        return "" if known else "there is no sparse kernel"


_ACTIVATIONS = frozenset({"linear", "relu", "relu6", "leaky_relu", "elu", "sigmoid"})
_OPERATIONS = frozenset({
    "Add", "Subtract", "Multiply", "Identity", "Relu", "Relu6", "LeakyRelu", "Elu", "Sigmoid",
})  # fmt: skip


def _supported_layers() -> tuple[type, ...]:
    layers = keras.layers
    return (
        layers.Add, layers.Multiply, layers.ZeroPadding2D, layers.ReLU, layers.LeakyReLU,
        layers.ELU, layers.Dropout, layers.Identity,
    )  # fmt: skip


def _against_activation(activation: Any) -> str:
    name = getattr(activation, "__name__", type(activation).__name__)
    return "" if name in _ACTIVATIONS else f"not the activation {name!r}"


def _against_depthwise(layer: Any, padding: int | None) -> str:
    size = layer.kernel_size[0]
    same = layer.padding == "same" and layer.strides == (1, 1)
    valid = layer.padding == "valid" and padding == size // 2 and layer.strides[0] in (1, 2)
    if (
        layer.kernel_size not in ((3, 3), (5, 5))
        or layer.depth_multiplier != 1
        or layer.dilation_rate != (1, 1)
        or not (same or valid)
    ):
        return (
            "of the depthwise convolutions, only 3x3 and 5x5 ones with depth_multiplier=1 and "
            "without dilation, either with strides=1 and padding='same', or with padding='valid' "
            "and strides of 1 or 2 after ZeroPadding2D of half the kernel"
        )
    return _against_activation(layer.activation)


class _Graph:
    """The operations of a model by place, nested models opened, and which takes whose output."""

    def __init__(self, model: keras.Model) -> None:
        self.operations: list[Any] = []
        self.producers: dict[int, list[int]] = {}
        self.consumers: dict[int, list[int]] = {}
        graph = _functional(model)
        outputs = self._trace(graph, [[] for _ in graph.inputs])
        self.inputs = [place for place, producers in self.producers.items() if not producers]
        self.outputs = list(dict.fromkeys(place for places in outputs for place in places))

    def _trace(self, model: Any, inputs: list[list[int]]) -> list[list[int]]:
        """Adds the operations of a model; returns the places that its outputs come from."""
        came_from = {id(t): places for t, places in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                taken = [came_from[id(tensor)] for tensor in node.arguments.keras_tensors]
                inner = _functional(node.operation)
                if inner is not None:
                    outputs = self._trace(inner, taken)
                else:
                    place = self._add(node.operation, [p for places in taken for p in places])
                    outputs = [[place]] * len(node.output_tensors)
                for tensor, places in zip(node.output_tensors, outputs, strict=True):
                    came_from[id(tensor)] = places
        return [came_from[id(tensor)] for tensor in model.outputs]

    def _add(self, operation: Any, producers: list[int]) -> int:
        place = len(self.operations)
        self.operations.append(operation)
        self.producers[place], self.consumers[place] = producers, []
        for producer in producers:
            self.consumers[producer].append(place)
        return place

    def padding_before(self, place: int) -> int | None:
        """How wide the layer before pads all around; None if it does not."""
        producers = [self.operations[producer] for producer in self.producers[place]]
        if len(producers) != 1 or not isinstance(producers[0], keras.layers.ZeroPadding2D):
            return None
        sides = {n for pair in producers[0].padding for n in pair}
        return sides.pop() if len(sides) == 1 else None

    def first(
        self,
        sources: list[int],
        onward: dict[int, list[int]],
        wanted: Callable[[_Graph, int], bool],
    ) -> set[int] | None:
        """The first wanted operations on all ways; None if one way ends without."""
        left, seen, found = list(sources), set(sources), set()
        while left:
            place = left.pop()
            if wanted(self, place):
                found.add(place)
                continue
            if not onward[place]:
                return None
            left += [p for p in onward[place] if p not in seen]
            seen.update(onward[place])
        return found

    def between(self, starts: set[int], ends: set[int]) -> list[int]:
        """What comes after the starts, up to and with the ends, in order."""
        left = [place for start in starts for place in self.consumers[start]]
        seen = set(left)
        while left:
            place = left.pop()
            if place not in ends:
                left += [p for p in self.consumers[place] if p not in seen]
                seen.update(self.consumers[place])
        return sorted(seen)


def _functional(operation: Any) -> Any:
    """The graph of a Sequential or functional model; None of anything else."""
    if isinstance(operation, keras.Sequential):
        return operation._functional
    return operation if hasattr(operation, "_nodes_by_depth") else None


def as_policy(policy: Any) -> PruningPolicy:
    """Takes what users have as a policy.

    Args:
        policy: None, one of ours, an object with `allow_pruning(layer)`, or a callable on the
            layer. tfmot's `PruneForLatencyOnXNNPack`, which knows the layers of tf-keras only,
            becomes ours.

    Raises:
        TypeError: Something else.
    """
    if policy is None:
        return PruningPolicy()
    if isinstance(policy, PruningPolicy):
        return policy
    if type(policy).__module__.startswith("tensorflow_model_optimization.") and (
        type(policy).__name__ == "PruneForLatencyOnXNNPack"
    ):
        return PruneForLatencyOnXNNPack()
    if not isinstance(policy, type):
        allow = getattr(policy, "allow_pruning", None)
        if callable(allow):
            return _Asked(allow, getattr(policy, "ensure_model_supports_pruning", None))
        if callable(policy):
            return _Asked(policy, None)
    raise TypeError(
        "pruning_policy is one of keras_deepcomp.policies, an object with allow_pruning(layer), or "
        f"a callable from layer to bool; got {policy!r}."
    )
