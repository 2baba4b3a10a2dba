"""What the README says is so: figures, the commands, the Python example."""

import re
from pathlib import Path

import explorer
from explorer.zoo.networks import NETWORKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_networks_is_true():
    for name in NETWORKS:
        network = explorer.load(name)
        cost = explorer.cost(explorer.trace(network.model, network.example))
        card = (ROOT / "explorer" / "zoo" / "weights" / f"{name}.md").read_text()
        (accuracy,) = re.findall(r"\*\*([\d.]+ ?%)\*\*", card)
        row = f"| `{name}` | {accuracy} | {cost.params:,} | {cost.macs / 1e6:.1f} M |"
        assert row in README


def test_the_example_runs_as_it_is_printed(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quick = example.replace("epochs=1", "epochs=0")
    assert quick != example, "the example trains one epoch; the test leaves that out"
    exec(compile(quick, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "classifier 10" in printed
    assert "outputs (classes)" in printed


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    for part in ("-e '.[test]'", "-m pytest"):
        assert part in README
        assert part in script
