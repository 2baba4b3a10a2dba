"""`load`: a network by name or as a module, with weights and images, ready to be explored."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from explorer.data import (
    Crop,
    Data,
    DataSource,
    Images,
    Normalize,
    as_data,
    as_images,
    fashion_mnist,
    identity,
)
from explorer.data.bundled import CLASSES, SIDE
from explorer.data.fitting import chosen_output, require_finite, taking
from explorer.data.folders import require_all_classes
from explorer.data.named import NAMED, is_named, renumbered
from explorer.data.picking import Pick
from explorer.data.tasks import CLASSIFICATION, Own, Task, as_task, guess
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.graph.inputs import Batch, Example, as_inputs, call_model, inputs_of, mapped, tensors_of
from explorer.graph.randomness import same_random_numbers
from explorer.zoo.archive import load_archive
from explorer.zoo.built import Built, sample_input
from explorer.zoo.checkpoints import read_checkpoint
from explorer.zoo.constructor import (
    Constructor,
    as_constructor,
    first_same,
    is_factory,
    made_by,
    own_class,
    require_same,
)
from explorer.zoo.files import kind_of, refused, require_file, require_no_code
from explorer.zoo.matching import put_weights
from explorer.zoo.modules import copied_module
from explorer.zoo.network import Network
from explorer.zoo.networks import NETWORKS
from explorer.zoo.torchvision_models import (
    build_classifier,
    classifier_names,
    imagenet_classes,
    likely_constructors,
)

ENDINGS = (
    ".pt2",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".safetensors",
    ".tar",
)  # a name with one of them is a path

FORWARD = "Pass inputs of the shape and dtype that its forward expects."
FITTED = "Pass example= of the shape that it takes, such as torch.zeros(1, 3, 32, 32): pictures are made to fit it."
TORCHVISION = "torchvision:"  # before the name of one of its classifiers


def load(
    source: str | Path | nn.Module,
    data: DataSource | None = None,
    example: Example | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
    weights: str | Path | None = "default",
    constructor: object = None,
    task: str | Task | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    score: Callable[[Any, Any], Tensor] | None = None,
    pick: Pick | None = None,
) -> Network:
    """A network to explore: a bundled name, one of torchvision's classifiers ("resnet18" or "torchvision:resnet18"),
    an nn.Module, the path of a torch.export archive (.pt2), or "package.module:name", a class or function that makes
    one without arguments, imported from the working directory too.

    `data` are images to judge it on: a Data, the name of a data set ("cifar10", "cifar100", "mnist", "fashion_mnist",
    "svhn", "stl10", "imagenette", "food101": downloaded once, Imagenette's labels are ImageNet's for a network of 1,000
    logits), a folder (one of the same name as a data set has a separator in its path, "./mnist", or is a Path), or
    anything else that becomes explore images. `pick` says what of an item
    is image and what target, such as (0, 1), ("image", "mask"), ((0, 1), 2) for two inputs, or a function.
    `normalize` maps those images in [0, 1] to inputs; without it float images are taken as inputs already, and a
    network by name normalises uint8 images as its own. `example` is an input, float (1, C, H, W), or a tuple, list or
    dict of several; without it the first explore image is, and where a network by name has no images, a random input
    of its size.

    `weights`: "default" (those that ship with the explorer; torchvision's best, from its cache or downloaded;
    those that the module has), None (untrained, for a network by name), or a file of tensors: safetensors or a
    state dict. `constructor` says how exported Python files make the dense network: "package.module:Name", a
    class or function of a Python file, or functools.partial of one.

    `task` says how outputs are judged: "classification" (of one logit, by its sign), "multi-label", "regression",
    "segmentation" (pixel accuracy) or "segmentation (mean IoU)"; without it that is guessed from outputs and targets,
    and said in `notes`. With `loss`, f(outputs, targets) -> a scalar tensor, and `score`, g(outputs, targets) -> float
    (N,), higher = better, it is the user's own; outputs are what the network answers a batch.

    A module is copied and not changed. No random number is drawn, and no file runs code: your own does only where
    you name it, as "package.module:name" or as a constructor.

    Raises UnknownName for a name that is no network, and BadInput for files that do not fit or cannot be had,
    for weights that are not finite, for data or an example that the network does not take, for labels that it
    has no logit for, for targets that are of no task, for a constructor that makes another network, or when a module
    comes without data and example.
    """
    built = _built(source, weights)
    require_finite(built.name, built.model)
    told = as_task(task, loss, score)
    given = None if example is None else _checked_example(example)
    values = _as_data(data, normalize, built, given, pick)
    sample, answer = _example(built, values, given, isinstance(data, str | Path))
    notes = built.notes
    if values is not None and (data is not None or told is not None):  # else bundled images, read when needed
        values, said = _judged(built.name, values, answer, told, data)
        notes += said
    made, why_not = _constructor(built, constructor, sample, answer)
    return Network(
        built.name,
        built.model,
        sample,
        values,
        normalize or built.normalize or (values.explore.normalize if values else identity),
        built.source,
        constructor=made,
        no_constructor=why_not,
        trained=built.trained,
        classes=built.classes or (values.classes if values else ()),
        crop=built.crop,
        notes=notes,
    )


# ---- sources ---------------------------------------------------------------------------------------------


def _built(source: object, weights: str | Path | None) -> Built:
    """The network of a source, with its weights."""
    if not (weights is None or isinstance(weights, str | Path)):
        raise BadInput(
            f'weights is a {type(weights).__name__}; expected "default", None (untrained) or the path of a file. '
            "A state dict goes into the module itself: model.load_state_dict(weights)."
        )
    if isinstance(source, nn.Module):
        return _with_weights(copied_module(source), weights)
    if not isinstance(source, str | Path):
        raise _refused(source)
    if isinstance(source, str) and source in NETWORKS:
        return _bundled(source, weights)
    if isinstance(source, Path) or not is_name(source):
        if isinstance(source, str) and is_factory(source):
            return _from_factory(source, weights)
        return _from_file(require_file(source), weights)
    source = source.removeprefix(TORCHVISION)
    if source in classifier_names():
        return build_classifier(source, weights)
    near = get_close_matches(source, classifier_names(), n=4, cutoff=0.5)
    raise UnknownName(
        "network",
        source,
        NETWORKS,
        f" Of torchvision's {len(classifier_names())} classifiers, which load by name too, these are near: "
        f"{', '.join(near)}."
        if near
        else " The classifiers of torchvision load by name too, such as 'resnet18'.",
    )


def is_name(source: str) -> bool:
    """Whether `load` takes the text for a name, of a bundled network or one of torchvision's, and for no file or
    factory: what a name means can be had without its weights.
    """
    is_path = source.lower().endswith(ENDINGS) or "/" in source or "\\" in source
    return source.startswith(TORCHVISION) or not (is_path or is_factory(source))


def _refused(source: object) -> BadInput:
    instance = "an instance, not the class: " if isinstance(source, type) else ""
    return BadInput(
        f"load() cannot take {source!r} ({type(source).__name__}). Pass {instance}an nn.Module, or the name "
        f"of a bundled network ({', '.join(NETWORKS)}), of one of torchvision's classifiers, of a .pt2 archive, or "
        'of a function that makes it, "package.module:name".'
    )


def _from_factory(source: str, weights: str | Path | None) -> Built:
    """The network that the user's own code makes, called by the factory's name."""
    with same_random_numbers(seed=0):
        model, constructor = made_by(source)
    built = copied_module(model)
    # Without a wrapper that was taken off, the factory makes just this network.
    built = replace(built, name=constructor.name, constructor=None if built.notes else constructor)
    return _with_weights(built, weights)


def _from_file(path: Path, weights: str | Path | None) -> Built:
    kind, words = kind_of(path)
    if kind == "archive":
        return _with_weights(load_archive(path), weights)
    if kind == "other":
        raise refused(path, f"is {words}")
    if kind == "torch zip":
        require_no_code(path)  # as a whole pickled network does, which is not weights only
    raise BadInput(
        f"{path} holds weights, not a network. Pass the network that they are of and the file: "
        f"load(network, weights={str(path)!r})."
    )


def _with_weights(built: Built, weights: str | Path | None) -> Built:
    """A network that has weights, with those of a file in their place if one is given."""
    if weights == "default":
        return built
    if weights is None:
        raise BadInput(
            f"weights=None asks for an untrained network, but {built.name} comes with its weights as it "
            "is. Leave weights out; only a network by name can be made anew."
        )
    notes = put_weights(read_checkpoint(weights, built.model), built.model, built.name)
    return replace(built, notes=built.notes + notes)


def _bundled(name: str, weights: str | Path | None) -> Built:
    with same_random_numbers(seed=0):  # initial weights are drawn, and usually overwritten
        model = NETWORKS[name]()
    try:
        with (
            as_file(files("explorer.zoo") / "weights" / f"{name}.safetensors") as path,
            safe_open(path, framework="pt") as content,
        ):
            metadata = content.metadata()
            names = content.keys()
            if weights == "default":
                model.load_state_dict({key: content.get_tensor(key) for key in names})
    except (OSError, SafetensorError, RuntimeError) as error:  # missing, damaged, of another network
        raise ExplorerError(
            f"The bundled weights explorer/zoo/weights/{name}.safetensors cannot be read ({error}). Install "
            f"the package again, or train them: python scripts/train_bundled.py {name}."
        ) from error
    model.eval()
    built = Built(
        name,
        model,
        Normalize(float(metadata["mean"]), float(metadata["std"])),
        Crop((SIDE, SIDE), None, 1),
        CLASSES,
        no_constructor=f"{name} ships with the explorer: exported Python files carry its source.",
        source=inspect.getsourcefile(type(model)),
    )
    if weights is None:
        return replace(built, trained=False, notes=(f"{name} is untrained: its weights are random.",))
    return _with_weights(built, weights)


def _constructor(built: Built, given: object, sample: Batch, answer: Any) -> tuple[Constructor | None, str]:
    """How exported files make the network, or None and why not."""
    if given is not None:
        made = as_constructor(given)
        require_same(made, built.model, sample, answer)
        return made, ""
    if built.constructor is not None or built.no_constructor:
        return built.constructor, built.no_constructor
    if type(built.model).__module__.startswith("torchvision.models.") and isinstance(answer, Tensor):
        likely = likely_constructors(built.model, answer.shape[-1])
        if (found := first_same(likely, built.model, sample, answer)) is not None:
            return found, ""
    return own_class(built.model, sample, answer)


# ---- images ----------------------------------------------------------------------------------------------


def _as_data(
    data: DataSource | None,
    normalize: Callable[[Tensor], Tensor] | None,
    built: Built,
    example: Batch | None,
    pick: Pick | None,
) -> Data | None:
    if data is None:
        bundled = built.source is not None and built.normalize is not None
        return fashion_mnist(normalize or built.normalize or identity) if bundled else None
    own_size = built.crop is not None and (example is None or example.shape[2:] == built.crop.size)
    crop = built.crop if own_size or example is None else _crop(example)
    values = as_data(data, normalize, size=crop, pick=pick)
    if isinstance(data, str | Path) and set(values.classes) < set(built.classes):
        values = renumbered(values, built.classes)
    if not values.classes:  # without labels, answers have names all the same
        values = replace(values, classes=built.classes)
    own = built.normalize
    if own is None or normalize is not None or isinstance(data, Data | Images):
        return values
    return Data(
        values.name,
        values.classes,
        values.train and _normalised(values.train, own),
        _normalised(values.explore, own),
        values.final and _normalised(values.final, own),
    )


def _normalised(images: Images, own: Callable[[Tensor], Tensor]) -> Images:
    """Bytes as the network wants them; float images are inputs already."""
    return replace(images, normalize=own) if images.pixels.dtype == torch.uint8 else images


def _crop(example: Batch) -> Crop | None:
    """What makes pictures of the example's size."""
    if len(example.shape) != 4:
        return None
    channels, height, width = example.shape[1:]
    return Crop((height, width), None, 1 if channels == 1 else 3 if channels == 3 else None)


