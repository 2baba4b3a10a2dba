"""One transition probability as a number: what the points of the chain are for the pointer, for the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import BoundedFloatText, BoundedIntText, Button, HBox

from explorer.panels.kit.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.chains import Chain
    from explorer.panels.kit.binding import Binding
    from explorer.strings import Strings

DIGITS = 3


class TransitionFields(HBox):
    """Number of a step and its p. `moved(place, p)` (places from 0) and `reset()` are a person's doing."""

    def __init__(
        self,
        strings: Strings,
        binding: Binding,
        moved: Callable[[int, float], None],
        reset: Callable[[], None],
    ) -> None:
        self.step = BoundedIntText(
            value=1, min=1, max=1, description=strings("chain_p"), tooltip=strings("chain_p_help")
        )
        self.p = BoundedFloatText(
            min=0,
            max=1,
            step=0.05,
            description=strings("chain_p_value"),
            tooltip=strings("chain_p_value_help"),
        ).add_class("pe-chain-p")
        self.reset = Button(description=strings("chain_reset"), tooltip=strings("chain_reset_help"))
        super().__init__([self.step, self.p, self.reset])
        self.add_class("pe-chain-fields")
        binding.gesture(self.step, "value", lambda _step: binding.refresh())
        binding.gesture(self.p, "value", lambda p: moved(self.step.value - 1, p))
        self.reset.on_click(lambda _button: binding.act(reset))

    def render(self, chain: Chain | None, changed: bool) -> None:
        """Show a step of the chain, which was `changed` by hand or not; None: there is nothing to type."""
        shown(self, chain is not None)
        if chain is not None:
            self.step.max = chain.states
            self.p.value = round(float(chain.transitions[self.step.value - 1]), DIGITS)
            self.reset.disabled = not changed
