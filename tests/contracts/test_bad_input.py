"""Bad input of the engine's public functions: one family of errors, said in words."""

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data import image_folder
from explorer.export import check_formats
from explorer.export.files import write_text
from explorer.values import Plan, Recovery, full_plan
from tests.networks import IMAGE, Written, conv, graph_of, inputs_like, pooled, random_plan, untrained

GREY = torch.zeros(1, 1, 28, 28)
VGG = "vgg"


def misshapen(kind: str) -> object:
    """A plan for vgg that cannot be carried out."""
    graph = graph_of(VGG)
    keep = {name: mask.copy() for name, mask in random_plan(graph, 0).keep.items()}
    if kind == "of another graph":
        return full_plan(graph_of("resnet20"))
    if kind == "without a group":
        del keep["stage1.0"]
    if kind == "with an unknown group":
        keep["stage9"] = np.ones(3, dtype=bool)
    if kind == "with a classifier":
        keep["classifier"] = np.ones(10, dtype=bool)
    if kind == "of the wrong length":
        keep["stage1.0"] = np.ones(31, dtype=bool)
    if kind == "that cuts the only path":
        keep["stage1.0"][:] = False
    return 0.5 if kind == "that is no plan" else Plan(graph.key, keep)


PLANS = {
    "of another graph": "another graph",
    "without a group": r"missing or unknown: stage1\.0",
    "with an unknown group": "missing or unknown: stage9",
    "with a classifier": "missing or unknown: classifier",
    "of the wrong length": r"\(31,\); the group has 32",
    "that cuts the only path": r"stage1\.0 cannot be removed: no other path .* at least 1 of its 32",
    "that is no plan": "Expected a plan, not float",
}


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("function", ["mask", "shrink", "prove", "cost"])
def test_a_plan_that_does_not_fit_is_refused(function: str, kind: str) -> None:
    model, graph, plan = untrained(VGG), graph_of(VGG), misshapen(kind)
    arguments = {"cost": (graph, plan), "prove": (model, graph, plan, inputs_like(GREY, 1))}
    with pytest.raises(explorer.BadInput, match=PLANS[kind]):
        getattr(explorer, function)(*arguments.get(function, (model, graph, plan)))


@pytest.mark.parametrize("function", ["mask", "shrink", "prove"])
@pytest.mark.parametrize("model", [None, "vgg", nn.Linear(3, 4), untrained("resnet20")])
def test_a_model_that_was_not_traced_is_refused(function: str, model: object) -> None:
    graph = graph_of(VGG)
    more = (inputs_like(GREY, 1),) if function == "prove" else ()
    with pytest.raises(explorer.BadInput, match=r"torch.nn.Module|not the one that was traced"):
        getattr(explorer, function)(model, graph, full_plan(graph), *more)


def test_a_network_that_was_shrunk_already_is_refused() -> None:
    graph, plan = graph_of(VGG), random_plan(graph_of(VGG), 0, share=0.5)
    with pytest.raises(explorer.BadInput, match="not the one that was traced"):
        explorer.shrink(explorer.shrink(untrained(VGG), graph, plan), graph, plan)


@pytest.mark.parametrize("function", ["mask", "shrink", "prove", "cost", "score", "allocate", "plan_widths"])
def test_a_graph_that_is_none_is_refused(function: str) -> None:
    model, plan = untrained(VGG), full_plan(graph_of(VGG))
    scores = explorer.score(model, graph_of(VGG), "l1")
    arguments = {
        "mask": (model, None, plan), "shrink": (model, None, plan), "prove": (model, None, plan, GREY),
        "cost": (None,), "score": (model, None, "l1"), "allocate": (None, scores), "plan_widths": (None, scores, {}),
    }  # fmt: skip
    with pytest.raises(explorer.BadInput, match=r"explorer\.trace"):
        getattr(explorer, function)(*arguments[function])


@pytest.mark.parametrize(
    "images",
    [
        None,
        torch.zeros(0, 1, 28, 28),
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 3, 28, 28),
    ],
)
def test_inputs_that_prove_cannot_use_are_refused(images: object) -> None:
    graph = graph_of(VGG)
    with pytest.raises(explorer.BadInput, match="inputs"):
        explorer.prove(untrained(VGG), graph, full_plan(graph), images)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "example"), [(None, GREY), (conv(3, 8), None), (conv(3, 8), GREY)])
def test_live_weights_refuses_what_it_cannot_run(model: object, example: object) -> None:
    with pytest.raises(explorer.BadInput, match="input"):
        explorer.live_weights(model, example)  # type: ignore[arg-type]


def test_widths_are_checked() -> None:
    model = Written(lambda m, x: m.f(pooled(m.c(x))), c=conv(3, 8), f=nn.Linear(8, 4))
    graph = explorer.trace(model, IMAGE)
    scores = explorer.score(model, graph, "l1")
    for widths, words in [
        ({"c": 9}, "1 to 8"),
        ({"c": 0}, "c cannot be removed: no other path"),
        ({"f": 2}, "outputs"),
        ({"d": 2}, "Known: c, f"),
        ({3: 2}, "Known: c, f"),
        ([2, 3], "must be a mapping"),
        (None, "must be a mapping"),
    ]:
        with pytest.raises(explorer.BadInput, match=words):
            explorer.plan_widths(graph, scores, widths)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "BN", "0", "-1", "1.5", "²", "bn+1", 1, None, ["bn"]])
def test_a_recovery_that_is_not_known_is_refused(text: object) -> None:
    with pytest.raises(explorer.BadInput, match="Use none, bn, a number of epochs"):
        Recovery.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", [["c"], {}, None, 0])
def test_a_group_that_is_no_name_is_refused(group: object) -> None:
    with pytest.raises(explorer.BadInput, match="no channel group"):
        graph_of(VGG).group(group)  # type: ignore[arg-type]


def test_a_split_that_is_no_name_is_refused() -> None:
    pair = (GREY, torch.zeros(1, dtype=torch.int64))
    with pytest.raises(explorer.UnknownName, match="Known: train, explore, final"):
        explorer.evaluate(untrained(VGG), pair, split=["explore"])  # type: ignore[arg-type]


def test_every_error_of_ours_is_of_one_family() -> None:
    for error in (
        explorer.BadInput,
        explorer.CannotTrace,
        explorer.Interrupted,
        explorer.NotReachable,
        explorer.UnknownName,
    ):
        assert issubclass(error, explorer.ExplorerError)


def test_an_unknown_name_is_listed_without_quotes_around_the_message() -> None:
    error = explorer.UnknownName("fruit", "aple", ["apple", "pear"])
    assert str(error) == "There is no fruit 'aple'. Known: apple, pear. Did you mean 'apple'?"


@pytest.mark.parametrize("path", ["a/b\0.pt", "a" * 300 + ".pt", "~nobody-of-this-name/a.pt"])
def test_what_cannot_be_a_path_is_refused_in_words(path: str) -> None:
    for use in (
        lambda: explorer.load(path),
        lambda: explorer.load(untrained(VGG), example=GREY, weights=path),
        lambda: explorer.load(untrained(VGG), data=path),
        lambda: image_folder(path),
        lambda: write_text(path, "text"),
    ):
        with pytest.raises(explorer.BadInput, match=r"cannot be .* Give another path"):
            use()


@pytest.mark.parametrize("formats", [5, None, (), "network", [["onnx"]]])
def test_formats_that_are_none_are_refused(formats: object) -> None:
    with pytest.raises(explorer.ExplorerError, match="format"):
        check_formats(formats)  # type: ignore[arg-type]
