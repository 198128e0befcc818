from bench_melt.workloads.counting import Tally, make_profile
from codegen.manifest import MarkedLayer

LAYERS = (
    MarkedLayer(layer="stem", op="conv2d", phase="forward"),
    MarkedLayer(layer="fc", op="linear", phase="forward"),
    MarkedLayer(layer="fc", op="softmax_xent", phase="loss"),
    MarkedLayer(layer="fc", op="linear_bwd_weight", phase="weight_gradient"),
    MarkedLayer(layer="fc", op="sgd_f32", phase="update"),
    MarkedLayer(layer="fc", op="sgd_f32", phase="update"),
)


def test_a_step_counts_from_its_first_mark_to_its_last() -> None:
    tally = Tally.of(LAYERS)
    assert tally.mean_total() is None
    tally.add([100, 110, 130, 131, 141, 146, 150])
    tally.add([200, 211, 230, 231, 241, 246, 251])
    assert tally.mean_total() == 50  # of 50 and 51, to even
    tally.add([1, 2])  # not a whole step
    assert tally.runs == 2


def test_pieces_of_a_fed_input_belong_to_the_first_layer() -> None:
    tally = Tally.of(LAYERS[:2], fed=True)
    tally.add([100, 130, 900, 940, 2000, 2001, 2010])  # 30 and 40, then the layers
    assert list(tally.intervals) == [71, 9]
    tally.add([2000, 2001, 2010])  # its pieces are missing
    tally.add([900, 2000, 2001, 2010])  # half a pair
    assert tally.runs == 1
    whole = Tally.of(LAYERS[:2])
    whole.add([100, 130, 2000, 2001, 2010])
    assert whole.runs == 0


def test_a_counter_of_32_bits_may_wrap() -> None:
    tally = Tally.of(LAYERS[:2])
    tally.add([2**32 - 5, 5, 25], wraps_at=2**32)
    assert list(tally.intervals) == [10, 20]


def test_a_profile_sums_by_layer_and_phase() -> None:
    tally = Tally.of(LAYERS)
    assert make_profile("instructions", LAYERS, tally) is None
    tally.add([100, 110, 130, 131, 141, 146, 150])
    tally.add([100, 112, 130, 131, 141, 146, 150])
    profile = make_profile("instructions", LAYERS, tally)
    assert profile is not None
    assert profile.as_json() == {
        "unit": "instructions",
        "layers": [
            {"layer": "stem", "forward": 11, "loss": 0, "input_gradient": 0,
             "weight_gradient": 0, "update": 0},
            {"layer": "fc", "forward": 19, "loss": 1, "input_gradient": 0,
             "weight_gradient": 10, "update": 9},
        ],
    }  # fmt: skip
    assert [row.total for row in profile.rows] == [11, 39]
