"""Write the tables of docs/manidp.md from the recorded run.

    python scripts/manidp_tables.py

What stands between `<!-- recorded: NAME -->` and `<!-- end -->` is replaced: "effects", a row for every way of
training, and "rivals", a row for every network beside them. Nothing is trained or measured. Run it after
`record.py`.
"""

import math
from pathlib import Path

import explorer
from explorer.instances import Effect, InstanceEvidence, Rival
from explorer.methods.recording import read_recorded
from explorer.values import wilson_interval

PAGE = Path(__file__).parents[1] / "docs" / "manidp.md"
EFFECTS = "| training | MACs (least to most) | right (95 % interval) | ρ | easiest fifth | hardest | alike | apart |"
RIVALS = "| network | MACs | right (95 % interval) |"
CALLED = {
    "whole": "all terms",
    "no_similarity": "γ = 0",
    "strong_similarity": "γ = 0.3",
    "no_sparsity": "λ' = 0",
    "uniform": "uniform weight",
    "strong_sparsity": "λ' = 0.2",
    "strong_uniform": "λ' = 0.2, uniform weight",
    "fbs": "FBS",
    "dense": "dense",
    "longer": "dense, trained for as long",
    "static": "one pruned network for all images, trained for as long",
}


def share(value: float) -> str:
    return f"{value:.1%}"


def right(accuracy: float, images: int) -> str:
    """Accuracy in percent with its 95 % Wilson interval."""
    low, high = wilson_interval(round(accuracy * images), images)
    return f"{accuracy:.2%} ({low:.1%} to {high:.1%})"


def number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def effect_row(effect: Effect) -> str:
    easy, hard = effect.by_quintile
    cells = [
        f"`{effect.name}`: {CALLED[effect.name]}",
        f"{share(effect.mean_share)} ({share(effect.macs.min())} to {share(effect.macs.max())})",
        right(effect.accuracy, len(effect.right)),
        number(effect.correlation),
        share(easy),
        share(hard),
        number(effect.agreement),
        number(effect.apart),
    ]
    return f"| {' | '.join(cells)} |"


def rival_row(rival: Rival) -> str:
    cells = [f"`{rival.name}`: {CALLED[rival.name]}", share(rival.share), right(rival.accuracy, rival.images)]
    return f"| {' | '.join(cells)} |"


def filled(text: str, evidence: InstanceEvidence) -> str:
    """The page with its tables filled; raises ValueError where a table's place is not in it."""
    rows = {
        "effects": (EFFECTS, [effect_row(each) for each in evidence.effects]),
        "rivals": (RIVALS, [rival_row(each) for each in evidence.rivals]),
    }
    for name, (head, lines) in rows.items():
        before, found, rest = text.partition(f"<!-- recorded: {name} -->\n")
        _old, ended, after = rest.partition("<!-- end -->")
        if not found or not ended:
            raise ValueError(f"{PAGE.name} has no place for the table {name}.")
        rule = "|" + "---|" * (head.count("|") - 1)
        text = before + found + "\n".join([head, rule, *lines]) + "\n" + ended + after
    return text


def main() -> None:
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    recorded = read_recorded(network, graph, "manidp")
    if recorded is None or recorded.evidence is None:
        raise SystemExit("No recorded run is of these weights: python -m scripts.record manidp resnet20")
    evidence = recorded.evidence
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), evidence), encoding="utf-8")
    print(f"{PAGE.name}: {len(evidence.effects)} trainings, {len(evidence.rivals)} networks beside them")


if __name__ == "__main__":
    main()
