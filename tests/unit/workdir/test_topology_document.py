"""The names of contexts and clusters in topology.yaml, which shell completion lists."""

from pathlib import Path

import pytest

from kubectl_mesh.errors import MeshError
from kubectl_mesh.workdir.topology_document import load_topology_document, read_context_names


def test_names_of_an_invalid_topology(tmp_path: Path) -> None:
    """Names are read without validation; a cluster without a valid clusterName has the context's."""
    (tmp_path / "topology.yaml").write_text(
        "contexts:\n  East_1: {netwerk: a}\n  west: {clusterName: w}\n  north: {clusterName: [n]}\n  south:\n"
    )
    names = {"East_1": "east-1", "west": "w", "north": "north", "south": "south"}
    assert read_context_names(str(tmp_path)) == names


def test_names_that_cannot_be_printed(tmp_path: Path) -> None:
    """A shell prints completions as they are: no name moves the cursor or adds a line."""
    (tmp_path / "topology.yaml").write_text(
        'contexts: {"a\\tb": {}, "c\\nd": {}, e: {clusterName: "f\\ng"}, h: {}}\n'
    )
    assert read_context_names(str(tmp_path)) == {"h": "h"}


@pytest.mark.parametrize("text", ["", "[a]", "contexts:", "contexts: [a]", "a: 1"])
def test_without_contexts(tmp_path: Path, text: str) -> None:
    """A document of another shape has no names."""
    (tmp_path / "topology.yaml").write_text(text)
    assert read_context_names(str(tmp_path)) == {}


def test_without_a_document(tmp_path: Path) -> None:
    """A missing file has no names, and a file that is not YAML is an error."""
    assert load_topology_document(str(tmp_path)) is None
    assert read_context_names(str(tmp_path)) == {}
    (tmp_path / "topology.yaml").write_text("contexts: {")
    with pytest.raises(MeshError):
        read_context_names(str(tmp_path))
