"""`kubectl mesh explain`: what users paste is recognised, and each cause is proven or cleared by what lies here."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kubectl_mesh.checks.table import check_ids
from kubectl_mesh.cli import COMMANDS
from kubectl_mesh.explain import MESSAGES, find_messages
from kubectl_mesh.text import plain_text
from tests.conftest import TOP, Run, WorkDir
from tests.support import broken
from tests.support.pasted_errors import PASTED, explained

Make = Callable[..., WorkDir]


def test_the_table() -> None:
    """Ids are unique, causes ask checks that are there, remedies name verbs that are there; each message has a text that users paste."""
    assert len({m.id for m in MESSAGES}) == len(MESSAGES)
    assert {m.id for m in MESSAGES} == set(PASTED)
    for known in MESSAGES:
        assert known.causes
        for cause in known.causes:
            assert set(cause.checks) <= check_ids(), (known.id, cause.checks)
            assert cause.remedy
            assert not cause.description.endswith(".")
            verbs = re.findall(r"`kubectl mesh ([a-z]+)", plain_text(cause.remedy))
            assert set(verbs) <= set(COMMANDS)


@pytest.mark.parametrize("message", PASTED)
def test_what_users_paste_is_recognised(message: str) -> None:
    """And it is not taken for what it is not: at most two other messages are seen in a line."""
    found = [known.id for known in find_messages(PASTED[message])]
    assert message in found
    assert len(found) <= 3, found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all is well",
        "uh, a runner of nc and uf",
        "exec /bin/sh: hello",
        "https://example.com/cluster",
        "\x00\x1b[31m\ud800",
    ],
)
def test_what_is_not_known(text: str, run: Run, tmp_path: Path) -> None:
    """It says so, ends with 1, and says where to look instead."""
    ran = run("explain", text, cwd=tmp_path)
    assert ran.code == 1
    assert ran.out.startswith(
        "nothing in this text is known to kubectl mesh\n  look at `kubectl mesh check`"
    )
    assert explained(run, text) == {}


def test_without_a_working_directory(run: Run, tmp_path: Path) -> None:
    """Only what it may come from, in general; a directory that is named has to be there."""
    (causes,) = explained(run, PASTED["unknown-ca"], WorkDir(tmp_path)).values()
    assert set(causes.values()) == {"general"}
    assert run("explain", "-C", tmp_path / "none", "x").code == 2
    assert run("explain").code == 2


@pytest.fixture
def mesh(tmp_path: Path, run: Run) -> WorkDir:
    """Three clusters, rendered for Istio 1.29."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    broken.make(made, names=("a", "b", "c"), version="1.29.10")
    assert run("render", cwd=made).code == 0
    return made


ROOTS, EDGE, LATE = (
    "the clusters do not share one root",
    "there is no remote secret for the cluster, or istiod does not see it",
    "istiod started before",
)


def test_causes_are_proven_or_cleared_here(mesh: WorkDir, run: Run) -> None:
    """A sound mesh clears what files can clear; a broken one proves it, and says where."""
    before = explained(run, PASTED["unknown-ca"], mesh)["unknown-ca"]
    assert before[ROOTS] == "cleared"
    assert next(v for k, v in before.items() if k.startswith(LATE)) == "open"
    broken.wrong_root(mesh, "a")
    broken.deleted(mesh, "b", "c")
    broken.relock(mesh)
    after = explained(run, PASTED["unknown-ca"], mesh)["unknown-ca"]
    assert after[ROOTS] == "proven"
    assert next(iter(after.values())) == "proven"
    text = run("explain", PASTED["unknown-ca"], cwd=mesh).out
    assert (
        '  × proven here: the clusters do not share one root\n      tree-root: out/a/1-trust/cacerts.yaml: data."root-cert.pem": holds another root than'
        in text
    )
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][EDGE] == "proven"
    )
    # What nobody can ask, for the topology is wrong, is neither proven nor cleared.
    mesh.write("topology.yaml", "mesh_id: [")
    assert (
        explained(run, PASTED["unauthorized"], mesh)["unauthorized"][
            "the token of the remote secret is not taken: expired, of another cluster, or deleted there"
        ]
        == "open"
    )


