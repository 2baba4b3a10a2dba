"""The command `pruning-explorer`: open the notebook, or prune a network and write it as files."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

import explorer
from explorer.allocate import ALLOCATIONS
from explorer.costs import COSTS
from explorer.criteria import CRITERIA
from explorer.data.named import NAMED
from explorer.errors import BadInput, ExplorerError, Interrupted, require_name
from explorer.evaluate import TrainingStep
from explorer.export import FORMATS, check_folder, check_formats, export, make_report, table
from explorer.strings import Message, Strings
from explorer.values import ChannelGraph, Plan, Proof, Recovery, Request
from explorer.zoo import Network
from explorer.zoo.built import sample_input
from explorer.zoo.loading import is_name
from explorer.zoo.networks import NETWORKS

PROVEN_IMAGES = 64
REFUSED, INTERRUPTED = 2, 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all our errors do."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}. See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own by default); returns its exit code.

    0: done. 2: refused or failed, said in one line on stderr. 130: interrupted. Nothing is written unless it
    is 0. `--help` and `--version` raise SystemExit.
    """
    try:
        arguments = _parser().parse_args(argv)
        if arguments.command == "prune":
            _prune(_job(arguments))
            return 0
        if arguments.command == "coverage":
            _coverage(arguments.network, _given(arguments), arguments.layers)
            return 0
        return _open(arguments)
    except (KeyboardInterrupt, Interrupted):
        _say("Interrupted: nothing was written.")
        return INTERRUPTED
    except ExplorerError as error:
        _say(f"pruning-explorer: {' '.join(str(error).split())}")
        return REFUSED


def _note(message: Message) -> None:
    _say(Strings().say(message))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pruning-explorer",
        description="Prune channels of convolutional networks, and see what it costs and what it saves.",
        epilog="Without a command it opens the explorer notebook in JupyterLab.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pruning-explorer {explorer.__version__}")
    parser.set_defaults(browser=True, port=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    notebook = commands.add_parser(
        "open",
        help="open the explorer notebook in JupyterLab",
        description="Open the explorer notebook in JupyterLab (an installed package copies it here first).",
        allow_abbrev=False,
    )
    notebook.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="start the server only; open its address yourself",
    )
    notebook.add_argument("--port", type=int, metavar="N", help="port of the server (default: Jupyter's)")
    coverage = commands.add_parser(
        "coverage",
        help="tell what of a network can be pruned, and why the rest cannot",
        description="Tell which layers and channels of a network can be pruned, why the others cannot, and how small "
        "the network can get. A network by name is taken without its weights.",
        allow_abbrev=False,
    )
    _add_network(coverage)
    coverage.add_argument("--layers", action="store_true", help="print a line for every layer, too")
    _add_prune(
        commands.add_parser(
            "prune",
            help="prune a network, measure it and write it as files",
            description="Cut channels, recover the weights, print dense against now, and write the result: weights "
            "(safetensors), widths (JSON), a Python file that rebuilds the network, a picture (SVG).",
            allow_abbrev=False,
        )
    )
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    """What `explorer.load` takes."""
    parser.add_argument(
        "network",
        metavar="NETWORK",
        help=f"a bundled network ({', '.join(NETWORKS)}), a classifier of torchvision (resnet18), a torch.export "
        "archive (.pt2), or package.module:name, your class or function that makes one without arguments; its module "
        "is imported, from this folder too",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of the network: safetensors or a state dict"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="images to judge it on: a folder of class folders or of images alone, or a data set that is downloaded "
        f"once ({', '.join(NAMED)}); a folder of such a name is ./NAME",
    )
    parser.add_argument(
        "--example", metavar="SHAPE", help="shape of an input where nothing else tells it, such as 1,3,32,32"
    )


