"""`load`: a bundled network by name, or a user's module, ready to be explored."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from explorer.data import Data, DataSource, Images, Normalize, as_data, as_images, fashion_mnist, identity
from explorer.data.fitting import require_finite, require_labels, taking
from explorer.errors import BadInput, ExplorerError, require_name
from explorer.zoo.network import Network
from explorer.zoo.networks import NETWORKS


def load(
    source: str | nn.Module,
    data: DataSource | None = None,
    example: Tensor | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
) -> Network:
    """A bundled network by name, with its weights and images; or a copy of an nn.Module.

    `data` are images to judge it on: a Data, or anything else that becomes explore images. `normalize` maps
    those images in [0, 1] to inputs; without it float images are taken as inputs already, and a bundled
    network normalises uint8 images as its own. `example` is an input, float (1, C, H, W); without it the
    first explore image is. The module is not changed, and no random number is drawn.

    Raises UnknownName for a name that is not bundled, and BadInput for weights that are not finite, for data
    or an example that the network does not take, for labels that it has no logit for, or when a module comes
    without both.
    """
    own: Normalize | None = None
    if isinstance(source, str):
        name, (model, own) = source, _bundled(source)
    elif isinstance(source, nn.Module):
        name, model = type(source).__name__, _private_copy(source)
    else:
        raise _refused(source)
    require_finite(name, model)
    values: Data | None = None
    if data is not None:
        values = _as_data(data, normalize, own)
    elif own is not None:
        values = fashion_mnist(normalize or own)
    sample, answer = _example(model, name, values, example)
    if values is not None and data is not None:  # bundled images fit, and are read only when they are needed
        _check_labels(values, answer)
    return Network(
        name,
        model,
        sample,
        values,
        normalize or own or (values.explore.normalize if values else identity),
        inspect.getsourcefile(type(model)) if own else None,
    )


def _refused(source: object) -> BadInput:
    instance = "an instance, not the class: " if isinstance(source, type) else ""
    return BadInput(
        f"load() cannot take {source!r} ({type(source).__name__}). Pass {instance}an nn.Module, or the name "
        f"of a bundled network ({', '.join(NETWORKS)})."
    )


def _bundled(name: str) -> tuple[nn.Module, Normalize]:
    require_name("bundled network", name, NETWORKS)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then overwritten
        model = NETWORKS[name]()
    try:
        with (
            as_file(files("explorer.zoo") / "weights" / f"{name}.safetensors") as path,
            safe_open(path, framework="pt") as content,
        ):
            metadata = content.metadata()
            names = content.keys()
            model.load_state_dict({key: content.get_tensor(key) for key in names})
    except (OSError, SafetensorError, RuntimeError) as error:  # missing, damaged, of another network
        raise ExplorerError(
            f"The bundled weights explorer/zoo/weights/{name}.safetensors cannot be read ({error}). Install "
            f"the package again, or train them: python scripts/train_bundled.py {name}."
        ) from error
    return model.eval(), Normalize(float(metadata["mean"]), float(metadata["std"]))


def _private_copy(module: nn.Module) -> nn.Module:
    """In eval mode, on the CPU, without gradients."""
    lazy = [name for name, value in module.state_dict(keep_vars=True).items() if is_lazy(value)]
    if lazy:
        raise BadInput(
            f"{type(module).__name__} has no weights yet in {', '.join(lazy)} (lazy modules). Run it once on "
            "an input before load()."
        )
    try:
        model = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise BadInput(
            f"{type(module).__name__} cannot be copied ({error}), and the explorer works on copies only. "
            "Keep tensors that are computed from weights, locks and open files out of its attributes."
        ) from error
    model.zero_grad(set_to_none=True)
    return model.cpu().eval()


def _as_data(data: DataSource, normalize: Callable[[Tensor], Tensor] | None, own: Normalize | None) -> Data:
    values = as_data(data, normalize)
    has_no_own = not isinstance(data, Data | Images)
    if own and not normalize and has_no_own and values.explore.pixels.dtype == torch.uint8:
        return replace(values, explore=replace(values.explore, normalize=own))
    return values


def _check_labels(data: Data, answer: Any) -> None:
    """Raise BadInput if a label of any split has no logit. Answers that are no logits are not judged here."""
    if isinstance(answer, Tensor) and answer.dim() == 2:
        for images in (data.explore, data.train, data.final):
            if images is not None:
                require_labels(images.labels, answer)


def _example(model: nn.Module, name: str, data: Data | None, example: Tensor | None) -> tuple[Tensor, Any]:
    """The given example, or the first explore image, and the answer to it; both are tried if shapes differ."""
    first = None if data is None else as_images(data, "explore").inputs(slice(0, 1))
    if example is not None:
        given = _checked_example(example)
        answer = _answer(model, name, given, "an example")
        if first is not None and first.shape != given.shape:
            _answer(model, name, first, "images")
        return given, answer
    if first is None:
        raise BadInput(
            f"load() needs an input of {name}: pass example=, a batch of one such as "
            "torch.randn(1, 3, 32, 32), or data= with labelled images."
        )
    return first, _answer(model, name, first, "images")


def _checked_example(example: Tensor) -> Tensor:
    if not isinstance(example, Tensor) or not example.is_floating_point():
        found = example.dtype if isinstance(example, Tensor) else type(example).__name__
        raise BadInput(f"The example is {found}; expected a float tensor, a batch of one normalised input.")
    if example.dim() < 2 or len(example) != 1:
        raise BadInput(
            f"The example has shape {tuple(example.shape)}; expected a batch of one, such as (1, 3, 32, 32). "
            "Take example[:1], or example.unsqueeze(0) of a single input."
        )
    if not torch.isfinite(example).all():
        raise BadInput("The example holds NaN or infinite numbers.")
    return example.detach().cpu().clone()


def _answer(model: nn.Module, name: str, inputs: Tensor, what: str) -> Any:
    """What the network answers; raises BadInput where it does not take the inputs."""
    hint = "Pass inputs of the shape and dtype that its forward expects."
    # Not inference_mode: a module that keeps a tensor of its forward could then not be trained.
    with taking(name, inputs, hint, what), torch.no_grad(), torch.random.fork_rng(devices=[]):
        return model(inputs)
