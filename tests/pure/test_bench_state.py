from pathlib import Path

import numpy as np
import pytest

from bench_melt.state import check_writable, save_npz
from codegen.graphs import load_train_graph
from tinyengine.errors import UserError


def test_equal_states_give_equal_files(tmp_path: Path) -> None:
    arrays = {"block1/conv/weight": np.arange(6, dtype=np.int8).reshape(2, 3),
              "fc/bias": np.float32([1, 2])}  # fmt: skip
    for name in ("a", "b"):  # the name is taken as it is, with or without .npz
        save_npz(tmp_path / name, arrays)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a", allow_pickle=False) as read:
        assert list(read) == list(arrays)
        assert all(np.array_equal(read[k], v) and read[k].dtype == v.dtype
                   for k, v in arrays.items())  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.npz")
    with pytest.raises(UserError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        check_writable(tmp_path / "absent" / "new.npz")


def test_a_damaged_training_graph_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read '.*graph.te'.*compile the model again"):
        load_train_graph(tmp_path)
    (tmp_path / "graph.te").write_text("nonsense\n")
    with pytest.raises(UserError, match="is damaged"):
        load_train_graph(tmp_path)
