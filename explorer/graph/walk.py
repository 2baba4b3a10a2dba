"""The walk over a traced network that applies one rule per operator and collects what the rules say.

Rules (graph/rules) see operators one at a time through `Call`; everything they find out goes into the
`Walk`: labels of parameter axes, ties, layers, attributes that repeat a length.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map

from explorer.errors import CannotTrace
from explorer.graph.counts import counts_in, leaves, without_counts
from explorer.graph.labels import Ties, Value, on_axis, varying_dims, without_repeats
from explorer.graph.reads import Width, Widths
from explorer.graph.tracing import Shape, Traced
from explorer.values import FixedCall


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

    `args` and `kwargs` hold a `Value` for every tensor and a `Count` for every number that counts channels;
    `module` is set when a module is called.
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
        if isinstance(target, torch._ops.OpOverload):  # of torch.export, whose own name is its overload's
            return target.overloadpacket.__name__
        return target if isinstance(target, str) else getattr(target, "__name__", str(target))

    @property
    def where(self) -> str:
        """The qualified name of the module that is called, or in which a function is."""
        if self.module is not None:
            return str(self.node.target)
        stack = self.node.meta.get("nn_module_stack")
        return (list(stack)[-1] if stack else "") or self.node.name

    @cached_property
    def place(self) -> str:
        """For reasons: the operator, the module it is in, and the user's line."""
        line = self.node.meta.get("line")
        return f"{self.operator} at {self.where}" + (f" ({line})" if line else "")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.result.shape

    @property
    def results(self) -> tuple[Shape, ...]:
        """The shapes of what the operator returns: of one tensor, or of a tuple of them."""
        return (self.result,) if isinstance(self.result, Shape) else tuple(self.result)

    def returned(self, values: list[Value]) -> Any:
        """One value for each result, in the container that the operator returns."""
        return values[0] if isinstance(self.result, Shape) else type(self.result)(values)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    @property
    def input(self) -> Value:
        """The tensor that the operator works on: the first argument, or the one named input or the first named."""
        first: Value = (
            self.args[0] if self.args else self.kwargs.get("input", next(iter(self.kwargs.values())))
        )
        return first

    @property
    def values(self) -> list[Value]:
        """All tensors that the operator is given."""
        return [leaf for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, Value)]

    def channels(self, value: Value, dim: int) -> Tensor:
        """The labels along one dimension, int32 (length,); -1 where there are none.

        Whatever lies at the same position there is tied; a field that varies only along other dimensions
        is frozen, since the operator mixes what they tell apart.
        """
        dim %= len(value.shape)
        labels: Tensor | None = None
        for field in value.fields:
            if labels is not None or dim not in varying_dims(field):
                self.walk.ties.freeze(field, f"{self.place} mixes this axis")
                continue
            rows = without_repeats(field).movedim(dim, 0).reshape(value.shape[dim], -1)
            labels = rows[:, 0].contiguous()
            if rows.shape[1] > 1:
                self.walk.ties.tie(rows, rows[:, :1], f"{self.place}: joined with channels that stay")
        return labels if labels is not None else torch.full((value.shape[dim],), -1, dtype=torch.int32)

    def freeze(self, value: Value, reason: str) -> None:
        for field in value.fields:
            self.walk.ties.freeze(field, reason)

    def freeze_counts(self) -> None:
        """Freeze the channels that the arguments count."""
        for count in counts_in((self.args, self.kwargs)):
            self.walk.ties.freeze(count.labels, f"its channels are counted for {self.place}")

    def whole_along(self, value: Value, dims: tuple[int, ...]) -> Value:
        """The value with fields that do not vary along these dimensions, whose elements are mixed.

        A field that varies along other dimensions too is tied along these; what varies only along them is
        frozen.
        """
        mixed = {dim % len(value.shape) for dim in dims}
        kept = []
        for field in value.fields:
            varying = set(varying_dims(field))
            if varying & mixed and varying <= mixed:
                self.walk.ties.freeze(field, f"{self.place} mixes the channels")
                continue
            whole = field
            for dim in varying & mixed:
                whole = whole.narrow(dim, 0, 1)
            if whole is not field:
                self.walk.ties.tie(field, whole, f"{self.place}: joined with channels that stay")
            kept.append(whole.expand(field.shape))
        return Value(value.shape, tuple(kept), value.origin)

    def output(self, labels: Tensor, dim: int) -> Value:
        """A result whose dimension `dim` carries the labels."""
        if bool((labels < 0).all()):
            return Value(self.shape, (), self.place)
        return Value(self.shape, (on_axis(labels, self.shape, dim),), self.place)

    def plain(self) -> Any:
        """The result without labels."""
        if isinstance(self.result, Shape):
            return Value(self.result.shape, (), self.place)
        return tree_map(lambda x: Value(x.shape, (), self.place) if isinstance(x, Shape) else x, self.result)

    def tensor(self, name: str) -> str:
        """Qualified first name of a tensor of the called module; "" where the module has none."""
        if getattr(self.module, name, None) is None:
            return ""
        return self.walk.traced.twin.tensors[f"{self.node.target}.{name}"]


