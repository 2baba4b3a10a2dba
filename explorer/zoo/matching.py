"""Which tensor of a file belongs where in a network: names that differ by a prefix or wrapper are matched.

What fits is found by comparing names *and shapes*, not by a list of known prefixes.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from explorer.errors import BadInput
from explorer.zoo.checkpoints import Checkpoint
from explorer.zoo.files import shortened

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
BOOKKEEPING = ("n_averaged", "total_ops", "total_params")  # of AveragedModel, and of the FLOPs counter thop
LOSSES = ("loss", "criterion", "metric")  # in the names of what a training module has beside its network


@dataclass(frozen=True, eq=False)
class Match:
    """A state dict of a file under the network's names, and how it came by them.

    `fitting` tensors have the name and the shape of one of the network; `shapes` are those with the name only:
    (name, shape in the file, shape in the network). `outside` are names without the prefix that the network's had.
    """

    place: str
    state: Mapping[str, Tensor]
    words: str
    fitting: int
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    outside: frozenset[str]

    @property
    def score(self) -> tuple[int, int, bool]:
        """More fitting tensors, then more known names, then no moving average."""
        return self.fitting, len(self.shapes), not _is_average(self.place)


def best_match(checkpoint: Checkpoint, model: nn.Module) -> Match:
    """The state dict of the file and the way of naming that fit the most tensors of the model."""
    wanted = _shapes(model.state_dict())
    matches = [
        _matched(place, renamed, words, wanted, outside)
        for place, state in checkpoint.states
        for words, renamed, outside in _namings(state, wanted, model)
    ]
    return max(matches, key=lambda match: match.score)  # the first of equals


def put_weights(
    checkpoint: Checkpoint, model: nn.Module, name: str, unused: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Fill the model, the network `name`, in place with the file's tensors; says what was adapted.

    Tensors of the file whose names begin with one of `unused` are left out; so are those of a loss or a counter, and
    those outside of the network's prefix, which is told. Raises BadInput that lists all that is missing, surplus or of
    another shape; the model may then be half filled.
    """
    match = best_match(checkpoint, model)
    places = model.state_dict(keep_vars=True)
    state = OrderedDict(
        (name, value) for name, value in match.state.items() if name in places or not name.startswith(unused)
    )
    state._metadata = getattr(match.state, "_metadata", None)  # type: ignore[attr-defined]
    if match.shapes:
        missing, surplus = sorted(set(places) - set(state)), sorted(set(state) - set(places))
        raise _refusal(checkpoint.path, match, name, places, _without_counters(missing), surplus)
    for tensor, value in state.items():
        if value.is_quantized or value.is_complex() or value.layout != torch.strided:
            raise BadInput(
                f"{checkpoint.path}: {tensor} is {'quantised' if value.is_quantized else value.dtype} "
                f"({value.layout}); expected dense real numbers. Save the network before it was quantised."
            )
    try:
        with torch.no_grad():
            keys = model.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"{checkpoint.path} does not fit {name}: {error}") from error
    filled = {id(places[name]) for name in set(places) - set(keys.missing_keys)}  # tied: one place, two names
    missing = [name for name in keys.missing_keys if name not in places or id(places[name]) not in filled]
    missing = _without_counters(missing)
    surplus = list(keys.unexpected_keys)
    if missing or not all(_beside(each, match, places) for each in surplus):
        raise _refusal(checkpoint.path, match, name, places, missing, surplus)
    return tuple(_notes(checkpoint, match, state, places))


def _beside(tensor: str, match: Match, places: Mapping[str, object]) -> bool:
    """Whether a surplus tensor was saved beside the network, as of a loss, and is no part of a larger one."""
    if tensor in match.outside or tensor.rpartition(".")[2] in BOOKKEEPING:
        return True
    part = tensor.partition(".")[0]
    own = {name.partition(".")[0] for name in places}
    return part not in own and any(word in part.lower() for word in LOSSES)


def _without_counters(missing: list[str]) -> list[str]:
    """Torch before 0.4.1 did not count the batches of a batch norm."""
    return [name for name in missing if not name.endswith("num_batches_tracked")]


def _shapes(state: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}


def _matched(
    place: str,
    state: Mapping[str, Tensor],
    words: str,
    wanted: Mapping[str, tuple[int, ...]],
    outside: frozenset[str],
) -> Match:
    known = {name: tuple(value.shape) for name, value in state.items() if name in wanted}
    other = tuple((name, shape, wanted[name]) for name, shape in known.items() if shape != wanted[name])
    return Match(place, state, words, len(known) - len(other), other, outside)


# ---- naming ----------------------------------------------------------------------------------------------


def _namings(
    state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], model: nn.Module
) -> Iterator[tuple[str, Mapping[str, Tensor], frozenset[str]]]:
    """The state dict as it is, and under other names: (what was done, state dict, names outside of a prefix)."""
    none: frozenset[str] = frozenset()
    own = getattr(model.state_dict(), "_metadata", None)  # the versions of modules, for those that ask
    kept = getattr(state, "_metadata", None) or own
    yield "", _renamed(state, {}, kept), none
    bare = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in state}
    plain = {name.replace(".", ""): name for name in wanted}
    joined = {name: plain.get(name.replace(".", ""), name) for name in state}
    for words, names in (
        ("", {}),
        (f"Without {' and '.join(WRAPPERS[:2])} in their names, tensors", bare),
        ("With dots at other places in their names, tensors", joined),
    ):
        renamed = _renamed(state, names, own)
        if renamed.keys() != state.keys():
            yield words, renamed, none
        strip, add = _prefix(renamed, wanted)
        if strip:
            names = {name: name.removeprefix(strip) for name in renamed}
            versions = {f"{key}.".removeprefix(strip)[:-1]: value for key, value in (kept or {}).items()}
            outside = frozenset(name for name in renamed if not name.startswith(strip))
            yield (
                f"Without {strip!r} before their names, tensors",
                _renamed(renamed, names, versions),
                outside,
            )
        elif add:
            names = {name: add + name for name in renamed}
            yield f"With {add!r} before their names, tensors", _renamed(renamed, names, own), none


