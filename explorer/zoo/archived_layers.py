"""The torch.nn module that an operator with its own tensors came from."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CONVOLUTIONS: Mapping[str, type[nn.Module]] = {"conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}
TRANSPOSED: Mapping[str, type[nn.Module]] = {
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE_NORMS = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


class Operation(NamedTuple):
    """A call of the aten operator `name`: arguments that are no tensors, tensors of its own, and its input's rank."""

    name: str
    given: Mapping[str, Any]
    own: Mapping[str, Tensor]
    rank: int | None


def layer_module(operation: Operation) -> nn.Module | None:
    """The module that the operation is, holding its tensors themselves; None where torch.nn has none."""
    own = operation.own
    with torch.device("meta"):  # all tensors are put in their places below
        module = LAYERS[operation.name](operation)
    if module is None:
        return None
    for key, place in {**module._parameters, **module._buffers}.items():
        if place is None or key == "num_batches_tracked":
            continue
        if key not in own or own[key].shape != place.shape:
            return None
        (module._parameters if key in module._parameters else module._buffers)[key] = own[key]  # type: ignore[assignment]
    return None if any(key not in {**module._parameters, **module._buffers} for key in own) else module


def _sizes(given: Mapping[str, Any], name: str, default: int) -> Any:
    value = given.get(name, default)
    if isinstance(value, list):
        return value[0] if len(value) == 1 else tuple(value)
    return value


def _convolution(call: Operation) -> nn.Module:
    given = call.given
    shape, groups = call.own["weight"].shape, given.get("groups", 1)
    options = {
        "stride": _sizes(given, "stride", 1),
        "padding": _sizes(given, "padding", 0),
        "dilation": _sizes(given, "dilation", 1),
        "groups": groups,
        "bias": "bias" in call.own,
    }
    if call.name in TRANSPOSED:
        options["output_padding"] = _sizes(given, "output_padding", 0)
        return TRANSPOSED[call.name](shape[0], shape[1] * groups, tuple(shape[2:]), **options)
    return CONVOLUTIONS[call.name](shape[1] * groups, shape[0], tuple(shape[2:]), **options)


def _linear(call: Operation) -> nn.Module:
    outputs, inputs = call.own["weight"].shape
    return nn.Linear(inputs, outputs, "bias" in call.own)


def _batch_norm(call: Operation) -> nn.Module | None:
    if call.rank not in BATCH_NORMS or "running_mean" not in call.own:
        return None
    return BATCH_NORMS[call.rank](
        len(call.own["running_mean"]), call.given["eps"], call.given["momentum"], "weight" in call.own
    )


def _instance_norm(call: Operation) -> nn.Module | None:
    if call.rank not in INSTANCE_NORMS or "weight" not in call.own or "running_mean" in call.own:
        return None
    return INSTANCE_NORMS[call.rank](
        len(call.own["weight"]), call.given["eps"], call.given["momentum"], affine=True
    )


def _layer_norm(call: Operation) -> nn.Module:
    return nn.LayerNorm(call.given["normalized_shape"], call.given.get("eps", 1e-5), bias="bias" in call.own)


def _group_norm(call: Operation) -> nn.Module:
    return nn.GroupNorm(call.given["num_groups"], len(call.own["weight"]), call.given.get("eps", 1e-5))


def _prelu(call: Operation) -> nn.Module:
    return nn.PReLU(call.own["weight"].numel())


LAYERS: Mapping[str, Callable[[Operation], nn.Module | None]] = {
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED), _convolution),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "prelu": _prelu,
}
