from explorer.evaluate.memo import Memo


def test_the_least_recently_used_is_forgotten_first() -> None:
    memo: Memo[int] = Memo(2)
    memo.put("a", 1)
    memo.put("b", 2)
    assert memo.get("a") == 1  # now b is the least recently used
    memo.put("c", 3)
    assert (memo.get("a"), memo.get("b"), memo.get("c")) == (1, None, 3)


def test_a_key_has_one_value_the_last_one() -> None:
    memo: Memo[int] = Memo(2)
    for value in range(3):
        memo.put("a", value)
    memo.put("b", 9)
    assert (memo.get("a"), memo.get("b")) == (2, 9)
