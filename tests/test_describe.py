"""`kubectl mesh describe` as a table, and how many remote secrets are declared, rendered and committed."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import broken
import pytest
from conftest import Run, WorkDir

Make = Callable[..., WorkDir]


@pytest.fixture
def mesh(tmp_path: Path, run: Run) -> WorkDir:
    """Three clusters, rendered."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    broken.make(made, names=("a", "b", "c"))
    made.topology({"secrets": {"store": "plain"}})
    assert run("render", cwd=made).code == 0
    return made


def counts(run: Run, mesh: WorkDir) -> list[tuple[int, int, int | None]]:
    """Of each cluster."""
    value = json.loads(run("describe", "-o", "json", cwd=mesh).out)
    return [(c["counts"]["declared"], c["counts"]["rendered"], c["counts"]["committed"]) for c in value["clusters"]]


def git(mesh: WorkDir, *words: str) -> None:
    """A command of git."""
    subprocess.run(["git", "-C", mesh, "-c", "user.name=t", "-c", "user.email=t@example.com", *words], check=True, capture_output=True)


def test_table(mesh: WorkDir, run: Run) -> None:
    """A line for each cluster: network, version, days left, counts, gateways, state."""
    ran = run("describe", "-o", "table", cwd=mesh)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "CLUSTER  NETWORK  ISTIO   CERT  SECRETS  GATEWAYS  TREE",
        "a        net-0    1.31.3  729d  2/2/-    by label  up to date",
        "b        net-0    1.31.3  729d  2/2/-    by label  up to date",
        "c        net-1    1.31.3  729d  2/2/-    by label  up to date",
        "",
        "root O=acme, CN=Root CA: 3649 days left",
        "3 clusters, 2 networks, 0 things pending",
        "SECRETS: remote secrets declared/rendered/committed; CERT: days left",
    ]
    one = run("describe", "-o", "table", "--cluster", "b", cwd=mesh).out.splitlines()
    assert [line.split()[0] for line in one[:2]] == ["CLUSTER", "b"]
    assert one[2] == ""
    assert "1 of 3 clusters, 1 of 2 networks, 0 things pending" in one
    assert run("describe", "--cluster", "b", "--cluster", "c", cwd=mesh).out.startswith("mesh acme: 2 of 3 clusters, 2 networks, ")


def test_counts(mesh: WorkDir, run: Run) -> None:
    """Declared by the topology, rendered in the tree, committed in HEAD."""
    assert counts(run, mesh) == [(2, 2, None)] * 3
    git(mesh, "init", "-q")
    assert counts(run, mesh) == [(2, 2, None)] * 3
    (mesh / "out/a/3-mesh/remote-secrets/b.yaml").unlink()
    git(mesh, "add", "-A")
    git(mesh, "commit", "-qm", "one")
    assert counts(run, mesh) == [(2, 1, 1), (2, 2, 2), (2, 2, 2)]
    assert run("render", cwd=mesh).code == 0
    mesh.topology({"contexts": {"c": {"peers": ["a"]}}})
    assert counts(run, mesh) == [(2, 2, 1), (2, 2, 2), (1, 2, 2)]
    # A tree that is elsewhere, and not there yet.
    value = json.loads(run("describe", "-o", "json", "--out", "elsewhere", cwd=mesh).out)
    assert [c["counts"]["committed"] for c in value["clusters"]] == [0, 0, 0]


def test_counts_of_a_bundle(mesh: WorkDir, run: Run) -> None:
    """One secret for each of the others, wherever they stand."""
    mesh.topology({"remoteSecrets": "bundle"})
    assert run("render", cwd=mesh).code == 0
    assert counts(run, mesh) == [(2, 2, None)] * 3


def test_a_table_fits_eighty_columns(tmp_path: Path, run: Run) -> None:
    """Long names lose their middle, and nothing else."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    names = tuple(f"cluster-with-a-very-long-name-that-is-of-the-{n}-region" for n in ("first", "second"))
    broken.make(made, names=names)
    made.topology({"contexts": {n: {"network": f"network-of-{n[:40].strip('-')}"} for n in names}})
    lines = run("describe", "-o", "table", cwd=made).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.count("…") == 2 for line in lines[1:3])
    assert lines[1].endswith("not rendered")
