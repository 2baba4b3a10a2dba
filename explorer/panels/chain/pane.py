"""The chain tab: a search over widths (DMCP), recorded or of this session, to be replayed, touched and begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, HBox, IntSlider, ToggleButton, ToggleButtons, VBox, Widget

from explorer.figures.names import shortened
from explorer.figures.rows import main_group
from explorer.panels.chain.fields import TransitionFields
from explorer.panels.chain.order_work import OrderWork
from explorer.panels.chain.replay import Kind, Player, Replay, untrained
from explorer.panels.chain.title import share_words, title_html
from explorer.panels.chain.views import REPLAYED, VIEWS, Seen, Sights
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import percent, shown, tag
from explorer.panels.methods.form import MethodForm

if TYPE_CHECKING:
    from explorer.chains import ChainRun
    from explorer.panels.kit.bokeh_document import BokehDocument
    from explorer.records import Progress
    from explorer.session import Session
    from explorer.strings import Strings

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
FIGURE_SPACE = "\u2007"  # as wide as a digit
WHOSE = ("session", "recorded")  # run is shown, where there are both
METHOD = "dmcp"
NAME_ROOM = 150.0  # pixels of the layer's name


class ChainPane(VBox):
    """Shows the search of this session, else the recorded one, else the chains that a search would begin with.

    `open_supernet()` is called to explore the search's supernet in this network's place; `lead` stands first in the
    first line.
    """

    def __init__(
        self,
        session: Session,
        strings: Strings,
        scale: float = 1.0,
        open_supernet: Callable[[], None] | None = None,
        lead: Widget | None = None,
    ) -> None:
        self._session, self._strings, self._open, self._lead = session, strings, open_supernet, lead
        self._replay: Replay | None = None
        self._lock = (
            threading.RLock()
        )  # of the replay, for which player and person compete; nothing is asked in it
        self._has_supernet: bool | None = None  # whether there is a recorded supernet; None: not looked yet
        self._names = {group.id: group.layers[0] for group in session.graph.prunable}
        self._page = self._started = 0  # of the comparisons; the frame that is played from
        self.binding = binding = Binding(session)
        self._sights = Sights(
            strings, scale, session.graph, self._move_point, lambda group: binding.act(session.select, group)
        )
        self.player = Player(self._advance, self._told)
        self.work = OrderWork(session, self._told)
        binding.act(session.read_recorded, METHOD)
        super().__init__(self._make_widgets())
        binding.render(self._render, "runs", "layer", "plan", "current")
        binding.gesture(self.view, "value", self._choose)
        binding.gesture(self.whose, "value", self._choose)
        binding.gesture(self.slider, "value", self._go)
        binding.gesture(self.bars, "value", lambda _on: self._to_bars())
        for button, act in (
            (self.play, self._play_or_pause),
            (self.use, self._use_widths),
            (self.supernet, self._open_supernet),
            (self.measure, self._measure),
            (self.turn, self._turn),
        ):
            button.on_click(lambda _button, act=act: binding.act(act))
        self.add_class("pe-chain")

    def _make_widgets(self) -> tuple[Widget, ...]:
        say, session = self._strings, self._session
        self.title = HTML().add_class("pe-chain-title")
        self.search = MethodForm(session, say, self.binding.act, (METHOD,))
        self.whose = ToggleButtons(
            options=[(say(f"chain_whose_{name}"), name) for name in WHOSE],
            tooltips=[say(f"chain_whose_{name}_help") for name in WHOSE],
        ).add_class("pe-chain-whose")
        self.view = ToggleButtons(
            options=[(say(f"chain_view_{name}"), name) for name in VIEWS],
            tooltips=[say(f"chain_view_{name}_help") for name in VIEWS],
        ).add_class("pe-chain-views")
        self.note = HTML().add_class("pe-chain-note")
        self.figure = VBox().add_class("pe-chain-figure")
        self.play = Button().add_class("pe-chain-play")
        self.slider = IntSlider(min=0, max=1, readout=False, tooltip=say("chain_slider_help")).add_class(
            "pe-chain-slider"
        )
        self.step, self.expected = (HTML().add_class("pe-chain-step") for _row in range(2))
        self.bars = ToggleButton(description=say("chain_bars"), tooltip=say("chain_bars_help"))
        self.fields = TransitionFields(say, self.binding, self._type_point, self._reset)
        self.use = Button(description=say("chain_use"), tooltip=say("chain_use_help"))
        self.supernet = Button(description=say("chain_supernet"), tooltip=say("chain_supernet_help"))
        self.measure = Button(tooltip=say("chain_measure_help")).add_class("pe-primary")
        self.turn = Button(tooltip=say("chain_page_help"))
        self.empty = HTML().add_class("pe-chain-empty")
        self.summary = HTML().add_class("pe-hidden")
        self.replay_row = HBox([self.play, self.slider, self.step, self.bars]).add_class("pe-chain-row")
        foot = HBox([self.fields, self.expected, self.measure, self.turn, self.use, self.supernet]).add_class(
            "pe-chain-row"
        )
        lead = () if self._lead is None else (self._lead,)
        top = HBox([*lead, self.whose, self.title, self.search]).add_class("pe-chain-top")
        foot.add_class("pe-chain-foot")
        return (
            *(top, self.view, self.note, self.figure, self.empty),
            *(self.replay_row, foot, self.summary),
        )

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """Those of the figures that were seen so far."""
        return self._sights.documents

    # ---- what is shown -----------------------------------------------------------------------------------

    def _follow(self) -> Replay:
        """Where the replay stands, after what the session told."""
        session, now = self._session, self._replay
        search, recorded = self._progress, session.runs.recorded.get(METHOD)
        if recorded is not None and self.whose.value == "recorded":
            return self._stand("recorded", recorded.run)
        if search is not None and search.run is not None:
            return self._stand("session", search.run)
        if search is not None and search.state == "running" and now is not None:
            return now  # until its first frame
        if recorded is not None:
            return self._stand("recorded", recorded.run)
        if now is not None and now.kind == "untrained":
            return now
        return self._stand("untrained", self._untrained())

    def _stand(self, kind: Kind, run: ChainRun) -> Replay:
        """The replay of the run: the same as before where that only grew."""
        with self._lock:
            now = self._replay
            if now is None or now.kind != kind or not now.goes_on_as(run):
                self.player.stop()
                self._page = 0
                now = Replay.of(kind, run)
            elif now.run is not run:
                now = now.grown(run)
            self._replay = now
            return now

    def _untrained(self) -> ChainRun:
        from explorer.methods import METHODS

        settings, session = METHODS["dmcp"].settings(), self._session
        about = settings.alpha, settings.divisions, settings.target
        return untrained(session.network.name, session.graph, *about)

    def _render_whose(self) -> bool:
        """Whether there is a run of the session and one that ships, so that there is a choice."""
        search = self._progress
        both = search is not None and search.run is not None and self._ships
        if not both:
            self.whose.value = "session"  # the next search is seen when it begins
        shown(self.whose, both)
        return both

    @property
    def _ships(self) -> bool:
        """Whether the recorded run comes with the package, and is none that made this supernet."""
        recorded = self._session.runs.recorded.get(METHOD)
        return recorded is not None and bool(recorded.command)

    @property
    def _progress(self) -> Progress | None:
        """How far the search of this session is."""
        return self._session.runs.progress.get(METHOD)

    def _render(self) -> None:
        session, say, search = self._session, self._strings, self._progress
        chosen = self._render_whose()
        replay, view = self._follow(), self.view.value
        seen, sight = self._seen(replay), self._sights[view]
        told = None if self.whose.value == "recorded" else search
        self.title.value = title_html(say, replay, told, bool(self.search.refusal), self._ships, chosen)
        self.search.render(search)
        if self.figure.children != sight.widgets:
            self.figure.children = sight.widgets
        sight.render(seen)
        missing = sight.missing(seen)
        self.note.value = tag("", missing) if missing else self._note(view, seen)
        shown(self.note, bool(self.note.value))
        shown(self.figure, not missing)
        self._render_replay(replay, view)
        self._render_foot(replay, view, seen)
        pages = sight.pages(seen)
        shown(self.turn, pages > 1)
        self.turn.description = say("chain_page", page=self._page % max(pages, 1) + 1, pages=pages)
        self.empty.value = tag("", self._empty_words())
        shown(self.empty, replay.kind == "untrained" and view in REPLAYED)
        if session.current and not self.player.playing:  # screen readers are not read every step
            sentences = [missing] if missing else sight.sentences(seen)
            self.summary.value = section(say("chain_summary", name=session.network.name), sentences)

    def _seen(self, replay: Replay) -> Seen:
        session, say = self._session, self._strings
        group, name, why = self._selected(replay)
        recorded = session.runs.recorded.get(METHOD) if replay.kind == "recorded" else None
        evidence = recorded.evidence if recorded is not None else None
        return Seen(
            replay=replay,
            group=group,
            name=name,
            why=say("chain_none", name=name, reason=why) if why else "",
            width=session.plan.widths.get(group),
            names=self._names,
            order=self.work.curves(replay.run) if evidence is None else evidence.order,
            comparisons=() if evidence is None else evidence.comparisons,
            page=self._page,
        )

    def _selected(self, replay: Replay) -> tuple[str, str, str]:
        """The selected group, its layer's name, and why it has no chain ("" if it has one)."""
        session, say = self._session, self._strings
        names = [layer.name for layer in session.graph.layers]
        layer = session.graph.layers[names.index(session.layer) if session.layer in names else 0]
        group = main_group(session.graph, layer)
        if group is None:
            return "", layer.name, say("layer_no_group")
        if replay.place(group.id) is None:
            return group.id, layer.name, group.reason or say("chain_single")
        return group.id, layer.name, ""

    def _note(self, view: str, seen: Seen) -> str:
        """For a layer, how many widths there are where there would be subsets."""
        place, say = seen.replay.place(seen.group), self._strings
        if view != "layer" or place is None or seen.replay.kind == "untrained":  # which has other words
            return ""
        chain = seen.replay.chains[place]
        counts = {"widths": f"{chain.states + 1:,}", "subsets": f"2{str(chain.size).translate(SUPERSCRIPTS)}"}
        about = {"name": seen.name, "size": chain.size, "least": chain.least, "step": chain.step}
        text = tag("pe-cut-off", say("chain_widths", **counts), say("chain_widths_help", **about, **counts))
        return (
            f'<div class="pe-line">{tag("pe-strong", shortened(seen.name, NAME_ROOM), seen.name)}{text}</div>'
        )

    def _render_replay(self, replay: Replay, view: str) -> None:
        say, steps = self._strings, replay.last > 0
        shown(self.replay_row, view in REPLAYED and steps)
        shown(self.expected, view in REPLAYED and not steps)
        playing = self.player.playing
        self.play.description = "\u275a\u275a" if playing else "\u25b6"
        self.play.tooltip = say("chain_pause" if playing else "chain_play_help")
        self.slider.max = max(replay.last, 1)
        self.slider.value = replay.frame
        words = {"percent": percent(replay.share(self._session.graph))}
        cost = replay.run.cost
        if not steps:
            self.expected.value = tag("", say(f"chain_start_{cost}", **words))
            return
        of = f"{replay.run.of:,}"
        words |= {"step": f"{replay.step:,}", "of": of}
        if self._is_held_back(replay):
            words["latest"] = f"{replay.run.steps[-1]:,}"
            share = share_words(say, replay.share(self._session.graph), cost)
            full, about = say("chain_held", share=share, **words), say("chain_held_help")
            short = say("chain_held_short", **words)
            self.step.value = tag("pe-chain-full", full, about) + tag("pe-chain-short", short, about)
            return
        room = FIGURE_SPACE * (len(of) - len(words["step"]))  # or the slider's track would change its length
        full, short = say(f"chain_step_{cost}", **words), say(f"chain_at_{cost}", **words)
        self.step.value = tag("pe-chain-full", room + full) + tag("pe-chain-short", room + short, full)

    def _is_held_back(self, replay: Replay) -> bool:
        """Whether a search runs on while a person looks at an earlier frame of it."""
        search = self._progress
        running = search is not None and search.state == "running" and replay.kind == "session"
        return running and replay.frame < replay.last and not self.player.playing

    def _render_foot(self, replay: Replay, view: str, seen: Seen) -> None:
        say, search = self._strings, self._progress
        place = replay.place(seen.group) if view == "layer" else None
        chain = None if place is None else replay.chains[place]
        self.fields.render(chain, seen.group in replay.changed)
        found = search is not None and search.state == "ready"  # the session's supernet is this search's
        ready = found and replay.kind == "session"
        shown(self.use, bool(replay.run.widths) and view in REPLAYED)
        openable = ready or (replay.kind == "recorded" and not found and self._ships_supernet())
        shown(self.supernet, openable and self._open is not None and view != "papers")
        shown(self.measure, view == "order" and ready and not seen.order)
        now = self.work.now
        self.measure.disabled = now is not None
        self.measure.description = say("chain_measure")
        if now is not None:
            self.measure.description = say("chain_measuring", done=now.done, of=now.of or "…")

    def _ships_supernet(self) -> bool:
        """Whether the recorded run comes with its supernet; a supernet itself comes with none."""
        if self._has_supernet is None:
            self._has_supernet = self._session.trained_network(METHOD) is not None
        return self._has_supernet

    def _empty_words(self) -> str:
        say, reason = self._strings, self.search.refusal
        return say("chain_empty_refused", reason=reason) if reason else say("chain_empty")

    def _told(self) -> None:
        if self.binding.active:
            self.binding.refresh()

    # ---- what a person does ------------------------------------------------------------------------------

    def _choose(self, _view: str) -> None:
        self._page = 0
        self.binding.refresh()

    def _go(self, frame: int) -> None:
        self._by_hand(lambda replay: replay.to(frame))

    def _by_hand(self, change: Callable[[Replay], Replay]) -> None:
        """A person changes the replay, which then no longer plays."""
        with self._lock:
            self.player.stop()
            if self._replay is not None:
                self._replay = change(self._replay)
        self._to_bars()
        self.binding.refresh()

    def _play_or_pause(self) -> None:
        with self._lock:
            if self.player.playing or self._replay is None:
                self.player.stop()
            else:
                self._started = 0 if self._replay.frame == self._replay.last else self._replay.frame
                self.player.start()
        self.binding.refresh()

    def _advance(self, share: float) -> bool:
        """The player's: show what is due; False when there is nothing more to be shown."""
        with self._lock:
            replay = self._replay
            if not self.player.playing or not self.binding.active or self.comm is None or replay is None:
                return False
            frame = min(replay.last, self._started + int(share * replay.last))
            if frame != replay.frame:
                self._replay = replay.to(frame)
        if frame != replay.frame:
            self.binding.act(self._to_bars)
            self.binding.refresh()
        return frame < replay.last

    def _move_point(self, group: str, place: int, p: float) -> None:
        """A point is dragged; it may be of a chain that is no more shown."""

        def moved(replay: Replay) -> Replay:
            known = replay.place(group) is not None
            return replay.with_transition(group, place, p) if known else replay

        self.fields.step.value = min(place + 1, self.fields.step.max)
        self.binding.act(self._by_hand, moved)

    def _type_point(self, place: int, p: float) -> None:
        self._by_hand(lambda replay: replay.with_transition(self._selected(replay)[0], place, p))

    def _reset(self) -> None:
        self._by_hand(lambda replay: replay.reset(self._selected(replay)[0]))

    def _to_bars(self) -> None:
        """Put the expected widths into the bars, while that is asked for."""
        if self.bars.value and self._replay is not None:
            self._session.use_widths(self._replay.widths())

    def _use_widths(self) -> None:
        if self._replay is not None:
            self._session.use_widths(dict(self._replay.run.widths))

    def _open_supernet(self) -> None:
        if self._open is not None:
            self._open()

    def _measure(self) -> None:
        if self._replay is not None:
            self.work.start(self._replay.run)
        self.binding.refresh()

    def _turn(self) -> None:
        self._page += 1
        self.binding.refresh()

    def close(self) -> None:
        """End the player and the worker, and remove the widgets of all views."""
        if "player" in vars(self):  # ipywidgets closes also what failed to be built
            self.player.stop()
        if "work" in vars(self):
            self.work.close()
            self._sights.close()
        super().close()
