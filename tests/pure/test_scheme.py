"""Update schemes: what is read, and every message for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES
from tinyengine.compiled import find_head_layer, prepare
from tinyengine.errors import SchemeError
from tinyengine.importers.net import Net
from tinyengine.ops.sgd import Rounding
from tinyengine.update.scheme import (
    Scheme,
    load_scheme,
    parse_scheme,
    resolve,
    shipped_schemes,
    with_gradients,
)

BAD = {
    "update = 3": "must hold one table",
    "[update": "not valid TOML",
    "[update]\nbiasses = 3": "unknown key 'biasses'; did you mean 'biases'",
    "[update]\nbiases = -1": "biases must be a count >= 0 or a list",
    "[update]\nbiases = 1073741824": "biases must be a count >= 0 or a list",
    "[update]\nbiases = true": "biases must be a count >= 0 or a list",
    "[update]\nhead = 'bf16'": "head = 'bf16' is not one of float32, int8, frozen",
    "[update]\nrounding = 'up'": "rounding = 'up' is not one of nearest, stochastic, master16",
    "[update]\ngradients = 's4'": "gradients = 's4' is not one of f32",
    "[update]\noptimizer = 'adam'": "optimizer = 'adam' is not one of sgd",
    "[update]\naccumulate = 0": "accumulate must be in 1..65536, is 0",
    "[update]\nweights = 3": "weights must be a table",
    "[update.weights]\nstem = 0.0": "ratio of layer 'stem' must be in (0, 1], is 0.0",
    "[update.weights]\nstem = 1.5": "ratio of layer 'stem' must be in (0, 1], is 1.5",
    "[update.weights]\nstem = nan": "ratio of layer 'stem' must be in (0, 1], is nan",
    "[update.weights]\nstem = 'half'": "ratio of layer 'stem' must be in (0, 1], is 'half'",
}


@pytest.mark.parametrize("toml", BAD)
def test_what_is_wrong_is_said(toml: str) -> None:
    with pytest.raises(SchemeError, match=re.escape(BAD[toml])):
        parse_scheme("mine", toml)


def resolved(toml: str) -> object:
    case = next(c for c in CASES if c.name == "residual")
    scheme = parse_scheme("mine", toml)
    graph = prepare(case.graph(), load_scheme("full")).forward
    return resolve(scheme, graph, find_head_layer(graph))


def test_unknown_layer_offers_the_nearest() -> None:
    with pytest.raises(
        SchemeError, match="names layer 'stm', which the model does not have; did you mean 'stem'"
    ):
        resolved("[update.weights]\nstm = 0.5")


def test_too_many_biases_tells_the_count() -> None:
    with pytest.raises(SchemeError, match=r"wants the last 99 biases; the model has \d+ layers"):
        resolved("[update]\nbiases = 99")


def test_the_head_is_not_a_layer_of_the_table() -> None:
    with pytest.raises(SchemeError, match="layer 'classifier' is the head"):
        resolved("[update.weights]\nclassifier = 0.5")


def test_a_layer_without_parameters_cannot_learn() -> None:
    with pytest.raises(SchemeError, match="has no tensor that can learn"):
        resolved("[update]\nbiases = ['join']")


def test_no_such_scheme_lists_what_there_is() -> None:
    with pytest.raises(SchemeError, match="no update scheme 'biass'.*did you mean 'bias'"):
        load_scheme("biass")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[update]\nbiases = 2\nrounding = 'nearest'\n[update.weights]\nstem = 1\n")
    scheme = load_scheme(str(path))
    assert (scheme.name, scheme.biases, scheme.rounding) == ("mine", 2, Rounding.NEAREST)
    assert scheme.weights == {"stem": 1.0}


def test_five_examples_ship() -> None:
    assert list(shipped_schemes()) == [
        f"mcunet-5fps-{n}kb" for n in sorted(("49", "74", "99", "124", "148"))
    ]
    assert load_scheme("49kb") == load_scheme("mcunet-5fps-49kb")


def test_gradient_format_can_be_overridden() -> None:
    scheme = load_scheme("head")
    assert with_gradients(scheme, None) is scheme
    assert with_gradients(scheme, "s16").gradients == "s16"
    with pytest.raises(SchemeError, match="gradient format 's4' is not one of f32, s16, s8"):
        with_gradients(scheme, "s4")


def chosen(weight: np.ndarray, ratio: float) -> tuple[int, ...]:
    net = Net("net")
    x = net.input((1, 1, weight.shape[3]), 1 / 64, 0)
    x = net.conv(x, weight=weight, weight_scale=np.float32([1.0, 0.01]), name="point")
    graph = net.graph(net.dense(net.mean(x), 2, name="head"))
    return resolve(Scheme("s", weights={"point": ratio}), graph, "head").weights["point/weight"]


def test_the_channels_of_largest_real_norm_learn() -> None:
    # by integers channel 0 would be largest: its large value has the small scale
    weight = np.int8([[3, 9, 1, 9, 7], [127, 0, 100, 0, 0]]).reshape(2, 1, 1, 5)
    assert chosen(weight, 0.4) == (1, 3)
    assert chosen(weight, 0.2) == (1,), "ties go to the lower index"
    assert chosen(weight, 0.5) == (1, 3, 4), "2.5 channels round up"
    assert chosen(weight, 0.01) == (1,), "at least one"
    assert chosen(weight, 1.0) == (0, 1, 2, 3, 4)
