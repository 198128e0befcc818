import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_melt.data import load_dataset
from bench_melt.data.arrays import read_npy, read_npz
from tests.manifests import border
from tinyengine.errors import UserError

INPUT = border(1, 4, 4, 1)
X = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4, 1)
Y = np.arange(10) % 3


def save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_arrays_come_in_file_order_with_their_test_part(tmp_path: Path) -> None:
    data = load_dataset(
        save(tmp_path / "a.npz", x=X.view(np.int8), y=Y, x_test=X[:2].view(np.int8), y_test=Y[:2]),
        INPUT,
        3,
    )
    assert (len(data.x), len(data.x_test), data.classes) == (10, 2, 3)
    assert np.array_equal(data.x[7], X[7].view(np.int8))
    assert np.array_equal(data.y, Y)


def test_pictures_become_int8_by_subtracting_128(tmp_path: Path) -> None:
    data = load_dataset(save(tmp_path / "a.npz", x=X[..., 0], y=Y), INPUT, 3)
    assert data.x[9].dtype == np.int8
    assert np.array_equal(data.x[9].astype(int), X[9].astype(int) - 128)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_real_values_are_quantised_as_the_model_says(tmp_path: Path, dtype: Any) -> None:
    real = np.array([0.0, 1 / 64, -1 / 64, 0.5, 100.0, -100.0] + [0.0] * 10, dtype)
    path = save(tmp_path / "a.npz", x=real.reshape(1, 4, 4, 1), y=[0])
    x = load_dataset(path, border(1, 4, 4, 1, zero_point=3), 3).x[0]
    assert list(x.reshape(-1)[:6]) == [3, 4, 2, 19, 127, -128]  # halves away from zero


def test_a_folder_of_archives_is_one_data_set(tmp_path: Path) -> None:
    save(tmp_path / "1.npz", x=X[:4], y=Y[:4])
    save(tmp_path / "2.npz", x=X[4:], y=Y[4:])
    data = load_dataset(str(tmp_path), INPUT, 3)
    assert np.array_equal(data.y, Y)
    assert np.array_equal(data.x[5].astype(int), X[5].astype(int) - 128)
    save(tmp_path / "3.npz", x=X.astype(np.float32), y=Y)
    with pytest.raises(UserError, match="different dtypes: float32, uint8"):
        load_dataset(str(tmp_path), INPUT, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "has no array 'y'"),
        ({"y": Y}, "has no array 'x'"),
        ({"x": X, "y": Y, "x_test": X}, "only one of x_test and y_test"),
        ({"x": X[:, :3], "y": Y}, r"x has shape \(10, 3, 4, 1\); the model wants \(n, 4, 4, 1\)"),
        ({"x": np.float32(3), "y": Y}, r"x has shape \(\)"),
        ({"x": X[:0], "y": Y[:0]}, "x holds no samples"),
        ({"x": X.astype(np.int64), "y": Y}, "x has dtype int64; the model's own is i8"),
        ({"x": X > 3, "y": Y}, "x has dtype bool"),
        ({"x": X, "y": Y[:9]}, r"y has shape \(9,\); there are 10 samples"),
        ({"x": X, "y": Y.reshape(10, 1)}, r"y has shape \(10, 1\)"),
        ({"x": X, "y": Y + 0.5}, "y has dtype float64; labels must be integers"),
        ({"x": X, "y": Y + 1}, r"y\[2\] is 3 \(3 of 10 labels .*3 classes, 0..2"),
        ({"x": X, "y": Y - 1}, r"y\[0\] is -1"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 7}, r"y_test\[0\] is 7"),
        ({"x": X, "y": Y, "x_test": X[:, 1:], "y_test": Y}, r"x_test has shape"),
        ({"x": np.where(X == 99, np.nan, X), "y": Y}, r"x\[6\] holds values that are not finite"),
        ({"x": np.full(X.shape, np.inf), "y": Y}, r"10 of 10 samples"),
        ({"x": X.astype(object), "y": Y}, "not numbers"),
        ({"x": X.astype(np.complex64), "y": Y}, "not numbers"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, arrays: Any, message: str) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load_dataset(path, INPUT, 3)


def test_unknown_names_and_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data 'fashion' \(nearest: 'fashion-mnist'\)"):
        load_dataset("fashion", INPUT, 10)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(UserError, match="is not a .npz"):
        load_dataset(str(tmp_path / "a.csv"), INPUT, 10)
    (tmp_path / "a.npz").write_text("no archive")
    with pytest.raises(UserError, match="cannot read"):
        load_dataset(str(tmp_path / "a.npz"), INPUT, 10)
    with pytest.raises(UserError, match="not a classification"):
        load_dataset("random", INPUT, 0)


def test_an_array_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
    )
    (tmp_path / "x.npy").write_bytes(head.getvalue())
    with pytest.raises(UserError, match="claims 9223372036854775808 bytes of data"):
        read_npy(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue())
    with pytest.raises(UserError, match="claims"):
        read_npz(tmp_path / "x.npz", ("x",))


def test_damaged_files_never_raise_anything_but_a_user_error(tmp_path: Path) -> None:
    chance = random.Random(1)
    save(tmp_path / "good.npz", x=X, y=Y)
    np.save(tmp_path / "good.npy", X)
    for kind in ("npz", "npy"):
        good = (tmp_path / f"good.{kind}").read_bytes()
        for _ in range(300):
            bad = bytearray(good[: chance.randrange(1, len(good) + 1)])
            for _ in range(chance.randrange(4)):
                bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            path = tmp_path / f"bad.{kind}"
            path.write_bytes(bad)
            try:
                read_npz(path, ("x", "y")) if kind == "npz" else read_npy(path)
            except UserError as error:
                assert str(path) in str(error)
