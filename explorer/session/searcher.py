"""What a session knows of searches and trainings of methods: it begins and ends them, and uses what they find."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

from explorer.chains import ChainRun, Recorded
from explorer.errors import BadInput, require_name
from explorer.instances import RecordedInstances
from explorer.methods import METHODS, search_key
from explorer.methods.recording import read_recorded, read_supernet
from explorer.methods.settings import checked
from explorer.records import Search
from explorer.session import wording
from explorer.session.answering import Answering
from explorer.session.history import History
from explorer.session.searching import Job, SearchDesk
from explorer.strings import Message
from explorer.zoo import Network

KINDS = {"widths": "search", "instances": "instance_search"}
"""What methods come to (`Method.kind`): widths for all images, or a subnetwork for each; and the trait of each."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What a session hands to a later one over the same network: its search and its training of instance
    subnetworks, with what those found or can go on from, and the recorded runs.
    """

    search: Search | None = None
    job: Job | None = None
    recorded: Recorded | None = None
    instance_search: Search | None = None
    instance_job: Job | None = None
    recorded_instances: RecordedInstances | None = None


class Searcher(Answering):
    """One search at a time, and none while a training runs: both would take the same processor."""

    def __init__(
        self, network: Network, history: History | None = None, carried: Carried | None = None
    ) -> None:
        super().__init__(network, history)

        def desk(kind: str) -> SearchDesk:
            return SearchDesk(
                network, self.graph, partial(self._searched, kind), self._state, wording.SEARCHES[kind]
            )

        self._search_desk, self._instance_search_desk = desk("widths"), desk("instances")
        if carried is not None:
            self._search_desk.job, self._instance_search_desk.job = carried.job, carried.instance_job
            self.search, self.instance_search = carried.search, carried.instance_search
            self.recorded, self.recorded_instances = carried.recorded, carried.recorded_instances

    @property
    def searched(self) -> bool:
        """Whether a search or a training of instance subnetworks was begun, and not dropped: `carried` has it then."""
        return self.search is not None or self.instance_search is not None

    @property
    def carried(self) -> Carried:
        """What a later session over this network can be given; a search that runs is in it as a stopped one."""
        with self._state:
            return Carried(
                _stopped(self.search),
                self._search_desk.job,
                self.recorded,
                _stopped(self.instance_search),
                self._instance_search_desk.job,
                self.recorded_instances,
            )

    def start_search(self, method: str = "dmcp", **settings: object) -> None:
        """Begin a search over widths ("dmcp"), or a training of instance subnetworks ("manidp", "fbs"), beside the
        explorer; `search`, or `instance_search`, tells how far it is.

        `settings` as the method declares them. What was begun before with the same weights, images and settings
        goes on from its last snapshot, also one of another session. Raises UnknownName and BadInput for what the
        method does not take, without training images with labels, and while another search or a training runs; a
        target out of reach is told by the trait and the status line.
        """
        self._require_open()
        key = search_key(self.network, self.graph, method, **settings)
        chosen = asdict(checked(method, METHODS[method].settings, settings))
        kind = METHODS[method].kind
        with self._state:
            self._require_open()
            if self._search_runs:
                raise BadInput(f"{self._running} is running. Stop it before another one begins.")
            if self.training is not None and not self.training.ready:
                raise BadInput(
                    "The network is being trained. Let it end, or stop it, before a search begins."
                )
            self.error = ""
            # Told once it runs, so that whoever interrupts an observer of it stops no more than that.
            self.set_trait(KINDS[kind], self._desk_of(kind).start(key, method, chosen))

    def stop_search(self, kind: str = "widths") -> None:
        """End the search (or training) of a kind of KINDS after its current step; it can be resumed. Nothing happens
        if none runs. Raises UnknownName for another kind.
        """
        with self._state:
            desk, search = self._desk_of(kind), self._search_of(kind)
            if search is not None and search.state == "running":
                self._say(Message(desk.words.stopping))
                desk.stop()

    def resume_search(self, kind: str = "widths") -> None:
        """Go on with the search of a kind that was stopped or failed. Raises BadInput if there is none."""
        search = self._search_of(kind)
        if search is None or not search.resumable:
            raise BadInput("There is no search to go on with. Begin one with start_search().")
        self.start_search(search.method, **search.settings)

    def drop_search(self, kind: str = "widths") -> None:
        """Forget the search of a kind and what it found."""
        with self._state:
            desk = self._desk_of(kind)
            try:
                desk.forget()
            finally:
                self.set_trait(KINDS[kind], None)

    def use_widths(self, widths: Mapping[str, int]) -> None:
        """Give groups widths by hand, all at once and without pinning them: one entry of undo.

        The others stay, locked ones too; a width is clipped to what its group can have, and the status says so.
        Raises BadInput for unknown groups, those that cannot be pruned, and what is no whole number.
        """
        with self._state:
            if not self._choices.knows(self._latest):
                raise BadInput("The channels are being scored. Try again in a moment.")
            before = self._held_plan or self.plan
            asked = self._choices.with_widths(self._latest, self.plan, widths)
            self._ask(asked, "widths")
            said = wording.widths_set(before, self.plan, widths, asked.locked)
            self._say(wording.joined(said, self._untrained))

    def read_recorded(self) -> None:
        """Set `recorded` to the run that ships for this network with these weights, if there is one."""
        if self.recorded is None:
            self.recorded = read_recorded(self.network, self.graph)

    @property
    def ended_run(self) -> Recorded | None:
        """The run that `supernet` is of."""
        found = self._search_desk.found
        if found is None:
            self.read_recorded()
        if found is None:
            return self.recorded
        assert isinstance(found.run, ChainRun)
        return Recorded(found.run)

    def supernet(self) -> Network | None:
        """The supernet of the search that has ended, else that of the recorded run, ready to be explored at full
        width; None if there is neither.
        """
        found = self._search_desk.found
        model = read_supernet(self.network) if found is None else found.network
        if model is None:
            return None
        name = self.network.name
        note = f"The supernet of a search over the widths of {name}: every width's first channels carry its answer."
        return replace(
            self.network, name=f"{name} supernet", model=model, source=None, trained=True, notes=(note,)
        )

    def _desk_of(self, kind: str) -> SearchDesk:
        require_name("kind of search", kind, KINDS)
        return self._search_desk if kind == "widths" else self._instance_search_desk

    def _search_of(self, kind: str) -> Search | None:
        require_name("kind of search", kind, KINDS)
        return self.search if kind == "widths" else self.instance_search

    @property
    def _running(self) -> str:
        """What runs, for a sentence that begins with it."""
        search = self.instance_search
        if search is None or search.state != "running":
            return "A search"
        return f"A training of {METHODS[search.method].label}"

    def _require_no_search(self) -> None:
        if self._search_runs:
            raise BadInput(
                f"{self._running} is running. Let it end, or stop it, before the network is trained."
            )

    def _searched(self, kind: str, search: Search, message: Message | None) -> None:
        """A report of a search's thread, under the state lock."""
        self.set_trait(KINDS[kind], search)
        if search.error:
            self.error = search.error
        if message is not None:
            self._say(message)


def _stopped(search: Search | None) -> Search | None:
    """What can be told of a search whose session ends."""
    if search is None or search.state != "running":
        return search
    return replace(search, state="stopped", seconds_left=None, resumable=True)
