"""The second front end: torch.export, for forwards that torch.fx cannot follow.

Export runs the forward on tensors that know their shapes, so that branches and loops that depend on shapes are
taken as for the example; what depends on the data itself, it refuses. Its operators are aten's: they are written
again as calls of the user's own modules and of torch's functions, which the rules know. All sizes are numbers
here, so that a view with channels among its sizes freezes them.
"""

import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.export.graph_signature import InputKind, OutputKind

from explorer.errors import BadInput
from explorer.graph.aten import written
from explorer.graph.copies import Twin
from explorer.graph.hollow import layer_kind
from explorer.graph.inputs import Batch, arguments, zeros_like_batch
from explorer.graph.patterns import written_dims
from explorer.graph.quiet import quiet
from explorer.graph.reads import TORCH, Reads, RecordedSizes, recorded_reads, users_line
from explorer.graph.rules import MODULES, has_rule
from explorer.graph.tracing import Traced, Untraceable, record
from explorer.graph.whole import handed_over

OF_MODULES = {  # operators that are the whole forward of a module with tensors of its own
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "batch_norm",
    "instance_norm", "layer_norm", "group_norm", "prelu",
}  # fmt: skip
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def run_exported(twin: Twin, inputs: Batch, training: bool) -> Traced:
    """Export a hollow copy and run the result on zeros, as tracing.run_hollow does with torch.fx.

    Raises Untraceable with the line that defeated torch.export.
    """
    twin.train(training)
    args, kwargs = arguments(twin.module, zeros_like_batch(inputs, 2 if training else 1))
    try:
        with (
            recorded_reads(twin.modules) as reads,
            quiet(),
            RecordedSizes(reads),
            handed_over(partial(_whole, reads)),
        ):
            program = torch.export.export(twin.module, args, kwargs, strict=False)
        graph = _Rewriting(twin, program).graph()
    except Exception as error:  # user code runs while it is exported: anything can be raised
        raise Untraceable("torch.export", error) from error
    results, counted = record(graph, twin, inputs, training, has_rule)
    return Traced(twin, results, reads, counted)


def _whole(reads: Reads, function: Any, computed: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A call of a function of another package, which is followed; einops checks lengths, which no operator shows.

    What it reads of shapes becomes sizes of views, which the rules know, or is remembered for shapes that it has seen.
    """
    if not function.__module__.startswith("einops"):
        return computed(*args, **kwargs)
    noting, reads.noting = reads.noting, False
    try:
        given = args[0] if args else kwargs["tensor"]
        stacked = isinstance(given, list)  # along a dimension of their own, which is the first
        for x in given if stacked else [given]:
            shape = tuple(x.shape)
            for dim in written_dims(args, kwargs, len(shape) + stacked):
                reads.sizes.setdefault((shape, dim - stacked), users_line(sys._getframe(1)))
        return computed(*args, **kwargs)
    finally:
        reads.noting = noting


class _Rewriting:
    """An exported graph on its way to one of modules and functions."""

    def __init__(self, twin: Twin, program: Any) -> None:
        self._twin, self._program = twin, program
        self._new = fx.Graph()
        self._nodes: dict[fx.Node, Any] = {}
        self._held: dict[fx.Node, str] = {}  # placeholder of a tensor -> its name in the module

    def graph(self) -> fx.Graph:
        specs = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, specs[node.name])
            elif node.op == "output":
                kinds = [spec.kind for spec in self._program.graph_signature.output_specs]
                results = [
                    value
                    for value, kind in zip(node.args[0], kinds, strict=True)
                    if kind == OutputKind.USER_OUTPUT
                ]
                self._new.output(fx.map_arg(tuple(results), self._known))
            elif node.op == "call_function":
                self._nodes[node] = self._call(node)
            else:
                raise BadInput(f"it uses {node.target}, a control-flow operator")
        return self._new

    def _placeholder(self, node: fx.Node, spec: Any) -> None:
        if spec.kind == InputKind.USER_INPUT:
            self._nodes[node] = self._new.placeholder(node.name)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            self._held[node] = spec.target
        else:
            name = f"_exported_{node.name}"
            self._twin.module.register_buffer(name, self._program.constants[spec.target], persistent=False)
            self._held[node] = name

    def _known(self, node: fx.Node) -> Any:
        """What stands for a node; a tensor of the module is read where something needs it."""
        if node in self._held:
            return self._new.get_attr(self._held[node])
        return self._nodes[node]

    def _call(self, node: fx.Node) -> Any:
        if (path := self._module_of(node)) is not None:
            new = self._new.call_module(path, (self._known(node.args[0]),))  # type: ignore[arg-type]
        else:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self._known)
            new = self._written(node, args, kwargs)
        if isinstance(new, fx.Node):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            new.meta["nn_module_stack"] = dict(stack)
            if frames := FRAME.findall(node.meta.get("stack_trace") or ""):
                users = [frame for frame in frames if not frame[0].startswith(TORCH)]
                file, line = (users or frames)[-1]
                new.meta["line"] = f"{file.rpartition('/')[2]}:{line}"
        return new

    def _module_of(self, node: fx.Node) -> str | None:
        """The path of the module whose whole forward this operator is; None for others."""
        name = getattr(node.target, "__name__", "").partition(".")[0]
        stack = list(node.meta.get("nn_module_stack", {}).values())
        if name not in OF_MODULES or not stack or len(node.args) < 2:
            return None
        path = stack[-1][0]
        module = self._twin.modules[path]
        own = [self._held.get(each) for each in node.args[1:3] if isinstance(each, fx.Node)]
        padded = getattr(module, "padding_mode", "zeros") != "zeros"  # by an operator of its own
        bare = (
            name == "instance_norm" and getattr(module, "weight", own) is None
        )  # its width is kept all the same
        plain = layer_kind(module) in MODULES and "forward" not in vars(module)
        return path if plain and (f"{path}.weight" in own or bare) and not padded else None

    def _written(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        first = node.args[0] if node.args else None
        example = first.meta.get("val") if isinstance(first, fx.Node) else None
        rank = example.dim() if isinstance(example, Tensor) else None
        target: Any = node.target
        if isinstance(target, torch._ops.HigherOrderOperator):
            raise BadInput(f"it uses {target}, a control-flow operator")
        name = (
            f"torch.ops.{target}"
            if isinstance(target, torch._ops.OpOverload)
            else f"_operator.{target.__name__}"
        )
        try:
            call = written(name, tuple(args), dict(kwargs), rank)
        except BadInput:  # an operator that has no better name: it is run as it is
            return self._new.create_node("call_function", target, tuple(args), dict(kwargs))
        return None if call is None else self._new.create_node(*call)
