"""What a network does, as torch.fx sees it: its operations in order, and the shape of each one's result.

The traced operations are run once on zeros, on a copy whose parameters are zeros that take no memory, never on
anyone's weights or data; frequent ones are not even computed (graph/hollow). Why neither FakeTensor nor the
meta device: docs/decisions/0001.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from explorer.errors import CannotTrace
from explorer.graph.copies import Twin
from explorer.graph.counts import leaves
from explorer.graph.hollow import LEAVES, hollow_of, layer_kind, qualified
from explorer.graph.hooks import marked
from explorer.graph.inputs import Batch, Inputs, arguments, call_model, tensors_of, zeros_like_batch
from explorer.graph.reads import ENGINE, TORCH, Reads, recorded_reads, users_line
from explorer.graph.whole import handed_over

HasRule = Callable[[fx.Node, nn.Module | None], bool]
OPERANDS = {"input", "other", "mat2", "tensors"}


@dataclass(frozen=True)
class Shape:
    """What is remembered of a tensor: its shape, its type, and which storage it lives in."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: int


@dataclass(frozen=True, eq=False)
class Traced:
    """A network's operations in order, with the result of each: a `Shape` in place of every tensor.

    `reads` are what the user's code read from modules. `counted` are the MACs of operators without a rule.
    """

    twin: Twin
    results: dict[fx.Node, Any]
    reads: Reads
    counted: dict[fx.Node, int]


class Untraceable(Exception):
    """A front end cannot follow a forward: which one, what it said, and the line of the user's code."""

    def __init__(self, front_end: str, error: BaseException) -> None:
        said = str(error).strip().split("\n", 1)[0].rstrip(".")
        super().__init__(f"{front_end} says: {said} ({_last_place(error)}).")


class DoesNotRun(CannotTrace):
    """The traced operations do not run on the example: it does not fit, or torch.fx has taken another way."""


class _Recorder(fx.Interpreter):
    """Runs the graph once, freeing what is no longer needed, and notes shapes and shared storages."""

    def __init__(self, twin: Twin, graph: fx.Graph, has_rule: HasRule) -> None:
        super().__init__(twin.module, graph=graph)
        self._has_rule = has_rule
        self._modules = twin.modules
        self.counted: dict[fx.Node, int] = {}
        self.extra_traceback = False  # writing it would load torch's compiler
        self.results: dict[fx.Node, Any] = {}
        self._storages = 0

    def run_node(self, n: fx.Node) -> Any:
        known = {}  # address of the storages that the operator was given -> their number
        for source in n.all_input_nodes:
            tensors, shapes = _tensors(self.env[source]), _tensors(self.results[source], Shape)
            for tensor, shape in zip(tensors, shapes, strict=True):
                known[tensor.untyped_storage().data_ptr()] = shape.storage
        result = self._result(n)

        def note(tensor: Tensor) -> Shape:
            address = tensor.untyped_storage().data_ptr()
            if address not in known:
                known[address] = self._storages
                self._storages += 1
            return Shape(tuple(tensor.shape), tensor.dtype, known[address])

        if isinstance(result, Tensor):
            self.results[n] = note(result)
        elif isinstance(result, torch.Size):  # tree_map would make a plain tuple of it
            self.results[n] = result
        else:
            self.results[n] = tree_map_only(Tensor, note, result)
        return result

    def _result(self, n: fx.Node) -> Any:
        if not n.op.startswith("call"):
            return super().run_node(n)
        called = self._modules[str(n.target)] if n.op == "call_module" else None
        if not self._has_rule(n, called):
            return self._run_counting(n)
        hollow = hollow_of(n, called)
        if n.target == "view":  # zeros may have other strides than the true tensor, which can be viewed so
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            return args[0].reshape(*args[1:], **kwargs)
        if hollow is None:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        # Arithmetic of sizes, and operands that are given by name, are run as they are.
        if not _tensors(args) or OPERANDS & kwargs.keys():
            return super().run_node(n)
        return hollow(*args, **kwargs) if called is None else hollow(called, *args, **kwargs)

    def _run_counting(self, n: fx.Node) -> Any:
        """Run an operator under torch's own counter; attention must not take its uncounted fused path."""
        # Loads much that plain networks do not need.
        from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

        def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
            return int(sdpa_flop_count(query, key, value))

        on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
        fused, whole = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        torch._C._set_mkldnn_enabled(False)  # its LSTM comes in one piece
        try:
            with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
                result = super().run_node(n)
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            torch._C._set_mkldnn_enabled(whole)
        if macs := counter.get_total_flops() // 2:
            self.counted[n] = macs
        return result


def _tensors(tree: Any, kind: type = Tensor) -> list[Any]:
    if isinstance(tree, kind):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, kind)]


