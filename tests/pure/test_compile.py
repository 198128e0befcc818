"""`compile`: what it writes, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codegen.board import Board, load_board
from codegen.compile_model import CompileResult, compile_model
from codegen.manifest import load_manifest
from tinyengine.errors import BudgetError, UserError
from tinyengine.ir import text

NET = """
def net(t):
    x = t.input((16, 16, 3), 1 / 64, 0)
    x = t.conv(x, 8, kernel=3, stride=2, activation="relu", name="stem")
    y = t.conv(x, 8, kernel=1, name="point")
    x = t.add(x, y, name="join")
    return t.dense(t.mean(x), 4, name="classifier")
"""


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "net.py").write_text(NET)
    yield f"{tmp_path / 'net.py'}:net"


def compiled(model: str, out: Path, update: str = "full", board: str = "host") -> CompileResult:
    return compile_model(model, load_board(board), update, out)


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_folder_holds_what_the_tools_need(model: str, tmp_path: Path) -> None:
    result = compiled(model, tmp_path / "out")
    names = files(tmp_path / "out")
    for name in (
        "te_manifest.json",
        "graph.te",
        "infer.te",
        "report.html",
        "src/net.c",
        "src/net.h",
        "src/te_session_model.c",
    ):
        assert name in names
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.model, manifest.classes, manifest.trains) == ("net", 4, True)
    assert manifest.model_hash == result.compiled.hash
    assert manifest.arena_bytes == result.figures["arena_bytes"]
    graph = text.parse((tmp_path / "out/graph.te").read_text())
    assert [v.name for v in graph.state()] == [t.name for t in manifest.state]
    weights = manifest.scheme.weights
    assert weights == {"stem/weight": 1.0, "point/weight": 1.0, "classifier/weight": 1.0}


def test_equal_input_gives_equal_bytes(model: str, tmp_path: Path) -> None:
    compiled(model, tmp_path / "a")
    compiled(model, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_generated_text_holds_no_place_of_this_machine(model: str, tmp_path: Path) -> None:
    compiled(model, tmp_path / "out", board="qemu_mps2_an500")
    for name, content in files(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_ours_is_replaced_and_stale_sources_go(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compiled(model, out)
    before = set(files(out))
    (out / "notes.txt").write_text("mine")
    compiled(model, out, update="none")
    after = files(out)
    assert after["notes.txt"] == b"mine"
    assert any(n.startswith("src/te/te_sgd_s8") for n in before)
    assert not any(n.startswith("src/te/te_sgd_s8") for n in after)
    assert not load_manifest(out).trains


def test_a_folder_that_is_not_ours_is_left_alone(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("five years")
    with pytest.raises(UserError, match="is not empty and was not made by.*nothing was written"):
        compiled(model, out)
    assert files(out) == {"thesis.txt": b"five years"}


def test_a_file_in_the_way_is_named(model: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file; name a new or empty folder"):
        compiled(model, tmp_path / "out")


def small_board(ram_bytes: int) -> Board:
    board = load_board("qemu_mps2_an500")
    assert board.memory is not None
    memory = board.memory.model_copy(update={"ram_limit_bytes": ram_bytes})
    return board.model_copy(update={"memory": memory})


def test_over_budget_names_the_five_largest(model: str, tmp_path: Path) -> None:
    with pytest.raises(BudgetError) as caught:
        compile_model(model, small_board(1024), "full", tmp_path / "out")
    message = str(caught.value)
    assert re.search(r"needs \d+ B of arena and \d+ B for what learns", message)
    assert "has 1024 B of RAM" in message
    roomy = compiled(model, tmp_path / "roomy", board="qemu_mps2_an500")
    assert f"less than {roomy.figures['lower_bound_bytes']} B of arena" in message
    assert len(re.findall(r"of layer '", message)) == 5
    assert not (tmp_path / "out").exists()


def test_dump_dir_holds_every_stage(model: str, tmp_path: Path) -> None:
    compile_model(model, load_board("host"), "full", tmp_path / "out", dump_dir=tmp_path / "dump")
    stages = [p.name for p in sorted((tmp_path / "dump").iterdir())]
    assert [s.partition("-")[2] for s in stages] == [
        f"{s}.te"
        for s in (
            "import",
            "fold",
            "head",
            "backward",
            "prune",
            "update",
            "fuse",
            "simplify",
            "schedule-infer",
            "schedule-train",
        )
    ]
    for path in (tmp_path / "dump").iterdir():
        shown = path.read_text()
        assert text.write(text.parse(shown), data=False) == shown


def test_the_report_shows_the_plan(model: str, tmp_path: Path) -> None:
    result = compiled(model, tmp_path / "out")
    page = result.report.read_text()
    assert "<svg" in page and "Memory of one training step" in page
    for name, value in result.figures.items():
        assert name in page and f"{value:,}" in page
    plan = result.compiled.train
    assert plan is not None
    blocks = page.count('<rect class="')
    scratch = sum(s is not None for p in (plan, result.compiled.infer) for s in p.scratch)
    assert blocks == len(plan.slots) + len(result.compiled.infer.slots) + scratch


def test_names_from_the_user_cannot_inject_html(model: str, tmp_path: Path) -> None:
    scheme = tmp_path / "<b>bold.toml"
    scheme.write_text("[update]\nbiases = 1\n")
    page = compiled(model, tmp_path / "out", update=str(scheme)).report.read_text()
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page


def test_classes_give_a_fresh_head(model: str, tmp_path: Path) -> None:
    board = load_board("host")
    result = compile_model(model, board, "head", tmp_path / "a", classes=7, seed=1)
    other = compile_model(model, board, "head", tmp_path / "b", classes=7, seed=2)
    assert load_manifest(tmp_path / "a").output.shape == (1, 7)
    assert result.compiled.hash != other.compiled.hash


def test_the_manifest_is_json_that_scripts_can_read(model: str, tmp_path: Path) -> None:
    compiled(model, tmp_path / "out")
    table = json.loads((tmp_path / "out/te_manifest.json").read_text())
    assert table["board"] == "host"


@pytest.mark.parametrize(
    ("end", "shape"),
    [("t.dense(t.mean(x), 1)", (1, 1)), ("t.flatten(x)", (1, 256)), ("x", (1, 8, 8, 4))],
)
def test_a_model_without_logits_can_be_compiled_to_infer(
    tmp_path: Path, end: str, shape: tuple[int, ...]
) -> None:
    source = NET.replace('t.dense(t.mean(x), 4, name="classifier")', end).replace("8,", "4,")
    (tmp_path / "net.py").write_text(source)
    result = compiled(f"{tmp_path / 'net.py'}:net", tmp_path / "out", "none")
    manifest = load_manifest(result.directory)
    assert (manifest.output.shape, manifest.trains) == (shape, False)


def test_one_output_becomes_a_head_of_many_classes(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET.replace('4, name="classifier"', '1, name="score"'))
    model = f"{tmp_path / 'net.py'}:net"
    with pytest.raises(UserError, match="training needs one row of at least 2 logits"):
        compiled(model, tmp_path / "out", "bias")
    (tmp_path / "int8.toml").write_text('[update]\nhead = "int8"\n')
    for scheme in ("bias", str(tmp_path / "int8.toml")):
        result = compile_model(model, load_board("host"), scheme, tmp_path / "out", classes=3)
        manifest = load_manifest(result.directory)
        assert (manifest.classes, manifest.output.shape) == (3, (1, 3))


def test_float_gradients_without_a_floating_point_unit_are_warned_of() -> None:
    from codegen.compile_model import float_warning
    from tinyengine.update.scheme import load_scheme, with_gradients

    full, board = load_scheme("full"), load_board("qemu_mps2_an500")
    soft = board.model_copy(update={"name": "soft", "features": ("dsp",)})
    said = float_warning(full, soft)
    assert said is not None and "'soft' has no floating-point unit" in said and "s16" in said
    assert float_warning(full, board) is None
    assert float_warning(with_gradients(full, "s16"), soft) is None
    assert float_warning(load_scheme("none"), soft) is None
    assert float_warning(full, load_board("host")) is None


def test_a_core_without_dsp_instructions_is_told_that_it_gets_portable_kernels() -> None:
    from codegen.compile_model import portable_note

    board = load_board("qemu_mps2_an500")
    said = portable_note(board.model_copy(update={"name": "plain", "features": ("fpu",)}))
    assert said is not None and "'plain' has no DSP instructions" in said and "portable" in said
    assert not any(portable_note(load_board(b)) for b in ("host", board.name, "qemu_mps3_an547"))
