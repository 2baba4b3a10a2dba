"""The front end: torch.fx, then one run of the traced graph on zeros, which gives every operator's shapes.

The run is on a copy whose parameters are zeros that take no memory, never on anyone's weights or data
(docs/decisions/0001 says why not FakeTensor or the meta device).
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from explorer.errors import CannotTrace
from explorer.graph.reads import Reads, recorded_reads, users_line

HasRule = Callable[[fx.Node, nn.Module | None], bool]


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
    the widths that the user's code read from layers. `other_macs` are those of operators without a rule.
    """

    module: fx.GraphModule
    results: dict[fx.Node, Any]
    tensors: dict[str, str]
    reads: Reads
    other_macs: int


class _Recorder(fx.Interpreter):
    """Runs the graph once, freeing what is no longer needed, and notes shapes and shared storages."""

    def __init__(self, module: fx.GraphModule, has_rule: HasRule) -> None:
        super().__init__(module)
        self._has_rule = has_rule
        self.other_macs = 0
        self.extra_traceback = False  # writing it would load torch's compiler
        self.results: dict[fx.Node, Any] = {}
        self._storages = 0

    def run_node(self, n: fx.Node) -> Any:
        known = {}  # address of the storages that the operator was given -> their number
        for source in n.all_input_nodes:
            tensors, shapes = _tensors(self.env[source]), _tensors(self.results[source], Shape)
            for tensor, shape in zip(tensors, shapes, strict=True):
                known[tensor.untyped_storage().data_ptr()] = shape.storage
        called = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        if n.op.startswith("call") and not self._has_rule(n, called):
            result = self._run_counting(n)
        else:
            result = super().run_node(n)

        def note(tensor: Tensor) -> Shape:
            address = tensor.untyped_storage().data_ptr()
            if address not in known:
                known[address] = self._storages
                self._storages += 1
            return Shape(tuple(tensor.shape), tensor.dtype, known[address])

        self.results[n] = tree_map_only(Tensor, note, result)
        return result

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
        self.other_macs += counter.get_total_flops() // 2
        return result


def _tensors(tree: Any, kind: type = Tensor) -> list[Any]:
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
    """Every qualified name of a parameter or buffer -> the first name of the same tensor."""
    first: dict[int, str] = {}
    names = {}
    for part in (model.named_parameters, model.named_buffers):
        for name, tensor in part(remove_duplicate=False):
            names[name] = first.setdefault(id(tensor), name)
    return names


def _hollow_copy(model: nn.Module) -> nn.Module:
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


def run_hollow(model: nn.Module, example: Tensor, training: bool, has_rule: HasRule) -> Traced:
    """Trace the model with torch.fx and run it on zeros of the example's shape.

    The batch is 1; in training mode 2, since batch norm needs more than one value per channel. Operators for
    which `has_rule` says no have their MACs counted while they run.
    Raises CannotTrace with the line that defeated the tracer. The global random state is left as it was.
    """
    twin = _hollow_copy(model).train(training)
    try:
        with torch.random.fork_rng(devices=[]), recorded_reads(twin) as reads:
            module = fx.GraphModule(twin, _Tracer().trace(twin))
    except Exception as error:  # user code runs while it is traced: anything can be raised
        raise CannotTrace(
            f"torch.fx cannot trace {type(model).__name__}: {_first_line(error)} ({_last_place(error)}). "
            "Control flow that depends on the data cannot be traced: move it out of forward, or pass the part "
            "of the network that is a plain CNN."
        ) from error
    recorder = _Recorder(module, has_rule)
    zeros = torch.zeros((2 if training else 1, *example.shape[1:]), dtype=example.dtype)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        try:
            recorder.run(zeros)
        except Exception as error:
            raise CannotTrace(
                f"{type(model).__name__} does not run on an example of shape {tuple(example.shape)}: "
                f"{_first_line(error)}. Pass an example of the shape that the network is made for, such as "
                "(1, channels, height, width)."
            ) from error
    return Traced(module, recorder.results, first_names(model), reads, recorder.other_macs)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _last_place(error: BaseException) -> str:
    """file:line of the innermost frame outside torch."""
    place, step = "unknown place", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if "/torch/" not in file and "explorer/graph" not in file:
            place = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return place
