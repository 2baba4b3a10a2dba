"""What a network does, as torch.fx sees it: its operations in order, and the shape of each one's result.

The traced operations are run once on zeros, on a copy whose parameters are zeros that take no memory, never on
anyone's weights or data; frequent ones are not even computed (graph/hollow). Why neither FakeTensor nor the
meta device: docs/decisions/0001.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from explorer.errors import CannotTrace
from explorer.graph.hollow import hollow_of
from explorer.graph.inputs import zeros_like_batch
from explorer.graph.reads import Reads, recorded_reads, users_line

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

    `tensors` maps every name of a parameter or buffer to its first name, so that ties share one. `reads` are
    the widths that the user's code read from layers. `counted` are the MACs of operators without a rule.
    """

    module: fx.GraphModule
    results: dict[fx.Node, Any]
    tensors: dict[str, str]
    reads: Reads
    counted: dict[fx.Node, int] = field(default_factory=dict)


class Untraceable(Exception):
    """A front end cannot follow a forward: which one, what it said, and the line of the user's code."""

    def __init__(self, front_end: str, error: BaseException) -> None:
        said = str(error).strip().split("\n", 1)[0].rstrip(".")
        super().__init__(f"{front_end} says: {said} ({_last_place(error)}).")


class _Recorder(fx.Interpreter):
    """Runs the graph once, freeing what is no longer needed, and notes shapes and shared storages."""

    def __init__(self, module: fx.GraphModule, has_rule: HasRule) -> None:
        super().__init__(module)
        self._has_rule = has_rule
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
        called = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        if not self._has_rule(n, called):
            return self._run_counting(n)
        hollow = hollow_of(n, called)
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
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
                result = super().run_node(n)
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
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

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if line := users_line(sys._getframe(1)):
            node.meta["line"] = line
        return node


def first_names(model: nn.Module) -> dict[str, str]:
    """Every qualified name of a parameter or buffer in the state dict -> the first name of the same tensor.

    Buffers that no state dict holds are constants to the explorer: files of weights could not carry their new sizes.
    """
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name)
        for name, tensor in model.state_dict(keep_vars=True).items()
        if isinstance(tensor, Tensor)
    }


def hollow_copy(model: nn.Module) -> nn.Module:
    """A copy in which every parameter is one zero seen at all its positions, and every buffer is zeros."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        zero = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
        memo[id(parameter)] = nn.Parameter(zero, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.zeros(buffer.shape, dtype=buffer.dtype)
    twin = copy.deepcopy(model, memo)
    for module in twin.modules():
        module._forward_hooks.clear()  # a user's hooks must not see the zeros
    return twin


def run_hollow(
    twin: nn.Module, names: dict[str, str], inputs: tuple[Tensor, ...], training: bool, has_rule: HasRule
) -> Traced:
    """Trace a hollow copy with torch.fx and run it on zeros of the inputs' shapes.

    `names` are the first names of the model's tensors. The batch is 1; in training mode 2, since batch norm
    needs more than one value per channel. Operators for which `has_rule` says no have their MACs counted
    while they run. Raises Untraceable with the line that defeated the tracer, CannotTrace where the network does
    not run on such inputs. The global random state is left as it was.
    """
    twin.train(training)
    try:
        with torch.random.fork_rng(devices=[]), recorded_reads(twin) as reads:
            module = fx.GraphModule(twin, _Tracer().trace(twin))
    except Exception as error:  # user code runs while it is traced: anything can be raised
        raise Untraceable("torch.fx", error) from error
    results, counted = record(module, twin, inputs, training, has_rule)
    return Traced(module, results, names, reads, counted)


def record(
    module: fx.GraphModule,
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    training: bool,
    has_rule: HasRule,
) -> tuple[dict[fx.Node, Any], dict[fx.Node, int]]:
    """Run traced operations on zeros: the result of each, and the MACs of those without a rule.

    Raises CannotTrace where the model does not take inputs of these shapes.
    """
    recorder = _Recorder(module, has_rule)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        try:
            recorder.run(*zeros_like_batch(inputs, 2 if training else 1))
        except Exception as error:
            shapes = ", ".join(str(tuple(each.shape)) for each in inputs)
            raise CannotTrace(
                f"{type(model).__name__} does not run on an example of shape {shapes}: "
                f"{str(error).splitlines()[0]}. Pass an example of the shape that the network is made for, such as "
                "(1, channels, height, width)."
            ) from error
    return recorder.results, recorder.counted


def _last_place(error: BaseException) -> str:
    """file:line of the innermost frame outside torch."""
    place, step = "unknown place", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if "/torch/" not in file and "explorer/graph" not in file:
            place = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return place
