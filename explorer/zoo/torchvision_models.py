"""torchvision's classifiers by name: built as its weights want them, with their normalisation and class names.

torchvision is imported when such a name is asked for. Its own loading is not used: it unpickles without
restriction, and draws initial weights that are overwritten.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from explorer.data import Crop, Normalize
from explorer.errors import BadInput
from explorer.graph.randomness import same_random_numbers
from explorer.interrupts import held_interrupts
from explorer.zoo.built import Built
from explorer.zoo.checkpoints import Checkpoint, read_checkpoint
from explorer.zoo.constructor import Constructor
from explorer.zoo.matching import best_match, other_classes, put_weights

CLASSES = 1000  # of ImageNet, which torchvision's builders make by default
LIKELY = 3  # builders to try: another number of classes moves the number of parameters
SECONDS = 10  # to wait for an answer of the server that has the weights
# What torchvision itself passes for its weights (its builders set it inside): the input is rescaled by the
# network, and GoogLeNet's auxiliary heads are left out, since its weights hold none that were trained.
FOR_WEIGHTS: dict[str, dict[str, object]] = {
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": False},
    "inception_v3": {"aux_logits": True, "transform_input": True, "init_weights": False},
}
UNUSED = {"googlenet": ("aux1.", "aux2.")}
AUXILIARY = {"inception_v3": "AuxLogits."}
UNTRAINED: dict[str, dict[str, object]] = {
    "googlenet": {"init_weights": True},
    "inception_v3": {"init_weights": True},
}


@cache
def classifier_names() -> tuple[str, ...]:
    """The classifiers that torchvision registers; () where it is not installed."""
    try:
        with held_interrupts():
            import torchvision
    except ImportError:
        return ()
    return tuple(torchvision.models.list_models(module=torchvision.models))


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of their numbers."""
    from torchvision.models import get_model_weights

    return tuple(get_model_weights("resnet18").DEFAULT.meta["categories"])


def build_classifier(name: str, weights: str | Path | None) -> Built:
    """A classifier of torchvision: `weights` "default" (torchvision's best), None (untrained), or a file.

    Raises BadInput where the weights are neither here nor can be downloaded, and for files that do not fit.
    """
    from torchvision.models import get_model_weights

    best = get_model_weights(name).DEFAULT
    rule = best.transforms()
    normalize = Normalize(tuple(rule.mean), tuple(rule.std))
    side = int(rule.crop_size[0])
    crop = Crop((side, side), int(rule.resize_size[0]), 3, rule.interpolation.value)
    if weights is None:
        options = _image_size(name, side) | UNTRAINED.get(name, {})
        with same_random_numbers(seed=0):
            model = _build(name, options)
        notes: tuple[str, ...] = (f"{name} is untrained: its weights are random.",)
        classes: tuple[str, ...] = ()
    else:
        options = options_for_weights(name, side)
        path = _default_file(name, best) if weights == "default" else weights
        model, options, notes = _filled(name, options, path)
        classes = () if "num_classes" in options else tuple(best.meta["categories"])
    model.eval()
    return Built(
        name,
        model,
        normalize,
        crop,
        classes,
        (1, 3, side, side),
        trained=weights is not None,
        notes=notes,
        constructor=Constructor("torchvision.models", name, (), options),
    )


def options_for_weights(name: str, side: int) -> dict[str, object]:
    """The arguments with which torchvision builds a classifier for its weights, inputs of `side` pixels."""
    return _image_size(name, side) | FOR_WEIGHTS.get(name, {})


def _image_size(name: str, side: int) -> dict[str, object]:
    """A vision transformer has its input size built in; 224 is its default."""
    return {"image_size": side} if name.startswith("vit_") and side != 224 else {}


def _build(name: str, options: Mapping[str, object]) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, **options)


def _filled(
    name: str, options: dict[str, object], path: str | Path
) -> tuple[nn.Module, dict[str, object], tuple[str, ...]]:
    """The network with the file's weights, built for its number of classes and auxiliary heads."""
    with same_random_numbers(), _WithoutInitialWeights():
        model = _build(name, options)
        checkpoint = read_checkpoint(path, model)
        adapted = options | _differing(name, checkpoint, model)
        if adapted != options:
            model = _build(name, adapted)
    notes = put_weights(checkpoint, model, name, UNUSED.get(name, ()))
    if "num_classes" in adapted:
        notes += (f"{name} was built for the {adapted['num_classes']} classes of {checkpoint.path.name}.",)
    return model, adapted, notes


def _differing(name: str, checkpoint: Checkpoint, model: nn.Module) -> dict[str, object]:
    """Options that a fine-tuned network was built with, as its file shows."""
    match = best_match(checkpoint, model)
    options: dict[str, object] = {}
    if classes := other_classes(match):
        options["num_classes"] = classes
    head = AUXILIARY.get(name)
    if head and match.fitting and not any(tensor.startswith(head) for tensor in match.state):
        options["aux_logits"] = False
    return options


def likely_constructors(model: nn.Module, logits: int) -> Iterator[Constructor]:
    """Builders that a module of one of torchvision's classes may come from, likeliest first; none is tried here.

    Only `logits` classes are asked for, and for networks with auxiliary heads what they have.
    """
    from torchvision.models import get_model_builder, get_model_weights

    params = sum(parameter.numel() for parameter in model.parameters())
    family = [
        name for name in classifier_names() if get_model_builder(name).__module__ == type(model).__module__
    ]
    distance = {name: abs(get_model_weights(name).DEFAULT.meta["num_params"] - params) for name in family}
    for name in sorted(family, key=lambda name: distance[name])[:LIKELY]:
        options: dict[str, object] = {} if logits == CLASSES else {"num_classes": logits}
        if name in FOR_WEIGHTS:
            asked = {key: getattr(model, key, False) for key in ("aux_logits", "transform_input")}
            options = {**asked, "init_weights": False, **options}
        yield Constructor("torchvision.models", name, (), options)


# ---- the weights' file -----------------------------------------------------------------------------------


def _default_file(name: str, best: Any) -> Path:
    """torchvision's weights in the local cache, downloaded if need be."""
    file = best.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if path.exists():
        return path
    digest = re.search(r"-([a-f0-9]+)\.", file)
    try:
        # torch.hub's download has no time limit, so that the server is asked first.
        with urlopen(Request(best.url, method="HEAD"), timeout=SECONDS):
            pass
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(best.url, str(path), digest[1] if digest else None)
    except (OSError, URLError, RuntimeError) as error:
        raise BadInput(
            f"The weights of {name} are not on this computer and could not be downloaded ({error}). Without a "
            f"network: load({name!r}, weights=None) takes it untrained, load({name!r}, weights=path) takes a file "
            f"of your own; or fetch {best.url} elsewhere and put it at {path}."
        ) from error
    return path


class _WithoutInitialWeights(TorchFunctionMode):
    """Inside, drawing random numbers into a tensor leaves it as it is: all of them are overwritten."""

    DRAWS = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.erfinv_})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run `func`, unless it is one of DRAWS."""
        return args[0] if func in self.DRAWS else func(*args, **(kwargs or {}))
