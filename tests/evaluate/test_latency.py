import pytest
import torch
from torch import Tensor, nn

from explorer.errors import BadInput
from explorer.evaluate.latency import WARM_UP, measure_latency
from tests.evaluate.toys import Toy, fingerprint

EXAMPLE = torch.zeros(1, 1, 6, 6)


class Watched(Toy):
    """Remembers the batches it was called with, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((len(x), self.training, torch.is_inference_mode_enabled()))
        return super().forward(x)


def test_it_runs_the_batch_in_eval_and_inference_mode_after_a_warm_up() -> None:
    model = Watched()
    measure_latency(model, EXAMPLE, batch=5, runs=4)
    assert model.calls == [(5, False, True)] * (WARM_UP + 4)
    assert not torch.is_inference_mode_enabled()


def test_median_and_quartiles_are_those_of_the_runs(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [5.0, 1.0, 2.0, 4.0, 3.0]
    clock = iter([time for i, s in enumerate(seconds) for time in (100.0 * i, 100.0 * i + s)])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    measured = measure_latency(model, EXAMPLE, batch=2, runs=5)
    assert (measured.low, measured.median, measured.high) == (2.0, 3.0, 4.0)
    assert (measured.batch, measured.runs) == (2, 5)


def test_the_model_is_left_as_found(model: nn.Module) -> None:
    model.train()
    found, threads = fingerprint(model), torch.get_num_threads()
    measure_latency(model, EXAMPLE, batch=1, runs=1)
    assert fingerprint(model) == found
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("wrong", [0, "1", 1.5, None, True])
@pytest.mark.parametrize("number", ["batch", "runs"])
def test_nothing_to_measure_is_refused(model: nn.Module, number: str, wrong: object) -> None:
    with pytest.raises(BadInput, match=f"{number} must be a whole number, at least 1, not {wrong!r}"):
        measure_latency(model, EXAMPLE, **{"batch": 1, "runs": 1, number: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("example", [None, [[0.0]], torch.tensor(1.0), torch.zeros(0, 1, 6, 6)])
def test_an_example_that_is_no_input_is_refused(model: nn.Module, example: object) -> None:
    with pytest.raises(BadInput, match=r"The example is empty|An example input is"):
        measure_latency(model, example, batch=1)  # type: ignore[arg-type]


def test_an_example_of_the_wrong_shape_is_refused(model: nn.Module) -> None:
    with pytest.raises(BadInput, match=r"\(2, 3, 6, 6\)"):
        measure_latency(model, torch.zeros(1, 3, 6, 6), batch=2)
