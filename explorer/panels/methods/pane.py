"""One pane for any method that trains: whose run, its views, a replay, its settings, and uses of what it found."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from bokeh.models import CustomJS
from ipywidgets import HTML, Button, HBox, IntSlider, ToggleButtons, VBox, Widget

from explorer import literature
from explorer.figures.chart_drawing import Drawing
from explorer.figures.palette import theme_script
from explorer.panels.chain.replay import Player
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import IN_DASHBOARD, keys_script
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import percent, shown, tag
from explorer.panels.methods.form import MethodForm, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.records import Progress
    from explorer.runs import Recorded, Run
    from explorer.session import Session
    from explorer.strings import Strings

WHOSE = ("session", "recorded")
HEIGHT = 196.0
_NAMED = f"""{IN_DASHBOARD}
export default ({{figure, label}}) => {{
  inDashboard(figure, (root) => {{
    root.querySelector(".pe-method .noUi-handle")?.setAttribute("aria-label", label)
  }})
}}
"""


class MethodPane(VBox):
    """Shows the run of this session, else the recorded one, of `method`. `lead` stands first in the first line.

    `open_trained()` is called to explore the network that it trained in this network's place.
    """

    def __init__(
        self,
        session: Session,
        strings: Strings,
        scale: float,
        method: str,
        lead: Widget,
        open_trained: Callable[[], None],
    ) -> None:
        from explorer.methods import METHODS  # loads torch, which a session has loaded

        self._session, self._strings, self._name = session, strings, method
        self._method = METHODS[method]
        self._frame: int | None = None  # that a person looks at; None: the newest
        self._begun = 0  # the frame that is played from
        self._lock = threading.RLock()
        self.binding = binding = Binding(session)
        self.player = Player(self._advance, self._played)
        say = strings
        self.whose = ToggleButtons(
            options=[(say(f"chain_whose_{name}"), name) for name in WHOSE],
            tooltips=[say(f"chain_whose_{name}_help") for name in WHOSE],
        ).add_class("pe-chain-whose")
        self.title = HTML().add_class("pe-chain-title")
        self.form = MethodForm(session, say, binding.act, (method,))
        self._published = literature.tables(method)
        texts = [view.text for view in self._method.views] + ["view_papers"] * bool(self._published)
        self.view = ToggleButtons(
            options=[(say(text), place) for place, text in enumerate(texts)],
            tooltips=[say(f"{text}_help") for text in texts],
        ).add_class("pe-chain-views")
        self.papers = HTML(literature.as_html(self._published)).add_class("pe-chain-papers")
        self._drawing = Drawing(f"method-{method}", HEIGHT, scale)
        root = self._drawing.root
        named = CustomJS(args={"figure": root, "label": say("method_slider")}, code=_NAMED)
        self.document = BokehDocument(root, (theme_script(root), keys_script(say, [root]), named))
        self.figure = VBox([self.document]).add_class("pe-chain-figure")
        self.empty = HTML().add_class("pe-chain-empty")
        self.play = Button().add_class("pe-chain-play")
        self.slider = IntSlider(min=0, max=1, readout=False, tooltip=say("method_slider_help"))
        self.slider.add_class("pe-chain-slider")
        self.step = HTML().add_class("pe-chain-step")
        self.uses = Button(description=say("chain_use"), tooltip=say("chain_use_help"))
        self.opens = Button(description=say("method_open"), tooltip=say("method_open_help"))
        self.shows = Button(description=say("dynamic_show"), tooltip=say("dynamic_show_help"))
        self.summary = HTML().add_class("pe-hidden")
        self.replay = HBox([self.play, self.slider, self.step]).add_class("pe-chain-row")
        self.foot = (
            HBox([self.uses, self.opens, self.shows]).add_class("pe-chain-row").add_class("pe-chain-foot")
        )
        binding.act(session.read_recorded, method)
        super().__init__(
            [
                HBox([lead, self.whose, self.title, self.form]).add_class("pe-chain-top"),
                *(self.view, self.figure, self.papers, self.empty, self.replay, self.foot, self.summary),
            ]
        )
        self.add_class("pe-chain").add_class("pe-method")
        binding.render(self._render, "runs")
        binding.gesture(self.view, "value", lambda _view: binding.refresh())
        binding.gesture(self.whose, "value", lambda _whose: self._to(None))
        binding.gesture(self.slider, "value", self._to)
        for button, act in (
            (self.play, self._play_or_pause),
            (self.uses, self._use),
            (self.opens, open_trained),
            (self.shows, lambda: session.show_instances("own")),
        ):
            button.on_click(lambda _button, act=act: binding.act(act))

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """The figure's."""
        return (self.document,)

    # ---- what is shown -----------------------------------------------------------------------------------

    @property
    def _progress(self) -> Progress | None:
        return self._session.runs.progress.get(self._name)

    @property
    def _recorded(self) -> Recorded[Any, Any] | None:
        return self._session.runs.recorded.get(self._name)

    def _run(self) -> tuple[Run | None, Any]:
        """The run that is shown, and what was measured after it."""
        progress, recorded = self._progress, self._recorded
        own = progress.run if progress is not None else None
        if own is not None and not (recorded is not None and self.whose.value == "recorded"):
            return own, None
        return (None, None) if recorded is None else (recorded.run, recorded.evidence)

    def _render(self) -> None:
        from explorer.methods.base import Seen

        say, progress, (run, evidence) = self._strings, self._progress, self._run()
        own = progress is not None and progress.run is not None
        shown(self.whose, own and self._recorded is not None)
        self.form.render(progress)
        self.title.value = self._title(run)
        chart, frame, place = None, 0, int(self.view.value)
        papers = place == len(self._method.views)
        view = None if papers else self._method.views[place]
        if run is not None and view is not None:
            last = run.frames - 1
            frame = last if self._frame is None else min(self._frame, last)
            chart = view.draw(Seen(run, frame, evidence, say))
            if chart is not None:
                with self.document.batch():
                    self._drawing.show(chart)
        shown(self.figure, chart is not None)
        shown(self.papers, papers)
        shown(self.empty, chart is None and not papers)
        reason = self.form.refusal
        nothing = "method_nothing_yet" if run is None else "method_not_measured"
        self.empty.value = tag("", reason if run is None and reason else say(nothing))
        self._render_replay(run, frame, view is not None and view.replayed and chart is not None)
        found = run is not None and run.ended
        shown(self.foot, found and not papers)
        widths = self._method.yields == "widths"
        shown(self.uses, found and widths and bool(run and run.widths))
        shown(self.opens, found and widths)
        shown(self.shows, found and not widths and own)
        if not self.player.playing:  # screen readers are not read every step
            sentences = list(chart.sentences) if chart is not None else [say(nothing)]
            sentences = literature.sentences(self._published) if papers else sentences
            self.summary.value = section(self._method.label, sentences)

    def _title(self, run: Run | None) -> str:
        """What is shown and what it cost, in one line; what goes wrong in its place."""
        say, progress = self._strings, self._progress
        if progress is not None and progress.state == "failed":
            return f'<div class="pe-line pe-chain-failed">{tag("pe-cut-off", progress.error, progress.error)}</div>'
        if run is None:
            name = tag("pe-strong", say("method_none"), self._method.about)
            return f'<div class="pe-line">{name}</div>'
        state = "recorded" if progress is None or run is not progress.run else progress.state
        words = {"epochs": number(run.training.epochs), "seconds": f"{run.training.seconds:,.0f}"}
        about = say("method_cost_help", **words)
        cost = tag("pe-soft pe-cut-off", say("chain_cost_short", epochs=words["epochs"], time=""), about)
        return (
            f'<div class="pe-line">{tag("pe-strong", say(f"method_{state}"), self._method.about)}{cost}</div>'
        )

    def _render_replay(self, run: Run | None, frame: int, on: bool) -> None:
        say = self._strings
        shown(self.replay, on and run is not None and run.frames > 1)
        if run is None:
            return
        playing = self.player.playing
        self.play.description = "\u275a\u275a" if playing else "\u25b6"
        self.play.tooltip = say("chain_pause" if playing else "method_play_help")
        self.slider.max = max(run.frames - 1, 1)
        self.slider.value = frame
        share = run.series.get("shares")
        words = say("method_step", step=f"{run.steps[frame]:,}", of=f"{run.of:,}")
        if share is not None and share[frame] == share[frame]:
            words = say("method_step_share", words=words, percent=percent(float(share[frame])))
        self.step.value = tag("", words)

    # ---- what a person does ------------------------------------------------------------------------------

    def _to(self, frame: int | None) -> None:
        run, _evidence = self._run()
        with self._lock:
            self.player.stop()
            self._frame = None if frame is None or (run is not None and frame >= run.frames - 1) else frame
        self.binding.refresh()

    def _play_or_pause(self) -> None:
        run, _evidence = self._run()
        with self._lock:
            if self.player.playing or run is None:
                self.player.stop()
            else:
                self._begun = 0 if self._frame is None else self._frame
                self.player.start()
        self.binding.refresh()

    def _advance(self, share: float) -> bool:
        """The player's: show what is due; False when there is nothing more to be shown."""
        run, _evidence = self._run()
        with self._lock:
            if not self.player.playing or not self.binding.active or self.comm is None or run is None:
                return False
            last = run.frames - 1
            frame = min(last, self._begun + int(share * last))
            self._frame = None if frame == last else frame
        self.binding.refresh()
        return frame < last

    def _played(self) -> None:
        if self.binding.active:
            self.binding.refresh()

    def _use(self) -> None:
        run, _evidence = self._run()
        if run is not None:
            self._session.use_widths(dict(run.widths))

    def close(self) -> None:
        """End the player."""
        if "player" in vars(self):  # ipywidgets closes also what failed to be built
            self.player.stop()
        super().close()