class _Tracer(fx.Tracer):
    """Buffers are operators' inputs like parameters, so that a size read from one is not taken as a constant.

    Notes the user's line of every operation (fx's own stack traces import its compiler).
    """

    proxy_buffer_attributes = True

    def __init__(self, root: nn.Module, forward: Any, inputs: Batch) -> None:
        super().__init__()
        self._inputs = inputs
        self._thread = threading.get_ident()
        if forward is not type(root).forward:  # a method of another name, which was set on the object
            self.traced_func_name = forward.__name__
            if getattr(type(root), forward.__name__, None) is not forward:
                raise TypeError("the forward that was set on the object is no method of its class")

    def create_args_for_root(self, root_fn: Any, *_: Any) -> tuple[Any, list[Any]]:
        """A placeholder for every tensor of the inputs, given to the forward as `call_model` gives them."""
        count = len(tensors_of(self._inputs))
        proxies = tuple(self.create_proxy("placeholder", f"input_{k}", (), {}) for k in range(count))
        stand_ins: Any = proxies
        given: Any = Inputs(stand_ins, self._inputs.form) if isinstance(self._inputs, Inputs) else proxies[0]
        assert isinstance(self.root, nn.Module)
        args, kwargs = arguments(self.root, given)
        return partial(root_fn, **kwargs), [self.root, *args]

    # While it traces, torch.fx takes the place of nn.Module's call and of its attributes for the whole process; a
    # network that another thread evaluates meanwhile must not notice.

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        output = super().call_module(m, forward, args, kwargs)
        leaf = m._forward_hooks and self.is_leaf_module(m, self.path_of_module(m))
        return marked(m, output) if leaf else output

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if "forward" in vars(m):
            return False
        known = layer_kind(m) is not type(m) or qualified(type(m)) in LEAVES
        return known or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if line := users_line(sys._getframe(1)):
            node.meta["line"] = line
        return node


def run_hollow(
    twin: Twin,
    inputs: Batch,
    training: bool,
    has_rule: HasRule,
    unlike: Traced | None = None,
) -> Traced | None:
    """Trace a hollow copy with torch.fx and run it on zeros of the inputs' shapes.

    The batch is 1; in training mode 2, since batch norm needs more than one value per channel. Operators for which
    `has_rule` says no have their MACs counted while they run. None where the operations are those of `unlike`,
    which then also has what was read. Raises Untraceable with the line that defeated the tracer, DoesNotRun where
    the network does not run on such inputs.
    """
    graph, reads = _trace(twin, inputs, training)
    if unlike is not None and _operations(graph.nodes) == _operations(unlike.results):
        unlike.reads.widths.update(reads.widths)
        return None
    results, counted = record(graph, twin, inputs, training, has_rule)
    return Traced(twin, results, reads, counted)


def _operations(nodes: Iterable[fx.Node]) -> list[tuple[Any, ...]]:
    """What is called with what, except for the flags by which dropout is told the mode."""
    operations = []
    for node in nodes:
        name = getattr(node.target, "__name__", "")
        flags = name == "stochastic_depth" or "dropout" in name
        given = [*node.args, *node.kwargs.values()]
        operations.append(
            (
                node.op,
                node.target,
                *node.kwargs,
                *(repr(each) for each in given if not (flags and isinstance(each, bool))),
            )
        )
    return operations


def _trace(twin: Twin, inputs: Batch, training: bool) -> tuple[fx.Graph, Reads]:
    """The forward's operations, and what it read of modules. Raises Untraceable."""
    twin.train(training)
    try:
        with recorded_reads(twin.modules, followed=True) as reads, handed_over(_whole):
            return _Tracer(twin.module, twin.forward, inputs).trace(twin.module), reads
    except Exception as error:  # user code runs while it is traced: anything can be raised
        raise Untraceable("torch.fx", error) from error


def _whole(function: Any, computed: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A call of a function that is not looked into: one operation, where it is given traced values."""
    traced = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, fx.Proxy)]
    if not traced:
        return computed(*args, **kwargs)
    return traced[0].tracer.create_proxy("call_function", function, args, kwargs)


def record(
    graph: fx.Graph,
    twin: Twin,
    inputs: Batch,
    training: bool,
    has_rule: HasRule,
) -> tuple[dict[fx.Node, Any], dict[fx.Node, int]]:
    """Run traced operations on zeros: the result of each, and the MACs of those without a rule.

    Raises DoesNotRun where the model does not take such inputs.
    """
    recorder = _Recorder(twin, graph, has_rule)
    with torch.inference_mode():
        try:
            recorder.run(*tensors_of(zeros_like_batch(inputs, 2 if training else 1)))
        except Exception as error:
            shapes = ", ".join(str(tuple(each.shape)) for each in tensors_of(inputs))
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise DoesNotRun(
                f"{twin.name} does not run on an example of shape {shapes}: {said}. Pass an example of the shape that "
                "the network is made for, such as (1, channels, height, width)."
            ) from error
    return recorder.results, recorder.counted


def runs(twin: Twin, inputs: Batch) -> bool:
    """Whether the forward itself takes such inputs, where what torch.fx traced of it does not."""
    twin.train(mode=False)
    with torch.inference_mode():
        try:
            call_model(twin.module, zeros_like_batch(inputs, 1))
        except Exception:  # noqa: BLE001  # whatever a user's forward may raise
            return False
    return True


def _last_place(error: BaseException) -> str:
    """file:line of the innermost frame outside torch."""
    place, step = "unknown place", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not file.startswith((TORCH, ENGINE)):
            place = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return place
