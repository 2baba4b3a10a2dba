"""The walk over a traced network that applies one rule per operator and collects what the rules say.

Rules (graph/rules) see operators one at a time through `Call`; everything they find out goes into the
`Walk`: labels of parameter axes, ties, layers, attributes that repeat a length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map

from explorer.errors import CannotTrace
from explorer.graph.labels import Ties, Value, on_axis, varying_dims, without_repeats
from explorer.graph.reads import Reads
from explorer.graph.tracing import Shape, Traced


@dataclass(frozen=True, eq=False)
class Axis:
    """A labelled dimension of a parameter or buffer; `reads`: an operator sums over it."""

    tensor: str
    dim: int
    labels: Tensor
    reads: bool


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One conv or linear call as the walk meets it: labels of its input and output channels."""

    name: str
    kind: str
    weight: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    in_labels: Tensor
    out_labels: Tensor
    positions: int
    node: fx.Node


@dataclass(frozen=True, eq=False)
class Call:
    """One operator in the traced network: what it is given, and what shape it returns.

    `args` and `kwargs` hold a `Value` for every tensor; `module` is set when a module is called.
    """

    walk: "Walk"
    node: fx.Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    module: Any  # nn.Module, or None where a function is called

    @property
    def operator(self) -> str:
        if self.module is not None:
            return type(self.module).__name__
        target = self.node.target
        return target if isinstance(target, str) else getattr(target, "__name__", str(target))

    @property
    def place(self) -> str:
        """For reasons: the operator, the module it is in, and the user's line."""
        where = str(self.node.target) if self.module is not None else self.node.name
        stack = self.node.meta.get("nn_module_stack")
        if self.module is None and stack:
            where = list(stack)[-1] or where
        line = self.node.meta.get("line")
        return f"{self.operator} at {where}" + (f" ({line})" if line else "")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.result.shape

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    @property
    def input(self) -> Value:
        """The tensor that the operator works on: the first argument, or the one named input."""
        return self.args[0] if self.args else self.kwargs["input"]

    def channels(self, value: Value, dim: int) -> Tensor:
        """The labels along one dimension, int32 (length,); -1 where there are none.

        Whatever lies at the same position there is tied; a field that varies only along other dimensions
        is frozen, since the operator mixes what they tell apart.
        """
        dim %= len(value.shape)
        labels = torch.full((value.shape[dim],), -1, dtype=torch.int32)
        found = False
        for field in value.fields:
            dims = varying_dims(field)
            if dim not in dims or found:
                self.walk.ties.freeze(field, f"{self.place} mixes this axis")
                continue
            found = True
            rows = without_repeats(field).movedim(dim, 0).reshape(len(labels), -1)
            labels = rows[:, 0].contiguous()
            if rows.shape[1] > 1:
                self.walk.ties.tie(rows, rows[:, :1], f"{self.place}: joined with channels that stay")
        return labels

    def freeze(self, value: Value, reason: str) -> None:
        for field in value.fields:
            self.walk.ties.freeze(field, reason)

    def freeze_axes(self, value: Value, dims: tuple[int, ...]) -> Value:
        """Freeze the fields that vary along any of the dimensions; returns the value with the others."""
        kept = []
        for field in value.fields:
            if set(varying_dims(field)) & {dim % len(value.shape) for dim in dims}:
                self.walk.ties.freeze(field, f"{self.place} mixes the channels")
            else:
                kept.append(field)
        return Value(value.shape, tuple(kept), self.place)

    def output(self, labels: Tensor, dim: int) -> Value:
        """A result whose dimension `dim` carries the labels."""
        if bool((labels < 0).all()):
            return Value(self.shape, (), self.place)
        return Value(self.shape, (on_axis(labels, self.shape, dim),), self.place)

    def plain(self, result: Any = None) -> Any:
        """The result (or the given structure of shapes) without labels."""
        shapes = self.result if result is None else result
        return tree_map(lambda x: Value(x.shape, (), self.place) if isinstance(x, Shape) else x, shapes)

    def parameter(self, name: str) -> str | None:
        """Qualified first name of a tensor of the called module; None where the module has none."""
        if getattr(self.module, name, None) is None:
            return None
        return self.walk.traced.tensors[f"{self.node.target}.{name}"]

    @property
    def weight(self) -> str:
        """Qualified first name of the called module's weight."""
        return self.walk.traced.tensors[f"{self.node.target}.weight"]


OUTPUTS = "its channels are the network's outputs (classes)"
Rule = Callable[[Call], Any]