def test_paths_are_seen_from_where_it_runs(mesh: WorkDir, run: Run) -> None:
    """Files to change and commands to run name the working directory and the tree of the run; JSON stays as it is."""
    text = PASTED["unknown-ca"]
    assert "of both clusters with certs/root-cert.pem;" in run("explain", text, cwd=mesh).out
    ran = run("explain", "-C", mesh, text, cwd=mesh.path.parent)
    assert f"`kubectl diff -k {mesh}/out/NAME/1-trust`" in ran.out
    assert f"of both clusters with {mesh}/certs/root-cert.pem;" in ran.out
    ran = run("explain", "--out", "a tree", text, cwd=mesh)
    assert "`kubectl --context=CONTEXT diff -k 'a tree/NAME/1-trust'`" in ran.out
    outputs = [
        run("explain", *more, "-o", "json", text, cwd=mesh).out for more in ((), ("-C", mesh))
    ]
    assert [output.count("diff -k out/NAME/1-trust") for output in outputs] == [1, 1]


@pytest.mark.parametrize(
    "base",
    [
        "kind: Nonsense\n",
        "apiVersion: [\n",
        "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.29.10, nonsense: 1}\n",
    ],
)
def test_nothing_is_proven_by_a_base_that_cannot_be_used(
    base: str, mesh: WorkDir, run: Run
) -> None:
    """Its error is told first; what rests on it is neither proven nor cleared, by no version either. A topology that is wrong is told as well."""
    gate = "the network has no gateway that the others know, or its label names another network"
    lost = (
        "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)"
    )
    roots = "the clusters do not share one root"
    assert "cannot be used" not in run("explain", PASTED["connection-timeout"], cwd=mesh).out
    mesh.write("base.yaml", base)
    states = explained(run, PASTED["connection-timeout"], mesh)["connection-timeout"]
    assert states[gate] == "open"
    assert states[roots] == "cleared"
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost] == "open"
    )
    assert "cleared" not in explained(run, PASTED["no-kind"], mesh)["no-kind"].values()
    told = run("explain", PASTED["connection-timeout"], cwd=mesh).out
    assert told.startswith(
        "base.yaml cannot be used, and what rests on it is neither proven nor cleared here:\n  × base.yaml:"
    )
    assert "proven here:" not in told
    mesh.topology({"contexts": {"a": {"peers": ["nobody"]}}})
    told = run("explain", PASTED["connection-timeout"], cwd=mesh).out
    assert told.startswith(
        "topology.yaml cannot be used, and what rests on it is neither proven nor cleared here:\n  × topology.yaml:"
    )
    assert "cleared: not so" not in told


def test_causes_of_a_release(mesh: WorkDir, run: Run) -> None:
    """What only some releases do is cleared by the version that runs here."""
    lost = (
        "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)"
    )
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost]
        == "cleared"
    )
    base = (mesh / "base.yaml").read_text()
    mesh.write("base.yaml", base.replace("1.29.10", "1.30.3"))
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost] == "open"
    )


def test_stdin_names_and_secrets(mesh: WorkDir, run: Run) -> None:
    """A log by a pipe; clusters of the mesh in it are named, and nothing else of it is printed again, on no stream and in no format."""
    token = (mesh / "credentials/a.token").read_text()
    key = (mesh / "certs/root-key.pem").read_text()
    log = (
        f"{PASTED['unauthorized']} cluster b, nobody else\nAuthorization: Bearer {token}\n{key}\nsome-odd-word\n{PASTED['unknown-ca']}\n".encode()
        + b"\xff\xfe\n"
    )
    for form in ("text", "json"):
        words = [sys.executable, "-m", "kubectl_mesh", "explain", "-o", form, "-"]
        done = subprocess.run(
            words,
            input=log,
            cwd=mesh,
            capture_output=True,
            check=False,
            env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        told = done.stdout.decode() + done.stderr.decode()
        assert token not in told
        assert "some-odd-word" not in told
        assert not [line for line in broken.lines(mesh / "certs/root-key.pem") if line in told]
        if form == "json":
            value = json.loads(done.stdout)
            assert value["clusters"] == ["a", "b"] or value["clusters"] == ["b"]
            assert next(m["id"] for m in value["messages"]) == "unauthorized"
    shutil.rmtree(mesh.path)