def _judged(
    name: str, data: Data, answer: Any, told: Task | None, source: object
) -> tuple[Data, tuple[str, ...]]:
    """The data with the task that the network's outputs and the targets are judged by, and what to say of it.

    Both classes of a network of one logit get names. Raises BadInput for targets that do not fit the outputs.
    """
    own = told or data.explore.task
    if isinstance(own, Own) and not data.explore.labelled:
        raise BadInput(
            "loss= and score= are functions of outputs and targets, and these images have none: leave them out, "
            "or pass data=(images, targets)."
        )
    task = own or guess(name, answer, data.explore.labels)
    outputs = task.outputs(name, answer, 1)
    if is_named(source) and task.classifies:
        data = _of_named_set(name, data, outputs.shape[1], NAMED[str(source)].of_imagenet)
    train, explore, final = (
        None if images is None else images.judged_as(task, outputs)
        for images in (data.train, data.explore, data.final)
    )
    assert explore is not None
    classes, notes = data.classes, []
    if task.classifies:
        if isinstance(source, str | Path):
            require_all_classes(data, outputs.shape[1], name)
        if outputs.shape[1] == 2 and len(classes) < 2:
            classes = ("0", "1")
        if not classes and explore.labels is not None:  # one-hot
            classes = tuple(map(str, range(outputs.shape[1])))
    measure = task.measure if explore.labelled else task.agreement
    if own is None and task != CLASSIFICATION:
        notes.append(f"Judged by {measure}, as for {task.name}: task=, or loss= and score=, say otherwise.")
    of_several = chosen_output(answer)[0]
    if of_several and of_several != "logits" and not isinstance(task, Own):
        notes.append(f"Of several outputs, {of_several!r} is judged.")
    return replace(data, train=train, explore=explore, final=final, classes=classes), tuple(notes)