OUTPUTS = "its channels are the network's outputs (classes)"
Rule = Callable[[Call], Any]


class Walk:
    """Labels, ties and layers of one network, gathered over its trace (or its two traces)."""

    def __init__(self) -> None:
        self.ties = Ties()
        self.axes: dict[tuple[str, int], Axis] = {}
        self.layers: list[LayerCall] = []
        self.fixed: list[FixedCall] = []
        self.values: dict[fx.Node, Any] = {}
        self.attributes: set[tuple[str, str, str, int, int, int]] = set()
        self.reads: Widths = {}
        self.numbers: dict[tuple[str, str], Tensor] = {}  # (the user's module, attribute) -> labels it counts
        self.traced: Traced
        self.bound: list[Width] = []
        self.constants: set[tuple[int, ...]] = set()  # shapes of tensors that the forward made by itself
        self._calls: Counter[str] = Counter()

    def axis(
        self, tensor: str, dim: int, length: int, reads: bool = False, labels: Tensor | None = None
    ) -> Tensor:
        """The labels of one dimension of a parameter or buffer, made at first use; -1 for length 1.

        `labels` are those that the dimension belongs to: a dimension that has none yet takes them, another is
        tied to them.
        """
        known = self.axes.get((tensor, dim))
        if known is None:
            if labels is None:
                labels = self.ties.fresh(length) if length > 1 else torch.tensor([-1], dtype=torch.int32)
            known = Axis(tensor, dim, labels, reads)
        else:
            if labels is not None:
                self.ties.tie(known.labels, labels, f"{tensor} is tied to channels that stay")
            if reads and not known.reads:
                known = Axis(tensor, dim, known.labels, True)
        self.axes[tensor, dim] = known
        return known.labels

    def repeat(self, module: str, attribute: str, tensor: str, dim: int, value: int) -> None:
        """Note that a number on a module follows the length of a labelled dimension of a tensor."""
        self.attributes.add((module, attribute, tensor, dim, value, len(self.axes[tensor, dim].labels)))

    def measure(self, labels: Tensor) -> Axis | None:
        """A dimension of a tensor that carries just these labels, and so tells how many are left."""
        return next((axis for axis in self.axes.values() if torch.equal(axis.labels, labels)), None)

    def layer(self, call: Call, name: str, kind: str, weight: str, x: Value, **found: Any) -> None:
        """Note a conv or linear call; a second one of the same name gets a number."""
        self._calls[name] += 1
        number = self._calls[name]
        self.layers.append(
            LayerCall(
                name=f"{name}#{number}" if number > 1 else name,
                kind=kind,
                weight=weight,
                in_shape=x.shape[1:],
                out_shape=found.pop("out_shape", None) or call.shape[1:],
                node=call.node,
                **found,
            )
        )

    def fix(self, call: Call, macs: int, reason: str) -> None:
        """Note multiply-adds that no plan changes."""
        self.fixed.append(FixedCall(call.where, call.operator, macs, reason))

    def run(self, traced: Traced, rule_for: Callable[[Call], Rule], record_layers: bool) -> None:
        """Apply the rules in execution order."""
        self.traced = traced
        self.values, self.layers, self.fixed, self._calls = {}, [], [], Counter()
        for node, result in traced.results.items():
            self.values[node] = self._value(node, result, rule_for)
        for width in traced.reads.given:
            if not width.followed:  # used where no operator shows it, such as in range() or torch.tensor()
                self.reads.setdefault(width.source, width.line)
        self.reads |= traced.reads.widths
        if traced.reads.sizes:
            self._freeze_read_sizes(traced.reads.sizes)
        if not record_layers:
            self.layers, self.fixed = [], []

    def _freeze_read_sizes(self, sizes: dict[tuple[tuple[int, ...], int], str]) -> None:
        """Freeze channels on dimensions whose size the forward read as a number; tensors are known by their shape."""
        for value in self.values.values():
            for leaf in leaves(value):
                for field in leaf.fields if isinstance(leaf, Value) else ():
                    for dim in varying_dims(field):
                        if (line := sizes.get((leaf.shape, dim))) is not None:
                            self.ties.freeze(
                                field, f"the forward reads its width from a tensor's shape ({line})"
                            )
        for name, tensor in self.traced.twin.state.items():
            for dim, length in enumerate(tensor.shape):
                if (line := sizes.get((tuple(tensor.shape), dim))) is not None:
                    labels = self.axis(self.traced.twin.tensors[name], dim, length)
                    self.ties.freeze(labels, f"the forward reads its width from a tensor's shape ({line})")

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
            return tree_map(
                lambda x: Value(x.shape, (), "the network's input") if isinstance(x, Shape) else x, result
            )
        if node.op == "output":
            for value in tree_leaves(fx.map_arg(node.args, self.values.__getitem__)):
                if isinstance(value, Value):
                    for field in value.fields:
                        self.ties.freeze(field, OUTPUTS)
            return None
        if node.op == "get_attr":
            return self._attribute(node, result)
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
        call = Call(self, node, args, kwargs, result, traced_module(self.traced, node))
        if isinstance(node.target, type):  # a container, such as a named tuple of logits
            returned = all(user.op == "output" for user in node.users)
            return freeze_everything(call, OUTPUTS if returned else "")
        try:
            rule = rule_for(call)
            self.bound.clear()
            if not getattr(rule, "takes_counts", False) and any(counts_in((args, kwargs))):
                call.freeze_counts()
                args, kwargs = without_counts((args, kwargs))
                call = Call(self, node, args, kwargs, result, call.module)
            found = rule(call)
            self._note_unbound(node)
        except CannotTrace:
            raise
        except Exception as error:  # an operator used in a way that its rule does not foresee
            raise CannotTrace(
                f"The explorer cannot follow {call.place}: {type(error).__name__}: {error}. This is a fault of the "
                "explorer: please report it with the network. Another way to write this line may help."
            ) from error
        return found

    def _note_unbound(self, node: fx.Node) -> None:
        """Note the numbers that were read from modules and that the rule of an operator did not follow."""
        for width in leaves((node.args, node.kwargs)):
            if isinstance(width, Width) and not any(width is each for each in self.bound):
                self.reads.setdefault(width.source, width.line)

    def _attribute(self, node: fx.Node, result: Any) -> Any:
        if not isinstance(result, Shape):
            return result
        name = self.traced.twin.tensors.get(str(node.target))
        if name is None:
            self.constants.add(result.shape)
            return Value(result.shape, (), f"the constant {node.target}")
        fields = tuple(
            on_axis(self.axis(name, dim, length), result.shape, dim)
            for dim, length in enumerate(result.shape)
            if length > 1
        )
        return Value(result.shape, fields, f"the parameter {node.target}", name)


