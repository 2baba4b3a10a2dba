"""What a session knows of instance subnetworks: whose are shown, at which level, and which images are picked."""

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral

from explorer.dynamic.evaluating import require_level, tried
from explorer.dynamic.network import Dynamic, most_active
from explorer.errors import BadInput, require_name
from explorer.instances import Instances
from explorer.methods import METHODS
from explorer.methods.recording import read_network
from explorer.records import Progress
from explorer.session import wording
from explorer.session.history import History
from explorer.session.instancing import Answered, Asked, InstanceDesk
from explorer.session.runs import Handover, Running
from explorer.strings import Message
from explorer.values import Estimate
from explorer.zoo import Network

SHOWN = ("active", "recorded", "own")
PICKS = 2  # images at a time: what two share is seen, of three it is not


class Instancer(Running):
    """One source of subnetworks at a time, of the network as it was loaded: plans do not touch them.

    Sources: "active" (without training, each image's most active channels), "recorded" (what ships for these
    weights) and "own" (what the latest ManiDP or FBS training of this session came to).
    """

    def __init__(
        self, network: Network, history: History | None = None, handover: Handover | None = None
    ) -> None:
        super().__init__(network, history, handover)
        data = network.data
        self._instances_good: Answered | None = None  # what was evaluated to the end last
        self._instance_desk = (
            None
            if data is None
            else InstanceDesk(data, self._instances_told, self._instances_failed, self._state)
        )

    def show_instances(self, source: str = "active", level: float | None = None) -> None:
        """Show the subnetworks of a source of SHOWN at a level in (0, 1] (None: the source's own).

        `instance_estimate` tells the accuracy so far, `instances` the subnetworks once all images have run. Raises
        UnknownName for another source, BadInput without images, where the source has none (nothing was trained,
        nothing ships, no layer whose channels could be dropped) and for another level.
        """
        require_name("source of instance subnetworks", source, SHOWN)
        self._require_open()
        if level is not None:
            level = require_level(level)
        dynamic = self._network_of(source)
        with self._state:
            self._require_open()
            self._ask_instances(Asked(source, dynamic.level if level is None else level, dynamic))

    def set_instance_level(self, level: float) -> None:
        """Keep more or fewer channels per image: a share in (0, 1].

        What follows from the saliencies that are known is shown at once (`instances.trial`), what the images come
        to when they run again a little later. Raises BadInput for another level, and while nothing is shown.
        """
        level = require_level(level)
        with self._state:
            self._require_open()
            desk = self._instance_desk
            if desk is None or desk.asked is None:
                raise BadInput("No instance subnetworks are shown. Show some with show_instances() first.")
            if level == desk.asked.level:
                return
            asked = replace(desk.asked, level=level)
            self._ask_instances(asked)
            known = None if desk.answered else desk.latest(asked.dynamic)
        if known is None:
            return
        trial = tried(known, asked.dynamic, level)  # without the lock: it takes up to 100 ms
        with self._state:
            if desk.asked is asked and not desk.answered:
                self.instances = trial

    def pick(self, *images: int) -> None:
        """Pick up to two of the images that are shown, by their positions among the explore images; none: no image.

        Raises BadInput for other images, more than two, or the same one twice.
        """
        with self._state:
            for image in images:
                _require_among(image, self.instances)
            if len(images) > PICKS or len(set(images)) < len(images):
                raise BadInput(f"Images to pick: {images!r}. Expected none, one or two different ones.")
            self.picked = tuple(int(image) for image in images)

    def dynamic(self) -> Dynamic | None:
        """The network whose subnetworks are shown, in eval mode; None if none are."""
        desk = self._instance_desk
        return None if desk is None or desk.asked is None else desk.asked.dynamic

    def drop_search(self, method: str = "dmcp") -> None:
        """Forget a search or training and what it found; if its instance subnetworks are shown, nothing is then."""
        own = self._own()
        super().drop_search(method)
        if own is not None and own is not self._own() and self._instance_desk is not None:
            with self._state:
                self._instance_desk.forget("own")
                if self.instance_source == "own":
                    self._show_no_instances()

    # ---- what is shown ----------------------------------------------------------------------------------

    def _network_of(self, source: str) -> Dynamic:
        """The network of a source; looked for outside of the lock, since that may read a file or trace a model."""
        desk, name = self._instance_desk, self.network.name
        if desk is None:
            raise BadInput(
                f"Instance subnetworks are chosen image by image, and {name} was loaded without images. Load it with "
                "data=explorer.Data(name, classes, train=None, explore=explorer.Images(...))."
            )
        if not self.classifies:
            raise BadInput(
                "Subnetworks of single images are judged by the classes that they answer with, and these images have "
                "none."
            )
        known = desk.networks.get(source)
        if known is not None:
            return known
        made = _MAKERS[source](self)
        if made is None and source == "own":
            raise BadInput(
                f"No instance subnetworks of {name} were trained yet: start_search('manidp') does that."
            )
        if made is None:
            raise BadInput(
                f"No trained instance subnetworks ship for {name} with these weights. show_instances('active') needs "
                "no training, and start_search('manidp') trains some."
            )
        with self._state:  # a training may have been dropped meanwhile
            return (
                made
                if source == "own" and made is not self._own()
                else desk.networks.setdefault(source, made)
            )

    def _own(self) -> Dynamic | None:
        """What the training of instance subnetworks that ended last came to."""
        found = [job.found for job in self._run_desk.jobs.values() if job.found is not None]
        networks = [each.network for each in found if isinstance(each.network, Dynamic)]
        return networks[-1] if networks else None

    def _ask_instances(self, asked: Asked) -> None:
        """Show them as far as they are known. Call under the state lock."""
        desk = self._instance_desk
        assert desk is not None
        if desk.works_out(asked):
            return
        other = desk.asked is None or desk.asked.dynamic is not asked.dynamic
        known = desk.ask(asked)
        with self.hold_trait_notifications():
            self.error = ""
            if known is not None:
                self._show_answer(known)
                return
            self.instance_source, self.instance_level = asked.source, asked.level
            self.instance_estimate = None
            if other:
                self.instances = None

    def _show_answer(self, answer: Answered) -> None:
        found, self._instances_good = answer.instances, answer
        with self.hold_trait_notifications():
            self.instance_source, self.instance_level = answer.asked.source, answer.asked.level
            self.instances, self.instance_estimate = found, answer.estimate
            self.picked = tuple(each for each in self.picked if found.row(each) is not None)

    def _show_no_instances(self) -> None:
        if self._instance_desk is not None:
            self._instance_desk.stop()
        self._instances_good = None
        with self.hold_trait_notifications():
            self.instance_source, self.instance_level = "", 1.0
            self.instances, self.instance_estimate, self.picked = None, None, ()

    def _leave_instances(self) -> None:
        """Return to what was evaluated to the end last. Call under the state lock."""
        good, desk = self._instances_good, self._instance_desk
        if good is None or desk is None or desk.networks.get(good.asked.source) is not good.asked.dynamic:
            self._show_no_instances()
        elif not desk.answered:
            desk.settle(good)
            self._show_answer(good)

    # ---- reports of other threads, under the state lock ---------------------------------------------------

    def _instances_told(self, estimate: Estimate, answer: Answered | None) -> None:
        if answer is not None:
            self._show_answer(answer)
        else:
            self.instance_estimate = estimate

    def _instances_failed(self, error: BaseException) -> None:
        self._leave_instances()
        self.error = wording.in_words(error)

    def _ran(self, progress: Progress, message: Message | None) -> None:
        """What was trained is shown by itself, unless a person looks at another source's."""
        super()._ran(progress, message)
        desk, trained = self._instance_desk, self._own()
        yields = METHODS[progress.method].yields
        if yields != "instances" or progress.state != "ready" or desk is None or trained is None:
            return
        if self._closed:
            return
        desk.forget("own")
        desk.networks["own"] = trained
        if self.instance_source in ("", "own"):
            self._ask_instances(Asked("own", trained.level, trained))


def _recorded(session: Instancer) -> Dynamic | None:
    """The trained network of the recorded run."""
    found = read_network(session.network, session.graph, "manidp")
    assert found is None or isinstance(found, Dynamic)
    return found


_MAKERS: dict[str, Callable[[Instancer], Dynamic | None]] = {
    "active": lambda session: most_active(session.network, session.graph),
    "recorded": _recorded,
    "own": Instancer._own,
}


def _require_among(image: object, shown: Instances | None) -> None:
    """Raise BadInput unless an image is one of those shown."""
    if shown is None:
        raise BadInput(
            "No instance subnetworks are known yet, so there is no image to pick. Try again in a moment."
        )
    if isinstance(image, bool) or not isinstance(image, Integral) or shown.row(int(image)) is None:
        raise BadInput(
            f"Image {image!r} is not among the {len(shown):,} that are shown: their positions among the "
            f"{shown.of:,} explore images are in `instances.images`."
        )
