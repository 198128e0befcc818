"""MCUNet-5FPS from its .json and .npz, and what is said of broken ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.needs import package
from tinyengine.errors import ModelError
from tinyengine.importers import load_model
from tinyengine.ir.verify import Stage, verify
from tinyengine.sim.run import run

FILE = "data/models/mcunet-5fps.json"


def conv(c: int, k: int, side: int, **more: Any) -> dict[str, Any]:
    return {
        "in_channel": c,
        "out_channel": k,
        "kernel_size": [side, side],
        "x_scale": 0.02,
        "x_zero": 0,
        "y_scale": 0.02,
        "y_zero": 0,
        **more,
    }


def small() -> tuple[dict[str, Any], dict[str, Any]]:
    """A net of one block, as .json and .npz contents."""
    same = {"x_scale": 0.02, "x_zero": 0, "y_scale": 0.02, "y_zero": 0}
    block = {
        "pointwise1": None,
        "depthwise": conv(4, 4, 3, groups=4, depthwise=True),
        "pointwise2": conv(4, 4, 1),
        "residual": same,
    }
    net = {
        "input": {"shape": [1, 6, 6, 3]},
        "first_conv": conv(3, 4, 3),
        "blocks": [block],
        "feature_mix": None,
        "classifier": conv(4, 5, 1),
    }
    shapes = {
        "first_conv": (4, 3, 3, 3),
        "block0/depthwise": (4, 3, 3, 1),
        "block0/pointwise2": (4, 1, 1, 4),
        "classifier": (5, 1, 1, 4),
    }
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        arrays[f"{name}/weight"] = np.ones(shape, np.int8)
        arrays[f"{name}/bias"] = np.zeros(shape[0], np.int32)
        arrays[f"{name}/weight_scales"] = np.full(shape[0], 0.01, np.float32)
    return net, arrays


def save(folder: Path, net: Any, arrays: dict[str, Any]) -> str:
    (folder / "net.json").write_text(json.dumps(net))
    np.savez(folder / "net.npz", **arrays)
    return str(folder / "net.json")


def test_small_net(tmp_path: Path) -> None:
    graph = load_model(save(tmp_path, *small()))
    verify(graph, Stage.IMPORT)
    assert [n.layer for n in graph.nodes] == [
        "first_conv",
        "block0/depthwise",
        "block0/pointwise2",
        "block0/add",
        "pool",
        "classifier",
    ]
    assert graph.type("block0/depthwise/weight").shape == (1, 3, 3, 4)
    assert graph.meta["depthwise_layout"] == "ohw1"


def test_names_are_the_keys_of_the_npz(shared: Path) -> None:
    graph = load_model(str(shared / FILE))
    with np.load((shared / FILE).with_suffix(".npz")) as stored:
        keys = {name for name in stored.files if not name.endswith("/weight_scales")}
    assert keys == {v.name for v in graph.values.values() if v.name in keys}
    verify(graph, Stage.IMPORT)


@pytest.mark.parametrize(("picture", "label"), [("chelsea", 285), ("coffee", 967)])
def test_sees_the_cat_and_the_espresso(shared: Path, picture: str, label: int) -> None:
    package("skimage")
    from PIL import Image
    from skimage import data

    photo = getattr(data, picture)()
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = photo[top : top + side, left : left + side]
    resized = Image.fromarray(square).resize((128, 128), Image.Resampling.BILINEAR)
    x = (np.asarray(resized, np.int16) - 128).astype(np.int8)[None]
    graph = load_model(str(shared / FILE))
    assert run(graph, {"input": x})[graph.outputs[0]].reshape(-1).argmax() == label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, a: n["first_conv"].update(stride=0), r"first_conv.stride: input should be gr"),
        (lambda n, a: n.pop("blocks"), r"blocks: field required \(1 problem"),
        (lambda n, a: n["first_conv"].update(x_scale=-1), "first_conv.x_scale"),
        (lambda n, a: n["first_conv"].update(kernel_size=[9999, 1]), "first_conv.kernel_size"),
        (lambda n, a: n["input"].update(shape=[1, 10**9, 1, 1]), "input.shape"),
        (lambda n, a: n["classifier"].update(x_zero=3), "layer 'classifier' reads scale 0.02 from"),
        (lambda n, a: n["blocks"][0]["residual"].update(x_zero=3), "layer 'block0/add' reads"),
        (lambda n, a: a.pop("first_conv/bias"), "holds no 'first_conv/bias'"),
        (
            lambda n, a: a.update({"first_conv/bias": np.zeros(4)}),
            r"'first_conv/bias' in the .npz is float64 \(4,\), the .json asks for int32 \(4,\)",
        ),
        (
            lambda n, a: a.update({"first_conv/bias": np.array([None])}),
            "is not a valid .npz: Object arrays cannot be loaded",
        ),
        (
            lambda n, a: a["first_conv/weight_scales"].fill(np.nan),
            "weight scale nan of channel 0 times input scale 0.02",
        ),
    ],
)
def test_broken_nets(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], message: str
) -> None:
    net, arrays = small()
    change(net, arrays)
    with pytest.raises(ModelError, match=message):
        load_model(save(tmp_path, net, arrays))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"input": NaN}'])
def test_not_a_net_at_all(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, *small())
    Path(path).write_text(text)
    with pytest.raises(ModelError, match="is not an MCUNet model"):
        load_model(path)


def test_weights_missing_or_broken(tmp_path: Path) -> None:
    path = save(tmp_path, *small())
    (tmp_path / "net.npz").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(ModelError, match="'.*net.npz' is not a valid .npz"):
        load_model(path)
    (tmp_path / "net.npz").unlink()
    with pytest.raises(ModelError, match=r"no file '.*net.npz'; an MCUNet model is a .json and"):
        load_model(path)
