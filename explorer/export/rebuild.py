"""Put the weights of a shrunk network into its dense class: what exported Python files do."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


def rebuild(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    sizes: Sequence[tuple[str, str, str, int, int, int]],
) -> nn.Module:
    """Make the dense `model`, in place, the shrunk network that `weights` belong to.

    Every tensor takes the shape, type and values that it has in `weights`. `sizes` are the numbers that
    modules keep of their own size, and that must follow: (module, attribute, tensor, dimension, numerator,
    denominator) means attribute = length of the tensor's dimension * numerator / denominator. Raises
    ValueError if `weights` are of another network.
    """
    state = model.state_dict(keep_vars=True)
    places = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    unknown = [name for name in weights if name not in places]
    if unknown:
        raise ValueError(f"The weights are of another network: {type(model).__name__} has no {unknown[0]}.")
    filled = {id(places[name]) for name in weights}  # tied tensors are one place with two names
    missing = [name for name, place in places.items() if id(place) not in filled]
    if missing:
        raise ValueError(f"The weights are not complete: {missing[0]} is missing.")
    for name, tensor in weights.items():
        places[name].data = tensor
    for module, attribute, name, dimension, numerator, denominator in sizes:
        length = weights[name].shape[dimension]
        setattr(model.get_submodule(module), attribute, length * numerator // denominator)
    return model