def _of_named_set(name: str, data: Data, logits: int, of_imagenet: bool) -> Data:
    """The data of a named set, whose classes must be those of the logits."""
    count = len(data.classes)
    if count == logits:
        return data
    if of_imagenet and logits == len(
        imagenet := imagenet_classes()
    ):  # a network that does not name its classes
        return renumbered(data, imagenet)
    raise BadInput(
        f"{data.name} has {count} classes, and {name} has {logits} logits, which are of others. Load a network of "
        f"{count} classes: one by name with weights= of a file that was trained on them, or a module of your own."
    )


def _example(built: Built, data: Data | None, example: Batch | None, pictures: bool) -> tuple[Batch, Any]:
    """The given example, or the first explore image, and the answer to it; both are tried if shapes differ."""
    name, model = built.name, built.model
    first = None if data is None else inputs_of(model, as_images(data, "explore").inputs(slice(0, 1)))
    if example is not None:
        example = inputs_of(model, example)
        answer = _answer(model, name, example, "an example")
        if first is not None and _shapes(first) != _shapes(example):
            _answer(model, name, first, "images")
        return example, answer
    if first is not None:
        return first, _answer(model, name, first, "images", FITTED if pictures else FORWARD)
    if built.shape is not None:
        sample = sample_input(built.shape)
        return sample, _answer(model, name, sample, "an input")
    raise BadInput(
        f"load() needs an input of {name}: pass example=, a batch of one such as "
        "torch.randn(1, 3, 32, 32), or data= with images."
    )


