import numpy as np

from bench_melt.data.fake import fake_sample
from bench_melt.workloads.verification import find_difference

WEIGHT = np.arange(12, dtype=np.int8).reshape(3, 4)
BIAS = np.array([1.0, np.nan, 0.0], np.float32)
OURS = {"fc/weight": WEIGHT, "fc/bias": BIAS}


def test_the_first_element_that_differs_is_named() -> None:
    theirs = {"fc/weight": WEIGHT.copy(), "fc/bias": BIAS}
    theirs["fc/weight"][1, 2] = -7
    theirs["fc/weight"][2, 0] = -7
    found = find_difference(4, "host", OURS, theirs)
    assert (found.tensor, found.index, found.simulator, found.device) == (
        "fc/weight", (1, 2), 6, -7,
    )  # fmt: skip
    assert found.describe() == (
        "board 'host' parts from the simulator at step 4: 'fc/weight'[1, 2] is -7, "
        "the simulator has 6"
    )


def test_floats_are_compared_by_their_bits() -> None:
    theirs = {"fc/weight": WEIGHT, "fc/bias": np.array([1.0, np.nan, -0.0], np.float32)}
    found = find_difference(1, "host", OURS, theirs)
    assert (found.tensor, found.index) == ("fc/bias", (2,))
    theirs["fc/bias"] = np.array([1.0, 5.0, 0.0], np.float32)
    assert find_difference(1, "host", OURS, theirs).simulator == "nan"  # JSON has no NaN


def test_equal_tensors_with_another_hash_are_told_apart() -> None:
    found = find_difference(2, "host", OURS, dict(OURS))
    assert (found.tensor, found.index) == (None, None)
    assert "reports another hash" in found.describe()


def test_fake_samples_match_the_c_header() -> None:
    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    for seed, index in ((0, 0), (5, 11), (2**32 - 1, 7)):
        key = mix((mix(seed) + index) & 0xFFFFFFFF)
        data, label = fake_sample(seed, index, 5, 10)
        assert list(data) == [mix((key + i) & 0xFFFFFFFF) >> 24 for i in range(5)]
        assert label == mix(key ^ 0xA5A5A5A5) % 10
