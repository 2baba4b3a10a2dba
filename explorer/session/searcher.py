"""What a session knows of searches over widths: it begins and ends them, and uses what they find."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from explorer.chains import Recorded
from explorer.errors import BadInput
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


@dataclass(frozen=True, eq=False)
class Carried:
    """What a session hands to a later one over the same network: its search, with what that found or can go on from,
    and the recorded run.
    """

    search: Search | None = None
    job: Job | None = None
    recorded: Recorded | None = None


class Searcher(Answering):
    """One search at a time, and none while a training runs: both would take the same processor."""

    def __init__(
        self, network: Network, history: History | None = None, carried: Carried | None = None
    ) -> None:
        super().__init__(network, history)
        self._search_desk = SearchDesk(network, self.graph, self._searched, self._state)
        if carried is not None:
            self._search_desk.job = carried.job
            self.search, self.recorded = carried.search, carried.recorded

    @property
    def carried(self) -> Carried:
        """What a later session over this network can be given; a search that runs is in it as a stopped one."""
        with self._state:
            search = self.search
            if search is not None and search.state == "running":
                search = replace(search, state="stopped", seconds_left=None, resumable=True)
            return Carried(search, self._search_desk.job, self.recorded)

    def start_search(self, method: str = "dmcp", **settings: object) -> None:
        """Begin a search beside the explorer; `search` tells how far it is.

        `settings` as the method declares them. What was begun before with the same weights, images and settings
        goes on from its last snapshot, also one of another session. Raises UnknownName and BadInput for what the
        method does not take, without training images with labels, and while another search or a training runs; a
        target out of reach is told by `search` and the status line.
        """
        self._require_open()
        key = search_key(self.network, self.graph, method, **settings)
        chosen = asdict(checked(method, METHODS[method].settings, settings))
        with self._state:
            self._require_open()
            if self._search_runs:
                raise BadInput("A search is running. Stop it before another one begins.")
            if self.training is not None and not self.training.ready:
                raise BadInput(
                    "The network is being trained. Let it end, or stop it, before a search begins."
                )
            self.error = ""
            # Told once it runs, so that whoever interrupts an observer of it stops no more than that.
            self.search = self._search_desk.start(key, method, chosen)

    def stop_search(self) -> None:
        """End the search after its current step; it can be resumed. Nothing happens if none runs."""
        with self._state:
            if self._search_runs:
                self._say(Message("search_stopping"))
                self._search_desk.stop()

    def resume_search(self) -> None:
        """Go on with the search that was stopped or failed. Raises BadInput if there is none."""
        search = self.search
        if search is None or not search.resumable:
            raise BadInput("There is no search to go on with. Begin one with start_search().")
        self.start_search(search.method, **search.settings)

    def drop_search(self) -> None:
        """Forget the search and what it found."""
        with self._state:
            try:
                self._search_desk.forget()
            finally:
                self.search = None

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
        return self.recorded if found is None else Recorded(found.run)

    def supernet(self) -> Network | None:
        """The supernet of the search that has ended, else that of the recorded run, ready to be explored at full
        width; None if there is neither.
        """
        found = self._search_desk.found
        model = read_supernet(self.network) if found is None else found.supernet
        if model is None:
            return None
        name = self.network.name
        note = f"The supernet of a search over the widths of {name}: every width's first channels carry its answer."
        return replace(
            self.network, name=f"{name} supernet", model=model, source=None, trained=True, notes=(note,)
        )

    def _require_no_search(self) -> None:
        if self._search_runs:
            raise BadInput("A search is running. Let it end, or stop it, before the network is trained.")

    def _searched(self, search: Search, message: Message | None) -> None:
        """A report of the search's thread, under the state lock."""
        self.search = search
        if search.error:
            self.error = search.error
        if message is not None:
            self._say(message)