def _add_prune(parser: argparse.ArgumentParser) -> None:
    _add_network(parser)
    parser.add_argument(
        "--rank",
        default="l1",
        metavar="BY",
        help=f"rank channels by: {', '.join(CRITERIA)} (default: l1)",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--keep-macs",
        dest="macs",
        type=float,
        metavar="SHARE",
        help="keep at most this share of the MACs, such as 0.5",
    )
    budget.add_argument(
        "--keep-params", dest="params", type=float, metavar="SHARE", help="... of the parameters"
    )
    budget.add_argument(
        "--keep-channels",
        dest="channels",
        type=float,
        metavar="SHARE",
        help="... of the channels that can be pruned",
    )
    parser.add_argument(
        "--share",
        default="global",
        metavar="HOW",
        help=f"share the cut between layers: {', '.join(ALLOCATIONS)} (default: global)",
    )
    parser.add_argument(
        "--multiple",
        type=int,
        default=1,
        metavar="N",
        help="widths in multiples of N channels, such as 8 for phones, or whole (default: 1)",
    )
    parser.add_argument(
        "--recover",
        default="bn",
        metavar="HOW",
        help="after cutting: none; merge (needs no images); refit or refit_sequential (by least squares, layer after "
        "layer); bn (new statistics of batch norm) or epochs of training, alone or after a repair, as in refit+bn and "
        "refit+1 (default: bn)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of training, and of ranking at random (default: 0)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the files; made if it is not there"
    )
    parser.add_argument(
        "--formats",
        default="network",
        metavar="LIST",
        help=f"what to write, with commas: {', '.join(FORMATS)} (default: network, the weights, widths, Python file "
        "and picture; onnx is an ONNX model, archive one of torch.export)",
    )


