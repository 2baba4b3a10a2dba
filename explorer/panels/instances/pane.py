"""Instance subnetworks: whose, how much every image keeps, views of them all, and the one or two that are picked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, Dropdown, HBox, IntSlider, ToggleButtons, VBox, Widget

from explorer.errors import ExplorerError
from explorer.figures.instance_order import ORDERS
from explorer.panels.instances.foot import PickFields
from explorer.panels.instances.sight import Seen
from explorer.panels.instances.views import PICKABLE, TOLD, VIEWS, Sights
from explorer.panels.instances.words import mean_words, picked_words, sentences, timing_words
from explorer.panels.instances.work import InstanceWork, TimedRun
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import shown, tag
from explorer.panels.methods.form import MethodForm

if TYPE_CHECKING:
    from explorer.instances import Site
    from explorer.panels.kit.bokeh_document import BokehDocument
    from explorer.records import Progress
    from explorer.session import Session
    from explorer.strings import Strings

SOURCES = ("active", "recorded", "own")
LEAST = 5  # percent that the slider goes down to


TRAINED = ("manidp", "fbs")


class InstancesPane(VBox):
    """Shows the recorded method's subnetworks, or where none is recorded those of the most active channels.

    `aside` holds what stands in the tab's first line: whose subnetworks, and a training's settings.
    """

    def __init__(self, session: Session, strings: Strings, scale: float = 1.0) -> None:
        self._session, self._strings = session, strings
        data = session.network.data
        self._names: tuple[str, ...] = () if data is None else tuple(data.classes)
        self._refused = ""  # why nothing can be shown
        self._page, self._channel, self._order = 0, -1, ORDERS[0]
        self._timed: TimedRun | None = None  # what was asked to be run for real
        self.binding = binding = Binding(session)
        self.work = InstanceWork(session, self._told)
        self._sights = Sights(
            strings,
            scale,
            tap=lambda image: binding.act(self._tap, image),
            pick=lambda *images: binding.act(session.pick, *images),
            choose=lambda channel: binding.act(self._choose_option, channel),
            changed=self._told,
        )
        super().__init__(self._make_widgets())
        self.add_class("pe-instances")
        self._begin()
        binding.render(
            self._render,
            *("instances", "instance_estimate", "instance_source", "instance_level", "runs"),
            *("picked", "layer", "reference"),
        )
        self._listen()

    def _make_widgets(self) -> tuple[Widget, ...]:
        say, session = self._strings, self._session
        self.training = MethodForm(session, say, self.binding.act, TRAINED, "instance_train")
        self.source = Dropdown(tooltip=say("instance_source_help")).add_class("pe-instance-source")
        self.aside = HBox([self.source, self.training]).add_class("pe-instance-aside")
        self.level = IntSlider(
            value=50,
            min=LEAST,
            max=100,
            readout=False,
            description=say("instance_keep"),
            tooltip=say("instance_keep_help"),
        ).add_class("pe-instance-level")
        self.percent, self.mean = (
            HTML().add_class("pe-instance-percent"),
            HTML().add_class("pe-instance-mean"),
        )
        self.view = ToggleButtons(
            options=[(say(f"instance_view_{name}"), name) for name in VIEWS],
            tooltips=[say(f"instance_view_{name}_help") for name in VIEWS],
        ).add_class("pe-segments")
        self.note = HTML().add_class("pe-instance-note")
        self.figure = VBox().add_class("pe-instance-figure")
        self.option = Dropdown().add_class("pe-instance-option")
        self.picks = PickFields(say, self.binding, session.pick)
        self.words = HTML().add_class("pe-instance-words")
        self.run = Button(description=say("instance_run"), tooltip=say("instance_run_help"))
        self.turn = Button(tooltip=say("chain_page_help"))
        self.empty = HTML().add_class("pe-instance-empty")
        self.summary = HTML().add_class("pe-hidden")
        self._head = HBox([self.level, self.percent, self.mean]).add_class("pe-instance-row")
        self._views = HBox([self.view, self.turn]).add_class("pe-instance-row").add_class("pe-instance-views")
        foot = [self.option, self.picks, self.words, self.run]
        self._foot = HBox(foot).add_class("pe-instance-row").add_class("pe-instance-foot")
        return (
            *(self._head, self._views, self.note, self.figure, self.empty, self._foot),
            self.summary,
        )

    def _listen(self) -> None:
        act = self.binding.act
        self.binding.gesture(self.source, "value", self._choose_source)
        self.binding.gesture(self.level, "value", self._set_level)
        self.binding.gesture(self.view, "value", lambda _view: self._choose_view())
        self.binding.gesture(self.option, "value", self._choose_option)
        self.turn.on_click(lambda _button: act(self._to_page, self._page + 1))
        self.run.on_click(lambda _button: act(self._run))

    def _begin(self) -> None:
        """Ask for subnetworks, unless the session shows some already; a refusal stands where they would be."""
        session = self._session
        if session.network.data is None:
            self._refused = self._strings("instance_no_data")
            return
        session.read_recorded("manidp")
        if not session.instance_source:
            try:
                session.show_instances("recorded" if "manidp" in session.runs.recorded else "active")
            except ExplorerError as error:
                self._refused = str(error)

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """Those of the figures that were seen so far."""
        return self._sights.documents

    # ---- what is shown -----------------------------------------------------------------------------------

    def _render(self) -> None:
        found, view = self._session.instances, self._view
        sight, seen = self._sights[view], self._seen()
        self.training.render(self._progress)
        self._render_source()
        self._render_mean()
        missing = sight.missing(seen)
        if missing and view not in TOLD:
            missing = self._refused or missing
            if not self._refused and not self._session.instance_source:
                missing = self._strings("instance_nothing")
        if self.figure.children != sight.widgets:
            self.figure.children = sight.widgets
        shown(self.figure, not missing)
        shown(self.empty, bool(missing))
        self.empty.value = tag("pe-soft", missing)
        note = self._note()
        self.note.value = tag("", note)
        shown(self.note, bool(note))
        pickable = view in PICKABLE and found is not None
        shown(self._foot, pickable)
        if not missing:
            sight.render(seen)
        self._render_foot(seen, sight.pages(seen), pickable)
        self._summarise(seen, missing)

    @property
    def _view(self) -> str:
        """The chosen view; in place of the gallery, two picked images are compared."""
        chosen = str(self.view.value)
        return "pair" if chosen == "gallery" and len(self._session.picked) == 2 else chosen

    @property
    def _progress(self) -> Progress | None:
        """How far the training of instance subnetworks is that was begun last."""
        known = list(self._session.runs.progress.values())
        return next((each for each in known[::-1] if each.method in TRAINED), None)

    def _seen(self) -> Seen:
        session = self._session
        recorded = session.runs.recorded.get("manidp")
        return Seen(
            found=session.instances,
            site=self._site(),
            names=self._names,
            picked=tuple(session.picked),
            evidence=recorded.evidence if recorded is not None else None,
            ask=self.work.ask,
            order=self._order,
            channel=self._channel,
            page=self._page,
        )

    def _site(self) -> Site | None:
        """The site of the selected layer; of a layer without one the next that has one, else the last."""
        found = self._session.instances
        if found is None or not found.sites.every:
            return None
        every = found.sites.every
        if self._session.layer in found.sites.by_layer:
            return found.sites.by_layer[self._session.layer]
        names = [layer.name for layer in self._session.graph.layers]
        place = names.index(self._session.layer) if self._session.layer in names else 0
        return next((site for site in every if site.place >= place), every[-1])

    def _render_source(self) -> None:
        session, say = self._session, self._strings
        search = self._progress
        there = {
            "active": True,
            "recorded": "manidp" in session.runs.recorded,
            "own": session.instance_source == "own" or (search is not None and search.state == "ready"),
        }
        method = "manidp" if search is None else search.method
        words = {name: say(f"instance_source_{name}") for name in ("active", "recorded")}
        words["own"] = say(f"instance_source_own_{method}")
        options = [(words[name], name) for name in SOURCES if there[name]]
        if list(self.source.options) != options:
            self.source.options = options
        self.source.value = session.instance_source or None
        shown(self.source, not self._refused)

    def _render_mean(self) -> None:
        session, say, found = self._session, self._strings, self._session.instances
        level = round(100 * session.instance_level)
        self.level.value = min(max(level, LEAST), 100)
        bound = found is not None and found.source == "manidp"
        text, about = (f"\u2264 {level} %", say("instance_bound_help")) if bound else (f"{level} %", "")
        self.percent.value = tag("pe-strong", text, about)
        shown(self._head, not self._refused)
        if found is None:
            self.mean.value = "" if self._refused else tag("pe-soft", say("instance_waiting"))
            return
        dense = session.reference if session.reference_is_dense else None
        told = session.instance_estimate, dense
        full = mean_words(say, found, *told, short=False)
        theory = say("instance_theory_active" if found.source == "active" else "instance_theory")
        about = f"{full}. {theory}"
        css = "pe-cut-off pe-instance-trial" if found.trial else "pe-cut-off"
        short = mean_words(say, found, *told, short=True)
        self.mean.value = (
            f'<div class="pe-line">{tag(f"{css} pe-mean-full", full, about)}'
            f"{tag(f'{css} pe-mean-short', short, about)}</div>"
        )

    def _note(self) -> str:
        """How the picked image's subnetwork ran for real, where that was asked for."""
        job = self._timed
        if job is None or tuple(self._session.picked) != (job.image,) or not job.fits(self._session):
            return ""
        measured = self.work.ask(job)
        say = self._strings
        if measured is None:
            return say("instance_running", image=job.image)
        return timing_words(say, job.image, measured)

    def _render_foot(self, seen: Seen, pages: int, pickable: bool) -> None:
        say, found = self._strings, seen.found
        options = self._sights[self._view].options(seen)
        if list(self.option.options) != options:
            self.option.options = options
        if options:
            value = seen.order if self._view == "strip" else seen.channel
            self.option.value = value if value in {key for _text, key in options} else options[0][1]
            self.option.tooltip = say(f"instance_option_{self._view}_help")
        shown(self.option, bool(options))
        shown(self.turn, pages > 1)
        self.turn.description = say("instance_page", page=self._page % max(pages, 1) + 1, pages=pages)
        shown(self.picks, pickable)
        shown(self.words, pickable)
        shown(self.run, pickable and not options and len(seen.picked) == 1)
        if found is None:
            return
        self.picks.render(found, seen.picked, self._names)
        full = picked_words(say, found, seen.picked, self._names, short=False)
        short = picked_words(say, found, seen.picked, self._names, short=True)
        self.words.value = tag("pe-cut-off", short, full)

    def _summarise(self, seen: Seen, missing: str) -> None:
        session, say, found = self._session, self._strings, seen.found
        if missing or found is None:
            said = [missing or say("instance_waiting")]
        elif found.trial:
            return  # screen readers are not read every step
        else:
            dense = session.reference if session.reference_is_dense else None
            about = session.instance_estimate, dense, seen.picked, self._names
            said = sentences(say, found, *about)
        if not missing:
            said += self._sights[self._view].sentences(seen)
        note = self._note()
        said += [note] if note else []
        self.summary.value = section(say("instance_summary", name=session.network.name), said)

    def _told(self) -> None:
        if self.binding.active:
            self.binding.refresh()

    # ---- what a person does ------------------------------------------------------------------------------

    def _choose_source(self, source: str | None) -> None:
        if source is not None:
            self._session.show_instances(source)

    def _set_level(self, percent: int) -> None:
        self._session.set_instance_level(percent / 100)

    def _choose_view(self) -> None:
        self._page, self._timed = 0, None
        self.binding.refresh()

    def _to_page(self, page: int) -> None:
        self._page = page
        self.binding.refresh()

    def _choose_option(self, value: object) -> None:
        if isinstance(value, int):
            self._channel = value
        elif isinstance(value, str):
            self._order = value
        self.binding.refresh()

    def _tap(self, image: int) -> None:
        """Pick an image, beside the one that is picked; a picked one is let go, a third takes the second's place."""
        picked = tuple(self._session.picked)
        if image in picked:
            self._session.pick(*(each for each in picked if each != image))
        else:
            self._session.pick(*picked[:1], image)

    def _run(self) -> None:
        found, picked = self._session.instances, self._session.picked
        if found is not None and len(picked) == 1:
            self._timed = TimedRun(self._session.instance_source, self._session.instance_level, picked[0])
            self.binding.refresh()

    def close(self) -> None:
        """End the worker, and remove the widgets of all views."""
        if "work" in vars(self):  # ipywidgets closes also what failed to be built
            self.work.close()
        if "_sights" in vars(self):
            self._sights.close()
        super().close()
