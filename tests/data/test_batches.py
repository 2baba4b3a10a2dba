import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.data.batches import split_evenly


@given(st.integers(0, 400), st.integers(1, 150))
def test_parts_keep_the_order_are_even_and_as_few_as_possible(rows: int, batch: int) -> None:
    parts = split_evenly(torch.arange(rows), batch)
    assert [int(row) for part in parts for row in part] == list(range(rows))
    sizes = [len(part) for part in parts]
    assert all(0 < size <= batch for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert (len(parts) - 1) * batch < rows or rows == 0
