import json
from pathlib import Path

import pytest

from codegen.manifest import load_manifest, write_manifest
from tests.manifests import manifest
from tinyengine.errors import UserError


def test_a_manifest_reads_back_as_written(tmp_path: Path) -> None:
    (tmp_path / "te_manifest.json").write_text(write_manifest(manifest()))
    assert load_manifest(tmp_path) == manifest()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a folder that 'tinyengine-codegen compile' made"):
        load_manifest(tmp_path)
    with pytest.raises(UserError, match=r"not a folder that 'tinyengine-codegen compile' made"):
        load_manifest(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("[]", "not a JSON object"),
        ("{}", "format version None, this tool reads 1"),
        ('{"format_version": 1}', "is damaged: 'tool_version': field required"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "te_manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_manifest(tmp_path)


def test_a_wrong_hash_is_named(tmp_path: Path) -> None:
    table = json.loads(write_manifest(manifest()))
    table["model_hash"] = "nonsense"
    (tmp_path / "te_manifest.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="'model_hash'"):
        load_manifest(tmp_path)


def test_a_shape_with_a_negative_size_is_named(tmp_path: Path) -> None:
    table = json.loads(write_manifest(manifest()))
    table["input"]["shape"] = [1, -3]
    (tmp_path / "te_manifest.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match=r"'input.shape.1'"):
        load_manifest(tmp_path)