def taking_counts(rule: Rule) -> Rule:
    """Mark a rule that understands counts among its arguments; for others they freeze what they count."""
    rule.takes_counts = True  # type: ignore[attr-defined]
    return rule


def traced_module(traced: Traced, node: fx.Node) -> nn.Module | None:
    """The module that a node calls; None for other operators."""
    return traced.twin.modules[str(node.target)] if node.op == "call_module" else None


def changes_its_weights(traced: Traced, name: str) -> str:
    """Why cutting a module's weights would be undone at its next call; "" where it would not."""
    module = traced.twin.modules[name]
    if name in traced.twin.hooked:
        return "has a hook that may change its inputs or weights"
    if parametrize.is_parametrized(module) or type(module).__module__.startswith("torch.ao"):
        return "computes its weights from others (parametrised)"
    return ""


def freeze_everything(call: Call, reason: str = "") -> Any:
    """For operators without a rule: what they touch stays whole, with the operator as the reason."""
    reason = reason or f"no rule for {call.place}"
    for value in call.values:
        call.freeze(value, reason)
    if call.module is not None:
        for name, tensor in call.module.named_parameters():
            first = call.walk.traced.twin.tensors.get(f"{call.node.target}.{name}", "")
            for dim, length in enumerate(tensor.shape):
                call.walk.ties.freeze(call.walk.axis(first, dim, length), reason)
    macs = call.walk.traced.counted.get(call.node, 0)
    if macs or _has_uncounted_weights(call):
        call.walk.fix(call, macs, reason if macs else f"{reason}; its MACs are not counted")
    return call.plain()


def _has_uncounted_weights(call: Call) -> bool:
    """Whether an operator without a rule is given a matrix of weights, although no multiply-adds were counted."""
    if call.module is not None:
        return any(tensor.dim() > 1 for tensor in call.module.parameters())
    modules = call.walk.traced.twin.modules
    return any(
        len(value.shape) > 1 and name in modules[owner]._parameters
        for value in call.values
        if value.parameter
        for owner, _, name in [value.parameter.rpartition(".")]
    )
