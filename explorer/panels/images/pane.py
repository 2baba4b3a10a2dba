"""The images tab: which images the cut broke and mended, what that does to every class, and a look into one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bokeh.events import Tap
from bokeh.models import GridBox
from ipywidgets import HTML, Box, Button, Dropdown, HBox, ToggleButtons, VBox

from explorer.figures import class_changes, gallery
from explorer.figures.palette import theme_script
from explorer.figures.view import update
from explorer.panels.header.cut import Cut
from explorer.panels.images import image_look
from explorer.panels.images.image_look import Look
from explorer.panels.images.image_work import ImageWork, Opened, Page
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import classed, shown, tag
from explorer.records import Outcomes, Scored

if TYPE_CHECKING:
    from explorer.evaluate.worker import LatestWins
    from explorer.observe.flips import Flips
    from explorer.session import Session
    from explorer.strings import Strings

GAP = 8  # pixels between the chart and the gallery
NONE = -1  # in a list: all classes, no image (of the value None a Dropdown shows no text)


class ImagesPane(VBox):
    """A class of the chart filters the gallery; an image of it, tapped or listed, is looked into.

    `worker` draws pages and looks into images; None until there is something to draw.
    """

    def __init__(self, session: Session, strings: Strings, scale: float = 1.0) -> None:
        self._session, self._strings = session, strings
        self._names = session.network.data.classes if session.network.data is not None else ()
        self._outcomes: Outcomes | Scored | None = None  # the latest that were known
        self._flips: Flips | None = None
        self._label: int | None = None
        self._first = 0  # place of the page's first image among the chosen ones
        self._opened: int | None = None
        self._asked: Page | Opened | None = None
        self._page: tuple[Page, str] | None = None  # as drawn last
        self._look: tuple[Opened, Look] | None = None
        self.worker: LatestWins[Page | Opened, str | Look] | None = None
        self._changes, self._gallery = class_changes.build(scale), gallery.build(scale)
        self.binding = binding = Binding(session)
        self._changes.root.on_event(Tap, lambda event: binding.act(self._tap_class, event))
        self._gallery.root.on_event(Tap, lambda event: binding.act(self._tap_image, event))
        root = GridBox(
            children=[
                *([(self._changes.root, 0, 0)] if session.classifies else []),
                (self._gallery.root, 0, 1),
            ],
            cols=["auto", "1fr"],
            sizing_mode="stretch_width",
            height=self._changes.root.height,
            spacing=(0, round(GAP * scale)),
        )
        self._range = self._gallery.root.x_range
        charts = [self._changes.root, self._gallery.root] if session.classifies else [self._gallery.root]
        scripts = theme_script(root), keys_script(strings, charts)
        self.document = BokehDocument(root, scripts, heard=[(self._range, "end")])
        self.documents = (self.document,)
        self._range.on_change("end", lambda _name, _old, _new: binding.act(binding.refresh))
        self._make_widgets()
        states = "reference_plan", "reference_is_dense", "estimate"
        binding.render(self._render, "outcomes", "scored", "plan", "request", "layer", *states)
        self._listen()

    def _make_widgets(self) -> None:
        strings = self._strings
        self.sentence = HTML().add_class("pe-images-sentence")
        self.direction = ToggleButtons(
            options=[(strings(f"images_{name}"), name) for name in ("broken", "mended")],
            tooltips=[strings(f"images_{name}_help") for name in ("broken", "mended")],
        ).add_class("pe-images-direction")
        self.of_class = Dropdown(tooltip=strings("images_class_help"))
        self.opener = Dropdown(tooltip=strings("images_open_help")).add_class("pe-images-open")
        self.back = Button(description=strings("images_back"), tooltip=strings("images_back_help"))
        self.title = HTML().add_class("pe-images-title")
        self.before, self.after = (
            Button(description=sign, tooltip=strings(f"images_{name}"))
            for sign, name in (("‹", "previous"), ("›", "next"))
        )
        self.where = HTML().add_class("pe-images-where")
        self.empty = HTML().add_class("pe-images-empty")
        self.look = HTML().add_class("pe-look")
        self.summary = HTML().add_class("pe-hidden")
        choices = [self.direction, self.of_class, self.opener]
        self._choice = HBox(choices if self._session.classifies else [self.direction, self.opener]).add_class(
            "pe-images-row"
        )
        self._head = HBox([self.back, self.title]).add_class("pe-images-row")
        self._pager = HBox([self.before, self.where, self.after]).add_class("pe-images-pager")
        self._body = Box([self.document]).add_class("pe-images-body")
        super().__init__(
            [
                self.sentence,
                self._choice,
                self._head,
                self._body,
                self.look,
                self._pager,
                self.empty,
                self.summary,
            ]
        )
        self.add_class("pe-images")

    def _listen(self) -> None:
        act = self.binding.act
        self.binding.gesture(self.direction, "value", lambda _value: self._turn_to(0))
        self.binding.gesture(self.of_class, "value", lambda label: self._choose_class(_known(label)))
        self.binding.gesture(self.opener, "value", lambda image: self._look_into(_known(image)))
        self.back.on_click(lambda _button: act(self._look_into, None))
        self.before.on_click(lambda _button: act(self._step, -1))
        self.after.on_click(lambda _button: act(self._step, 1))

    # ---- renders ----------------------------------------------------------------------------------------

    def _render(self) -> None:
        from explorer.observe.flips import flips, score_changes

        outcomes = self._compared
        if outcomes is not None and outcomes is not self._outcomes:
            self._outcomes = outcomes
            self._flips = flips(outcomes) if isinstance(outcomes, Outcomes) else score_changes(outcomes)
        message = self._message()
        looking = not message and self._opened is not None
        self.empty.value = tag("pe-soft", message)
        self.sentence.value = "" if message else self._sentence()
        for widget, on in (
            (self.empty, bool(message)),
            (self.sentence, not message),
            (self._choice, not message and not looking),
            (self._body, not message and not looking),
            (self._head, looking),
            (self.look, looking),
            (self._pager, not message),
        ):
            shown(widget, on)
        late = looking and self._look is not None and self._look[0].cut != Cut.of(self._session)
        classed(self, "pe-images-old", outcomes is None or late)
        classed(self, "pe-images-looking", looking)
        if message or self._flips is None or self._outcomes is None:
            self.summary.value = f"<p>{escape(message)}</p>"
        elif self._opened is None:
            self._render_gallery(self._flips, self._outcomes)
        else:
            self._render_look(self._outcomes, self._opened)

    @property
    def _compared(self) -> Outcomes | Scored | None:
        """What the state and its reference say of the images, while both are known."""
        session = self._session
        return session.outcomes if session.classifies else session.scored

    def _message(self) -> str:
        """Why there is nothing to show; "" if there is."""
        session, strings = self._session, self._strings
        if session.network.data is None:
            return strings("images_no_data")
        found = self._flips
        if found is not None and (len(found.broken) or len(found.mended)):
            return ""
        if session.plan == session.reference_plan:
            return strings("images_nothing_cut" if session.reference_is_dense else "images_same")
        if self._compared is not None:
            return strings("images_no_flips")
        estimate = session.estimate
        if estimate is None or estimate.done:
            return strings("images_waiting")
        return strings("images_counting", seen=f"{estimate.seen:,}", of=f"{estimate.of:,}")

    def _sentence(self) -> str:
        if self._flips is None:
            return ""
        session, strings, found = self._session, self._strings, self._flips
        values = {"broken": len(found.broken), "mended": len(found.mended), "images": found.images}
        texts = {name: f"{value:,}" for name, value in values.items()}
        against = strings("images_against_dense" if session.reference_is_dense else "images_against")
        if self._compared is None:
            against = strings("images_old")
        line = tag("pe-strong", strings("images_sentence", **texts)) + tag("pe-soft", against)
        return f'<div class="pe-line">{line}</div>'

    def _chosen(self) -> list[int]:
        """All images that the direction and the class let through."""
        from explorer.observe.flips import of_class

        if self._flips is None or self._outcomes is None:
            return []
        found = self._flips.broken if self.direction.value == "broken" else self._flips.mended
        if isinstance(self._outcomes, Outcomes):
            found = of_class(found, self._outcomes, self._label)
        return found.tolist()

    def _render_gallery(self, found: Flips, outcomes: Outcomes | Scored) -> None:
        strings = self._strings
        across = gallery.across(self._range.end)
        size, chosen = across * gallery.DOWN, self._chosen()
        self._first = min(self._first, max(len(chosen) - 1, 0)) // size * size
        images = tuple(chosen[self._first : self._first + size])
        self._submit(Page(outcomes, images, across))
        page, picture = self._page or (Page(outcomes, (), across), "")
        flips = self._captions(page)
        width = page.across * gallery.CELL[0]
        with self.document.batch():
            update(self._changes, class_changes.columns(found.classes, self._names, strings, self._label))
            if self._page is not None:
                update(self._gallery, gallery.columns(flips, width, picture, strings))
        classes = [(strings("images_all_classes"), NONE)]
        classes += [(self._name(change.label), change.label) for change in found.classes]
        _offer(self.of_class, classes, NONE if self._label is None else self._label)
        everything = tuple(chosen)
        listed = zip(self._captions(Page(outcomes, everything, across)), everything, strict=True)
        options = [(strings("images_open"), NONE)]
        options += [
            (strings("images_flip_option", name=flip.name, before=flip.before, now=flip.now), image)
            for flip, image in listed
        ]
        _offer(self.opener, options, NONE)
        last = self._first + len(images)
        self._render_pager(self._first > 0, last < len(chosen), self._first + bool(images), last, len(chosen))
        parts = [(strings("images_gallery_summary"), gallery.describe(flips, strings))]
        if self._session.classifies:
            says = class_changes.describe(found.classes, self._names, strings)
            parts.insert(0, (strings("images_classes_summary"), says))
        self.summary.value = "".join(section(*part) for part in parts)

    def _render_look(self, outcomes: Outcomes | Scored, image: int) -> None:
        strings = self._strings
        job = Opened(outcomes, Cut.of(self._session), image, self._session.layer)
        if self._compared is not None:
            self._submit(job)
        if isinstance(outcomes, Outcomes):
            title = strings("images_title", image=image, label=self._name(int(outcomes.labels[image])))
        else:
            before, now = _scores(outcomes, image)
            title = strings("images_scores", image=image, before=before, now=now)
        self.title.value = tag("pe-strong", title)
        known = self._look is not None and self._look[0].image == image
        if self._look is not None and known:
            self.look.value = image_look.look_html(self._look[1], strings)
            self.summary.value = section(
                title,
                image_look.describe(self._look[1], strings),
            )
        else:
            self.look.value = tag("pe-soft", strings("images_looking"))
            self.summary.value = ""
        chosen = self._chosen()
        number = chosen.index(image) + 1 if image in chosen else 0  # 0: it is right, or wrong, in both by now
        self._render_pager(number > 1, number < len(chosen), number, number, len(chosen))

    def _render_pager(self, back: bool, on: bool, first: int, last: int, of: int) -> None:
        self.before.disabled, self.after.disabled = not back, not on
        key = (
            "images_where" if first < last else "images_where_one" if first or not of else "images_where_not"
        )
        words = self._strings(key, first=f"{first:,}", last=f"{last:,}", of=f"{of:,}")
        self.where.value = tag("pe-soft", words)

    def _captions(self, page: Page) -> list[gallery.Flip]:
        if isinstance(page.outcomes, Scored):
            change = page.outcomes.now - page.outcomes.reference
            return [
                gallery.Flip(
                    self._strings("images_image", image=image),
                    *_scores(page.outcomes, image),
                    broken=bool(change[image] < 0),
                )
                for image in page.images
            ]
        before, now, labels = page.outcomes.reference, page.outcomes.now, page.outcomes.labels
        return [
            gallery.Flip(
                self._strings("images_image", image=image),
                self._name(int(before[image])),
                self._name(int(now[image])),
                broken=bool(before[image] == labels[image]),
            )
            for image in page.images
        ]

    def _name(self, label: int) -> str:
        return self._names[label] if label < len(self._names) else str(label)

    # ---- gestures ---------------------------------------------------------------------------------------

    def _turn_to(self, first: int) -> None:
        self._first = max(first, 0)
        self.binding.refresh()

    def _choose_class(self, label: int | None) -> None:
        self._label = label
        self._turn_to(0)

    def _open(self, image: int | None) -> None:
        self._opened = image
        self.binding.refresh()

    def _look_into(self, image: int | None) -> None:
        """Open an image, or go back; what had the focus is hidden then, so that it goes where the way on is."""
        self._open(image)
        (self.opener if image is None else self.back).focus()

    def _step(self, direction: int) -> None:
        """To the next or previous image while one is looked into, else to the next or previous page."""
        if self._opened is None:
            self._turn_to(self._first + direction * gallery.DOWN * gallery.across(self._range.end))
            return
        chosen = self._chosen()
        here = chosen.index(self._opened) if self._opened in chosen else -1
        if 0 <= here + direction < len(chosen):
            self._first = here + direction
            self._open(chosen[here + direction])

    def _tap_class(self, event: Tap) -> None:
        if self._flips is not None and event.y is not None:
            label = class_changes.class_at(event.y, self._flips.classes)
            self._choose_class(None if label == self._label else label)

    def _tap_image(self, event: Tap) -> None:
        if self._page is None or event.x is None or event.y is None:
            return
        page, _picture = self._page
        place = gallery.place_at(event.x, event.y, page.across, len(page.images))
        if place is not None:
            self._look_into(page.images[place])

    # ---- the worker thread ------------------------------------------------------------------------------

    def _submit(self, job: Page | Opened) -> None:
        data = self._session.network.data
        if job == self._asked or data is None:
            return
        if self.worker is None:
            from explorer.evaluate.worker import LatestWins

            work = ImageWork(self._session, data)
            self.worker = LatestWins(work, self._done, lambda _job, error: self._session.report(error))
        self._asked = job
        self.worker.submit(job)

    def close(self) -> None:
        """End the worker thread and remove the widgets."""
        worker = vars(self).get("worker")  # ipywidgets closes also what failed to be built
        if worker is not None:
            worker.close()
        super().close()

    def _done(self, job: Page | Opened, result: str | Look) -> None:
        if isinstance(job, Page) and isinstance(result, str):
            self._page = job, result
        elif isinstance(job, Opened) and isinstance(result, Look):
            self._look = job, result
        if self.binding.active:
            self.binding.refresh()


def _scores(scored: Scored, image: int) -> tuple[str, str]:
    """The scores of an image in the reference state and now, in digits: in per cent where they are shares."""
    scale, form = (1, ".4g") if scored.measure == "score" else (100, ".1f")
    before, now = (f"{scale * float(each[image]):{form}}" for each in (scored.reference, scored.now))
    return before, now


def _known(choice: int | None) -> int | None:
    """What a list's value stands for."""
    return None if choice == NONE else choice


def _offer(widget: Dropdown, options: list[tuple[str, int]], value: int) -> None:
    """Put choices into a list, and choose one; without need nothing changes, or an open list would close."""
    if list(widget.options) != options:
        widget.options = options
    widget.value = value if value in {choice for _text, choice in options} else NONE
