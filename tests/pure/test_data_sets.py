import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench_melt.data import load_dataset
from bench_melt.data.dataset import shuffled, visiting_order
from bench_melt.data.fake import fake_sample
from tests.manifests import border
from tests.needs import package
from tinyengine.errors import UserError

INPUT = border(1, 4, 4, 3)


def paint(path: Path, colour: tuple[int, ...] | int, mode: str = "RGB", side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), colour).save(path)


def test_class_folders_of_pictures_are_labelled_in_sorted_order(tmp_path: Path) -> None:
    for index in range(4):
        paint(tmp_path / "cat" / f"{index}.png", (200, 0, 0))
        paint(tmp_path / "dog" / f"{index}.jpg", 30, "L")
    paint(tmp_path / "eel" / "1.png", (9, 9, 9, 0), "RGBA")  # transparent: white ground
    (tmp_path / "eel" / "notes.txt").write_text("not a picture")
    data = load_dataset(str(tmp_path), INPUT, 3)
    assert sorted(data.y) == [0] * 4 + [1] * 4 + [2]
    assert list(data.y) != sorted(data.y)  # classes are mixed
    colours = {int(y): tuple(data.x[i][0, 0]) for i, y in enumerate(data.y)}
    assert colours == {0: (72, -128, -128), 1: (-98, -98, -98), 2: (127, 127, 127)}
    assert data.x[0].shape == (4, 4, 3)


def test_train_and_test_folders_are_taken_as_such(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for index in range(count):
            paint(tmp_path / part / "cat" / f"{index}.png", (1, 2, 3))
            paint(tmp_path / part / "dog" / f"{index}.png", (4, 5, 6))
    data = load_dataset(str(tmp_path), INPUT, 2)
    assert (len(data.x), len(data.x_test)) == (6, 4)
    paint(tmp_path / "test" / "cow" / "1.png", (1, 1, 1))
    with pytest.raises(UserError, match=r"has class 'cow', which"):
        load_dataset(str(tmp_path), INPUT, 2)


def test_bad_picture_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither .npz files nor a sub-folder"):
        load_dataset(str(tmp_path), INPUT, 2)
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        load_dataset(str(tmp_path), INPUT, 2)
    (tmp_path / "cat" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(UserError, match=r"cannot read picture .*1\.png"):
        load_dataset(str(tmp_path), INPUT, 2)
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=r"has 2 classes \(cat, dog\).*--classes 2"):
        load_dataset(str(tmp_path), INPUT, 1)
    with pytest.raises(UserError, match="holds pictures; the model's input of shape"):
        load_dataset(str(tmp_path), border(1, 64, 1, 6), 2)


def test_a_picture_larger_than_any_camera_takes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("1", (10000, 10000)).save(tmp_path / "cat" / "bomb.png")
    with pytest.raises(UserError, match="10000 x 10000 pixels"):
        load_dataset(str(tmp_path), INPUT, 2)


def test_samples_without_a_test_part_are_split_when_asked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 4, 4, 3), np.int8), y=np.arange(10))
    data = load_dataset(str(tmp_path / "a.npz"), INPUT, 10)
    assert (len(data.y), len(data.y_test)) == (10, 0)
    split = data.with_test()
    assert (len(split.y), len(split.x), len(split.y_test), len(split.x_test)) == (8, 8, 2, 2)
    assert sorted([*split.y, *split.y_test]) == list(range(10))
    assert list(split.y) == sorted(split.y)  # the rest keeps its order
    assert np.array_equal(split.y_test, data.with_test().y_test)
    assert split.with_test() is split
    np.savez(tmp_path / "b.npz", x=np.zeros((1, 4, 4, 3), np.int8), y=[0])
    with pytest.raises(UserError, match="has 1 sample and no test samples"):
        load_dataset(str(tmp_path / "b.npz"), INPUT, 10).with_test()


def test_the_visiting_order_is_the_files_or_a_seeded_one() -> None:
    assert list(visiting_order(5, 0)) == [0, 1, 2, 3, 4]
    assert sorted(visiting_order(100, 7)) == list(range(100))
    assert list(visiting_order(100, 7)) != list(visiting_order(100, 8))
    # the order is part of what makes a run repeatable: it may never change
    assert list(shuffled(8, 1)) == [0, 4, 7, 5, 6, 2, 1, 3]


def test_random_samples_are_those_that_devices_make() -> None:
    data = load_dataset("random", INPUT, 5)
    raw, label = fake_sample(0, 3, 48, 5)
    assert np.array_equal(data.x[3].reshape(-1), raw.view(np.int8))
    assert data.y[3] == label
    assert (len(data.x), len(data.x_test)) == (256, 64)
    assert np.array_equal(data.x_test[0].reshape(-1), fake_sample(0, 256, 48, 5)[0].view(np.int8))


def test_digits_and_faces_come_from_their_packages() -> None:
    package("sklearn")
    package("skimage")
    digits = load_dataset("digits", border(1, 8, 8, 1), 10)
    assert (len(digits.x), len(digits.x_test)) == (1438, 359)
    assert list(digits.x[0].reshape(-1)[:6]) == [-128, -128, -48, 79, 15, -112]
    faces = load_dataset("lfw", border(1, 25, 25, 3), 2)
    assert sorted({*map(int, faces.y)}) == [0, 1]
    assert (len(faces.y) + len(faces.y_test), faces.x[0].shape) == (200, (25, 25, 3))
    with pytest.raises(UserError, match=r"the model has 2 classes"):
        load_dataset("digits", border(1, 8, 8, 1), 2)


def test_gestures_are_windows_of_one_watch() -> None:
    package("seglearn")
    data = load_dataset("gestures", border(1, 64, 1, 6), 7)
    assert data.x[0].shape == (64, 1, 6)
    assert sorted({*map(int, data.y)}) == list(range(7)) == sorted({*map(int, data.y_test)})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        load_dataset("digits", border(1, 8, 8, 1), 10)
    with pytest.raises(UserError, match="pip install scikit-image"):
        load_dataset("lfw", border(1, 8, 8, 1), 10)
    with pytest.raises(UserError, match="pip install seglearn"):
        load_dataset("gestures", border(1, 64, 1, 6), 7)


def test_fashion_mnist_comes_from_its_debian_package() -> None:
    try:
        data = load_dataset("fashion-mnist", border(1, 32, 32, 3), 10)
    except UserError as error:
        assert "dataset-fashion-mnist" in str(error)
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    assert (len(data.x), len(data.x_test)) == (60000, 10000)
    assert list(data.y[:4]) == [9, 0, 0, 3]
    x = data.x[0]
    assert (x.shape, x.dtype) == ((32, 32, 3), np.int8)
    assert np.array_equal(x[..., 0], x[..., 2])
    assert (x.min(), x.max() > 100) == (-128, True)


def test_without_the_debian_package_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="Debian package 'dataset-fashion-mnist'"):
        load_dataset("fashion-mnist", border(1, 32, 32, 3), 10)