def _checked_example(example: object) -> Batch:
    """A private copy on the CPU."""
    inputs = as_inputs(example)
    for each in tensors_of(inputs):
        if not each.is_floating_point():
            raise BadInput(
                f"The example is {each.dtype}; expected a float tensor, a batch of one normalised input."
            )
        if len(each) != 1:
            raise BadInput(
                f"The example has shape {tuple(each.shape)}; expected a batch of one, such as (1, 3, 32, 32). "
                "Take example[:1], or example.unsqueeze(0) of a single input."
            )
        if not torch.isfinite(each.float()).all():  # 8-bit floats have no test of their own
            raise BadInput("The example holds NaN or infinite numbers.")
    return mapped(inputs, lambda each: each.detach().cpu().clone())


def _way_out(model: nn.Module, inputs: Batch) -> str:
    """What makes pictures of other channels, or with channels last, fit the first convolution; "" if they may."""
    wanted = next((each.in_channels for each in model.modules() if isinstance(each, nn.Conv2d)), 0)
    if len(inputs.shape) != 4 or inputs.shape[1] == wanted:
        return ""
    if inputs.shape[3] == wanted:
        return "Channels come first: pass images.permute(0, 3, 1, 2)."
    if (inputs.shape[1], wanted) == (1, 3):
        return "Grey pictures become coloured ones by images.repeat(1, 3, 1, 1)."
    return "Coloured pictures become grey by images.mean(1, keepdim=True)." if wanted == 1 else ""


def _shapes(inputs: Batch) -> list[torch.Size]:
    return [each.shape for each in tensors_of(inputs)]


def _answer(model: nn.Module, name: str, inputs: Batch, what: str, hint: str = FORWARD) -> Any:
    """What the network answers; raises BadInput where it does not take the inputs."""
    if hint == FORWARD:
        hint = _way_out(model, inputs) or hint
    # Not inference_mode: a module that keeps a tensor of its forward could then not be trained.
    with taking(name, inputs, hint, what), torch.no_grad(), same_random_numbers():
        return call_model(model, inputs)
