"""Branches that end in a residual sum, met while a network runs: a layer, perhaps a batch norm, then the sum."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor, add, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explorer.capture import READERS

SUMS = {add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__}
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


@dataclass(frozen=True, eq=False)
class Branch:
    """What a layer answered, `output`, through its batch norm if there is one (its arguments); `again` computes it
    anew. `number` counts the layers' calls.
    """

    number: int
    weight: str
    output: Tensor
    again: Callable[[], Tensor]
    norm: Mapping[str, Any] | None = None


class Branches(TorchFunctionMode):
    """Calls `at_sum(number, branch, other)` before the sum of that number adds `other` to a branch of these weights.

    Two networks of one forward number their sums alike. Of two branches, the one that was computed last. What anything
    else has read is no branch any more: it is not only the sum's.
    """

    def __init__(
        self, model: nn.Module, weights: Iterable[str], at_sum: Callable[[int, Branch, Tensor], object]
    ) -> None:
        super().__init__()
        self._names = {id(model.get_parameter(name)): name for name in weights}
        self._at_sum = at_sum
        self._open: dict[int, Branch] = {}
        self._sums, self._calls = count(), count()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        used = [self._open[id(leaf)] for leaf in tree_leaves((args, given)) if id(leaf) in self._open]
        if func in SUMS and not given and all(isinstance(each, Tensor) for each in args):
            number, (first, second) = next(self._sums), args
            branch = max(used, key=lambda each: each.number, default=None)
            if branch is not None and first.shape == second.shape and first is not second:
                self._at_sum(number, branch, second if branch.output is first else first)
        answer = func(*args, **given)
        if any(answer is each.output for each in used) and func is functional.dropout:
            return answer
        if any(
            isinstance(leaf, Tensor) for leaf in tree_leaves(answer)
        ):  # else it was only asked for its size
            for each in used:
                self._open.pop(id(each.output), None)
        if func in READERS:
            named = dict(zip(READERS[func], args, strict=False)) | given
            if name := self._names.get(id(named["weight"])):
                call = next(self._calls)
                self._open[id(answer)] = Branch(call, name, answer, lambda: func(*args, **given))
        elif func is functional.batch_norm and used and args and used[0].norm is None:
            layer, named = used[0], dict(zip(_NORM, args, strict=False)) | given
            if layer.output is args[0] and not named.get("training"):
                self._open[id(answer)] = Branch(
                    layer.number, layer.weight, answer, lambda: func(layer.again(), *args[1:], **given), named
                )
        return answer
