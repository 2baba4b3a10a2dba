"""A Markov chain over widths in words: what figures of chains say under the pointer and to screen readers."""

import math

import numpy as np

from explorer.chains import Chain
from explorer.figures.importance import number
from explorer.strings import Strings

MOST_SAID = 16  # steps in sentences


def digits(chain: Chain) -> int:
    """Decimals of an expected width."""
    return 1 if chain.size < 256 else 0


def spread(chain: Chain) -> float:
    """The standard deviation of the width, in channels."""
    return math.sqrt(chain.variance)


def numbers(chain: Chain) -> dict[str, str]:
    """The expected width and its standard deviation, as "expected" and "spread"."""
    places = digits(chain)
    return {"expected": f"{chain.expected:.{places}f}", "spread": f"{spread(chain):.{places}f}"}


def channels(chain: Chain, place: int, strings: Strings) -> str:
    """The channels of a step, from 1; those of place 0 always stay."""
    last = int(chain.widths[place])
    first = int(chain.widths[place - 1]) + 1 if place else 1
    key = "chain_curve_channel" if first == last else "chain_curve_channels"
    return strings(key, first=first, last=last)


def facts(chain: Chain, place: int, strings: Strings) -> list[str]:
    """The probabilities of a step (place 0: of the channels that always stay) and of the width that ends with it."""
    width, probability = int(chain.widths[place]), number(float(chain.probabilities[place]))
    ends = strings("chain_curve_likely", width=width, probability=probability)
    if not place:
        return [strings("chain_curve_stay"), ends]
    return [
        strings("chain_curve_retention_is", value=number(float(chain.retention[place - 1]))),
        strings("chain_curve_transition_is", value=number(float(chain.transitions[place - 1]))),
        ends,
    ]


def sentences(name: str, chain: Chain, width: int | None, strings: Strings) -> list[str]:
    """The chain of the layer `name`, its `width` in the bars and its steps; of many steps some, evenly chosen."""
    likely = int(chain.probabilities.argmax())
    whole = strings(
        "chain_curve_say_expected",
        name=name,
        size=chain.size,
        least=chain.least,
        width=int(chain.widths[likely]),
        probability=number(float(chain.probabilities[likely])),
        **numbers(chain),
    )
    now = [] if width is None else [strings("chain_curve_say_now", width=width)]
    steps = np.unique(np.linspace(1, chain.states, min(chain.states, MOST_SAID)).astype(int)).tolist()
    return [whole, *now, *(_step(chain, step, strings) for step in steps)]


def _step(chain: Chain, step: int, strings: Strings) -> str:
    return strings(
        "chain_curve_say_step",
        channels=channels(chain, step, strings),
        retention=number(float(chain.retention[step - 1])),
        transition=number(float(chain.transitions[step - 1])),
        width=int(chain.widths[step]),
        probability=number(float(chain.probabilities[step])),
    )
