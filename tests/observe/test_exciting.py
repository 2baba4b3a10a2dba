import numpy as np
import pytest
import torch

from explorer.errors import BadInput
from explorer.observe.exciting import least_exciting, most_exciting, peaks
from tests.networks import graph_of, untrained
from tests.observe.test_channels import hooked, images, number


def test_peaks_are_the_maxima_of_what_the_reader_is_given():
    graph, model, data = graph_of("resnet20"), untrained("resnet20"), images(60)
    rows = torch.arange(0, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(1))][:53]
    found = peaks(model, graph, number(graph, "stage2.0.conv1"), data, rows)  # in two batches
    given = hooked(model, "stage2.0.conv2", data.inputs(rows))
    assert found.dtype == np.float32
    assert found.shape == (53, 32)
    np.testing.assert_allclose(found, given.amax((2, 3)).numpy(), rtol=1e-4, atol=1e-6)


def test_the_most_and_the_least_exciting_rows():
    table = np.array([[0.0, 3.0], [2.0, 1.0], [5.0, 1.0], [2.0, 2.0]], dtype=np.float32)
    assert most_exciting(table, 0, 3).tolist() == [2, 1, 3]  # equal ones in the order of the rows
    assert least_exciting(table, 0, 2).tolist() == [0, 1]
    assert most_exciting(table, 1).tolist() == [0, 3, 1, 2]  # fewer than five
    assert least_exciting(table, 1).tolist() == [1, 2, 3, 0]


def test_no_images_are_refused():
    with pytest.raises(BadInput, match="at least one"):
        peaks(untrained("vgg"), graph_of("vgg"), 0, images(3), torch.zeros(0, dtype=torch.int64))


def test_a_check_that_raises_ends_the_work():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        peaks(untrained("vgg"), graph_of("vgg"), 0, images(3), torch.arange(3), stop)