def _renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], versions: object
) -> "OrderedDict[str, Tensor]":
    """The state dict with its own order; a name that would stand for two tensors stays."""
    count = Counter(names.get(name, name) for name in state)
    renamed = OrderedDict(
        (new if count[new := names.get(name, name)] == 1 else name, value) for name, value in state.items()
    )
    renamed._metadata = versions  # type: ignore[attr-defined]
    return renamed


def _prefix(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """(prefix to strip from the file's names, prefix to put before them): what fits the most, if anything."""
    found = _shapes(state)
    votes = Counter((name[:at], "") for name, at in _suffixes(found) if wanted.get(name[at:]) == found[name])
    votes.update(("", name[:at]) for name, at in _suffixes(wanted) if found.get(name[at:]) == wanted[name])
    if not votes:
        return "", ""
    return max(
        votes, key=lambda prefixes: (votes[prefixes], not _is_average(prefixes[0]))
    )  # the first of equals


def _is_average(place: str) -> bool:
    return "ema" in place.lower()


def _suffixes(names: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """Every name with every place behind one of its dots."""
    for name in names:
        at = name.find(".")
        while at >= 0:
            yield name, at + 1
            at = name.find(".", at + 1)


# ---- words -----------------------------------------------------------------------------------------------


def _notes(
    checkpoint: Checkpoint, match: Match, state: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> Iterator[str]:
    file = checkpoint.path.name
    fits = [place for place, _ in checkpoint.states if place != match.place]
    if match.place:
        others = f"; not used: {shortened(fits, 5)}" if fits else ""
        yield f"{file}: the weights under {match.place!r} were taken{others}."
    if match.words:
        yield f"{file}: {match.words[0].lower()}{match.words[1:]} have the names of the network."
    if beside := [name for name in state if name not in places]:
        yield f"{file}: left out, since they are not of the network ({len(beside)}): {shortened(beside, 5)}."
    changed = Counter(
        (str(value.dtype)[6:], str(places[name].dtype)[6:])
        for name, value in state.items()
        if name in places
        and value.dtype != places[name].dtype
        and (value.is_floating_point() and places[name].is_floating_point())
    )
    for (of, to), count in changed.items():
        yield f"{file}: {count} tensors are {of} and were converted to {to}."


def _refusal(
    path: Path,
    match: Match,
    name: str,
    places: Mapping[str, Tensor],
    missing: Sequence[str],
    surplus: Sequence[str],
) -> BadInput:
    lists = []
    if missing:
        lists.append(f"Missing in the file ({len(missing)}): {shortened(list(missing))}.")
    if surplus:
        lists.append(f"Not in the network ({len(surplus)}): {shortened(list(surplus))}.")
    if match.shapes:
        rows = [
            f"{tensor} is {file} in the file and {own} in the network" for tensor, file, own in match.shapes
        ]
        lists.append(f"Of another shape ({len(rows)}): {shortened(rows)}.")
    return BadInput(
        f"{path} does not fit {name}: {match.fitting} of its {len(places)} tensors are in "
        f"the file with the same name and shape. {' '.join(lists)} {_advice(match, places, missing, surplus)}"
    )


def _advice(
    match: Match, places: Mapping[str, Tensor], missing: Sequence[str], surplus: Sequence[str]
) -> str:
    shapes = match.shapes
    if (classes := other_classes(match)) and not missing and not surplus:
        return (
            f"Only the number of classes differs: build the network with {classes} classes and load it again."
        )
    smaller = all(len(a) == len(b) and all(x <= y for x, y in zip(a, b, strict=True)) for _, a, b in shapes)
    if len(shapes) > 2 and smaller and not surplus:
        return (
            "All these are smaller in the file, as in a network that was pruned: such weights do not fit the "
            "dense class. Build the shrunk network with the Python file that was exported beside them, and pass "
            "what its load() returns as source."
        )
    if not match.fitting:
        return "The file is of another network: check which one it was saved from."
    same = "Build the network as it was when the file was saved: the same class, with the same arguments."
    if shapes or not missing:
        return same
    called = {
        name: [each for each in surplus if match.state[each].shape == places[name].shape] for name in missing
    }
    found = {each for names in called.values() for each in names}
    if len(found) == len(called) and all(len(names) == 1 for names in called.values()):
        rows = [f"{name} may be {names[0]}" for name, names in called.items()]
        return (
            f"By their shapes, {shortened(rows, 5)}: if so, give them the network's names, as in "
            f"state[{missing[0]!r}] = state.pop({called[missing[0]][0]!r}), and save the file again. If not: {same}"
        )
    return (
        f"{same} To fill only what the file has, put its tensors into the module yourself, "
        "model.load_state_dict(state, strict=False), and pass the module."
    )


def other_classes(match: Match) -> int | None:
    """The number of classes of the file, where nothing but the number of classes has another shape."""
    lengths = {(file[:1], own[:1]) for _, file, own in match.shapes if file[1:] == own[1:] and file}
    rest = any(file[1:] != own[1:] for _, file, own in match.shapes)
    if len(lengths) != 1 or rest or len(match.shapes) > 6:
        return None
    return next(iter(lengths))[0][0]
