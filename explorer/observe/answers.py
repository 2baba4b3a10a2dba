"""What a network answers to single images: the most probable classes."""

from torch import inference_mode, nn

from explorer.data.fitting import require_logits, taking
from explorer.graph.inputs import Batch, call_model

Answer = tuple[tuple[int, float], ...]
"""Pairs (class, probability in [0, 1]), the most probable first."""


def top_classes(model: nn.Module, inputs: Batch, count: int = 3) -> tuple[Answer, ...]:
    """The `count` most probable classes (softmax of the logits) of each of `inputs` (N, C, H, W).

    The model is in eval mode. Raises BadInput where it cannot take the inputs or gives no logits.
    """
    name = type(model).__name__
    with inference_mode():
        with taking(name, inputs, "Check that the images have the size that the network was made for."):
            answer = call_model(model, inputs)
        shares = require_logits(name, answer, len(inputs)).double().softmax(1)
        values, classes = shares.topk(min(count, shares.shape[1]))
    pairs = zip(classes.tolist(), values.tolist(), strict=True)
    return tuple(tuple(zip(*pair, strict=True)) for pair in pairs)
