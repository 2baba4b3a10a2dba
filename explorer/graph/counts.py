"""Numbers that count channels: a share of the length of a labelled axis, among a rule's arguments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


@dataclass(frozen=True, eq=False)
class Count:
    """The number `len(labels) / parts`: a share of the length of an axis that carries these labels."""

    labels: Tensor
    parts: int = 1

    @property
    def number(self) -> int:
        return len(self.labels) // self.parts

    @property
    def blocks(self) -> Tensor:
        """The labels in `parts` rows of `number`."""
        return self.labels.reshape(self.parts, self.number)


def leaves(tree: Any) -> Iterator[Any]:
    """What lies in nested tuples, lists, dictionaries and slices; torch's own walk over trees is many times slower."""
    if isinstance(tree, (tuple, list)):
        for each in tree:
            yield from leaves(each)
    elif isinstance(tree, dict):
        for each in tree.values():
            yield from leaves(each)
    elif isinstance(tree, slice):
        yield from (tree.start, tree.stop, tree.step)
    else:
        yield tree


def counts_in(tree: Any) -> Iterator[Count]:
    """All counts in a structure of arguments."""
    return (leaf for leaf in leaves(tree) if isinstance(leaf, Count))


def without_counts(tree: Any) -> Any:
    """The structure with plain numbers in place of counts."""

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, slice):
            return slice(*(plain(each) for each in (leaf.start, leaf.stop, leaf.step)))
        return leaf.number if isinstance(leaf, Count) else leaf

    return tree_map(plain, tree)