class Walk:
    """Labels, ties and layers of one network, gathered over its trace (or its two traces)."""

    def __init__(self) -> None:
        self.ties = Ties()
        self.axes: dict[tuple[str, int], Axis] = {}
        self.layers: list[LayerCall] = []
        self.values: dict[fx.Node, Any] = {}
        self.attributes: set[tuple[str, str, str, int, int, int]] = set()
        self.reads: Reads = {}
        self.other_macs = 0
        self.traced: Traced

    def axis(self, tensor: str, dim: int, length: int, reads: bool = False) -> Tensor:
        """The labels of one dimension of a parameter or buffer, made at first use; -1 for length 1."""
        known = self.axes.get((tensor, dim))
        if known is None:
            labels = self.ties.fresh(length) if length > 1 else torch.tensor([-1], dtype=torch.int32)
            known = Axis(tensor, dim, labels, reads)
        elif reads and not known.reads:
            known = Axis(tensor, dim, known.labels, True)
        self.axes[tensor, dim] = known
        return known.labels

    def run(self, traced: Traced, rule_for: Callable[[Call], Rule], record_layers: bool) -> None:
        """Apply the rules in execution order."""
        self.traced = traced
        layers_before = len(self.layers)
        self.values = {}
        for node, result in traced.results.items():
            self.values[node] = self._value(node, result, rule_for)
        self.reads |= traced.reads
        if record_layers:
            self.other_macs += traced.other_macs
        else:
            del self.layers[layers_before:]
            self.other_macs = 0

    def freeze_read_widths(self) -> None:
        """Freeze what a width counts that the user's forward reads from a layer: it is a constant to the trace."""
        for module, attribute, tensor, dim, _, _ in sorted(self.attributes):
            line = self.reads.get((module, attribute))
            if line is not None:
                where = f" ({line})" if line else ""
                reason = f"the forward reads its width from {module}.{attribute}{where}"
                self.ties.freeze(self.axes[tensor, dim].labels, reason)

    def _value(self, node: fx.Node, result: Any, rule_for: Callable[[Call], Rule]) -> Any:
        if node.op == "placeholder":
            return Value(result.shape, (), "the network's input") if isinstance(result, Shape) else result
        if node.op == "output":
            for value in tree_leaves(fx.map_arg(node.args, self.values.__getitem__)):
                if isinstance(value, Value):
                    for field in value.fields:
                        self.ties.freeze(field, OUTPUTS)
            return None
        if node.op == "get_attr":
            return self._attribute(node, result)
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
        module = traced_module(self.traced, node)
        call = Call(self, node, args, kwargs, result, module)
        if isinstance(node.target, type):  # a container, such as a named tuple of logits
            returned = all(user.op == "output" for user in node.users)
            return freeze_everything(call, OUTPUTS if returned else "")
        if not any(isinstance(leaf, Shape) for leaf in tree_leaves(result)):
            return result  # sizes and other numbers
        try:
            return rule_for(call)(call)
        except Exception as error:  # an operator used in a way that its rule does not foresee
            raise CannotTrace(
                f"The explorer cannot follow {call.place}: {type(error).__name__}: {error}. This is a fault of the "
                "explorer: please report it with the network. Another way to write this line may help."
            ) from error

    def _attribute(self, node: fx.Node, result: Any) -> Any:
        if not isinstance(result, Shape):
            return result
        name = self.traced.tensors.get(str(node.target))
        if name is None:
            return Value(result.shape, (), f"the constant {node.target}")
        fields = tuple(
            on_axis(self.axis(name, dim, length), result.shape, dim)
            for dim, length in enumerate(result.shape)
            if length > 1
        )
        return Value(result.shape, fields, f"the parameter {node.target}")


def traced_module(traced: Traced, node: fx.Node) -> nn.Module | None:
    """The module that a node calls; None for other operators."""
    return traced.module.get_submodule(str(node.target)) if node.op == "call_module" else None


def changes_its_weights(module: nn.Module) -> bool:
    """Weight norm, parametrisations and quantisation compute weights from others when called."""
    quantized = type(module).__module__.startswith("torch.ao")
    return parametrize.is_parametrized(module) or bool(module._forward_pre_hooks) or quantized


def freeze_everything(call: Call, reason: str = "") -> Any:
    """For operators without a rule: what they touch stays whole, with the operator as the reason."""
    for value in tree_leaves((call.args, call.kwargs)):
        if isinstance(value, Value):
            call.freeze(value, reason or f"no rule for {call.place}")
    return call.plain()