def _open(arguments: argparse.Namespace) -> int:
    from explorer.launch import open_notebook

    if arguments.port is not None and not 1 <= arguments.port <= 65535:
        raise BadInput(f"Port {arguments.port} is out of range: 1 to 65535.")
    return open_notebook(Path.cwd(), browser=arguments.browser, port=arguments.port)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `explorer.load` is given beside the network. Raises BadInput."""
    given = {name: getattr(arguments, name) for name in ("weights", "data", "example")}
    if (text := given["example"]) is not None:
        sides = text.split(",")
        if not all(side.strip().isascii() and side.strip().isdigit() and int(side) for side in sides):
            raise BadInput(f"--example is {text!r}; expected whole numbers with commas, such as 1,3,32,32.")
        given["example"] = sample_input(tuple(map(int, sides)))
    return {name: value for name, value in given.items() if value is not None}


def _coverage(name: str, given: dict[str, Any], layers: bool) -> None:
    by_name: dict[str, Any] = {"weights": None} if is_name(name) else {}  # weights do not matter here
    network = explorer.load(name, **by_name | given)
    found = explorer.coverage(explorer.trace(network.model, network.example))
    print(found, *(["", found.table()] if layers else []), sep="\n")


@dataclass(frozen=True)
class _Job:
    network: str
    given: dict[str, Any]
    request: Request
    folder: Path
    formats: tuple[str, ...]


def _job(arguments: argparse.Namespace) -> _Job:
    """What to do, checked as far as can be before any work. Raises ExplorerError."""
    require_name("criterion", arguments.rank, CRITERIA)
    require_name("allocation", arguments.share, ALLOCATIONS)
    cost = next(name for name in COSTS if getattr(arguments, name) is not None)
    keep = getattr(arguments, cost)
    if not 0 < keep <= 1:
        raise BadInput(f"--keep-{cost} must be a share above 0 and up to 1 (0.5 keeps half), not {keep:g}.")
    if not 0 <= arguments.seed < 2**63:
        raise BadInput(f"--seed must be a whole number from 0 on, not {arguments.seed}.")
    if arguments.multiple < 1:
        raise BadInput(f"--multiple must be a whole number from 1 on, not {arguments.multiple}.")
    recovery = Recovery.parse(arguments.recover)
    check_folder(arguments.out)
    formats = tuple(name.strip() for name in arguments.formats.split(","))
    check_formats(formats)
    request = Request(
        arguments.rank,
        arguments.share,
        cost,
        keep,
        recovery=recovery,
        seed=arguments.seed,
        multiple=arguments.multiple,
    )
    return _Job(arguments.network, _given(arguments), request, arguments.out, formats)


def _prune(job: _Job) -> None:
    request = job.request
    network = explorer.load(job.network, **job.given)
    for note in network.notes:
        _say(note)
    _require_images(network, request)
    _say(f"Ranking the channels of {network.name}…")
    graph = explorer.trace(network.model, network.example)
    by_error = request.allocation == "error"
    scores = explorer.score(network, graph, request.criterion, seed=request.seed, errors=by_error)
    plan = explorer.allocate(
        graph, scores, request.keep, request.cost, request.allocation, multiple=request.multiple
    )
    _say("Cutting and proving the cut…")
    proof = _proven(network, graph, plan)
    model = _recovered(network, graph, plan, request)
    _say("Measuring accuracy and latency…")
    report = make_report(network, graph, plan, model, request, proof)
    title = network.name if network.data is None else f"{network.name} on {network.data.name}"
    paths = export(job.folder, network, graph, plan, model, report, job.formats, _note)
    print(table(report, title), "", "Written:", *(f"  {path}" for path in paths.values()), sep="\n")


def _require_images(network: Network, request: Request) -> None:
    """Raise BadInput, in options of this command, where images are needed that there are not."""
    data, code = network.data, request.recovery.code
    if data is None and CRITERIA[request.criterion].needs_data:
        weights_only = [name for name, rule in CRITERIA.items() if not rule.needs_data]
        raise BadInput(
            f"--rank {request.criterion} looks at images, and {network.name} has none here. Pass --data, or --rank "
            f"with one of: {', '.join(weights_only)}."
        )
    if code not in ("none", "merge") and (data is None or data.train is None):
        raise BadInput(
            f"--recover {code} needs training images, and {network.name} has none here. Pass --data, a data set by "
            "name or a folder with train and val in it; or --recover none, or merge."
        )


def _proven(network: Network, graph: ChannelGraph, plan: Plan) -> Proof:
    """The proof on explore images. Raises ExplorerError if it fails."""
    data = network.data
    images = network.example if data is None else data.explore.inputs(slice(0, PROVEN_IMAGES))
    proof = explorer.prove(network.model, graph, plan, images)
    if not proof.ok:
        raise ExplorerError(
            f"The cut of {network.name} failed its proof: the shrunk network's logits are up to "
            f"{proof.max_difference:.1e} from the masked one's, at a scale of {proof.scale:.3g}"
            f"{f' ({proof.note})' if proof.note else ''}. Nothing was "
            "written. This is a fault of the explorer: please report it."
        )
    return proof


def _recovered(network: Network, graph: ChannelGraph, plan: Plan, request: Request) -> nn.Module:
    terminal = sys.stderr.isatty()

    def progress(event: TrainingStep) -> None:
        last = event.step == event.of
        if terminal:
            end = "\n" if last else ""
            print(
                f"\rtraining: step {event.step} of {event.of}, loss {event.loss:.3f}",
                end=end,
                file=sys.stderr,
                flush=True,
            )
        elif last or event.step % max(event.of // 10, 1) == 0:
            _say(f"training: step {event.step} of {event.of}, loss {event.loss:.3f}")

    recovery = request.recovery
    repaired = recovery.repair != "none"  # which compares with the network before the cut, and cuts by itself
    return explorer.recover(
        network.model if repaired else explorer.shrink(network.model, graph, plan),
        network.data,
        bn=recovery.bn,
        epochs=recovery.epochs,
        seed=request.seed,
        progress=progress,
        repair=recovery.repair,
        graph=graph,
        plan=plan,
    )
