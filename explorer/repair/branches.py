"""Branches that end in a residual sum, met while a network runs: a layer, perhaps a batch norm, then the sum."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor, add, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explorer.capture import READERS

SUMS = {add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__}


@dataclass(frozen=True, eq=False)
class Branch:
    """What a layer answered, `output`, through its batch norm if there is one; `again` computes it anew."""

    number: int
    weight: str
    output: Tensor
    again: Callable[[], Tensor]
    norm: Mapping[str, Any] | None = None


class Branches(TorchFunctionMode):
    """Calls `at_sum(number, branch, other)` before the sum of that number adds `other` to a branch of these weights.

    Two networks of one forward number their sums alike. Of two branches, the one that was computed last.
    """

    def __init__(
        self, model: nn.Module, weights: Any, at_sum: Callable[[int, Branch, Tensor], object]
    ) -> None:
        super().__init__()
        self._names = {id(model.get_parameter(name)): name for name in weights}
        self._at_sum = at_sum
        self._open: dict[int, Branch] = {}
        self._sums, self._numbers = 0, count()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        leaves = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
        used = [self._open[id(leaf)] for leaf in leaves if id(leaf) in self._open]
        if func in SUMS and len(args) == 2 and all(isinstance(each, Tensor) for each in args):
            self._sums += 1
            branch = max(used, key=lambda each: each.number, default=None)
            if branch is not None and args[0].shape == args[1].shape and args[0] is not args[1]:
                self._at_sum(self._sums, branch, args[1] if branch.output is args[0] else args[0])
        answer = func(*args, **given)
        if isinstance(answer, Tensor):  # else it was only asked for its size
            for each in used:
                del self._open[id(each.output)]
        if func in READERS:
            named = dict(zip(READERS[func], args, strict=False)) | given
            if name := self._names.get(id(named["weight"])):
                self._open[id(answer)] = Branch(
                    next(self._numbers), name, answer, lambda: func(*args, **given)
                )
        elif func is functional.batch_norm and used and used[0].norm is None:
            before = used[0]
            named = (
                dict(zip(("input", "running_mean", "running_var", "weight", "bias"), args, strict=False))
                | given
            )
            if not named.get("training"):
                self._open[id(answer)] = Branch(
                    *(before.number, before.weight, answer),
                    *(lambda: func(before.again(), *args[1:], **given), named),
                )
        return answer
