"""A fresh clone, as CI has it: git's files and nothing private. What can be told is told, and what an edit needs is named."""

import base64
import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import CLUSTERS, SEED, TOP, Ages, Controller, Golden, Run, WorkDir
from tests.support.sealed_trees import EXTERNAL, SAIL, tree

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., WorkDir]
TEXTS = TOP / "tests/invalid/clones"
STORES = ("sops", "sealed", "external", "csr", "cert-manager", "istio-csr")
ISSUED = {"issuerRef": {"name": "mesh-ca"}}


def git(*words: "str | Path | WorkDir") -> str:
    """Runs git."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    named = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    return subprocess.run(
        ["git", *named, *words], capture_output=True, text=True, check=True, env=environment
    ).stdout


@pytest.fixture
def cloned(workdir: Make, run: Run, ages: Ages, request: pytest.FixtureRequest) -> WorkDir:
    """The three clusters under a store, or an issuer, rendered, committed and cloned."""
    kind = request.param
    over: dict[str, Any] = {
        "sops": ages.over(),
        "sealed": {"secrets": {"store": "sealed"}},
        "csr": {**ages.over(), "certificates": {"issuer": "csr"}},
    }.get(
        kind,
        EXTERNAL
        if kind == "external"
        else {**EXTERNAL, "certificates": {"issuer": kind, **ISSUED}},
    )
    mesh = workdir(kind, over=over, tokens=True)
    mesh.write("base.yaml", SAIL)
    (mesh / "kubeconfig.yaml").unlink()
    entries = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    servers = {entry["name"]: entry["cluster"] for entry in entries["clusters"]}
    for context in entries["contexts"]:
        server = servers[context["context"]["cluster"]]
        mesh.write(
            f"clusters/{context['name']}.crt",
            base64.b64decode(server["certificate-authority-data"]),
        )
        if context["name"] in CLUSTERS:
            mesh.topology({"contexts": {context["name"]: {"server": server["server"]}}})
    for name in CLUSTERS if kind == "sealed" else ():
        mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    git("init", "-q", mesh)
    if kind == "csr":
        root = workdir("root")
        (root / "topology.yaml").unlink()
        assert run("init", "--mesh-id", "the-root", cwd=root).code == 0
        assert run("certs", "csr", cwd=mesh).code == 0
        requests = sorted((mesh / "certs").glob("intermediate-*/ca.csr"))
        assert (
            run("certs", "sign", "-C", root, "--to", root / "signed", *requests, cwd=mesh).code == 0
        )
        for name in CLUSTERS:
            assert (
                run(
                    "certs",
                    "import",
                    "--root",
                    root / "certs/root-cert.pem",
                    name,
                    root / "signed" / f"{name}.pem",
                    cwd=mesh,
                ).code
                == 0
            )
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    git("-C", mesh, "add", "-A")
    git("-C", mesh, "commit", "-q", "-m", "a mesh")
    clone = WorkDir(mesh.path.parent / "clone")
    git("clone", "-q", mesh, clone)
    private = [
        p
        for p in clone.path.rglob("*")
        if p.name.endswith(("key.pem", "seal-key", ".token", "kubeconfig.yaml"))
        or p.name == "credentials"
    ]
    assert private == []
    return clone


@pytest.mark.parametrize("cloned", STORES, indirect=True)
def test_a_clone_is_what_a_render_makes(cloned: WorkDir, run: Run) -> None:
    """`render --check` and `check` are 0, a render changes no byte and makes no key, and nothing is pending."""
    before = tree(cloned)
    ran = run("render", "--check", "--strict", cwd=cloned)
    assert ran.code == 0, ran.err + ran.out
    assert "pending" not in ran.out
    checked = run("check", cwd=cloned)
    assert checked.code == 0, checked.out
    assert run("render", cwd=cloned).code == 0
    assert tree(cloned) == before
    assert git("-C", cloned, "status", "--porcelain") == ""
    assert run("describe", cwd=cloned).code == 0
    if (cloned / "out/context-east-1/1-trust/cacerts.yaml").exists() and "sealed" in (
        cloned / "out/context-east-1/mesh.lock"
    ).read_text():
        snapshot = cloned.snapshot()
        ran = run("render", "--reseal", cwd=cloned)
        assert ran.code == 2
        assert (
            ran.err.count("has to be sealed, and ") == ran.err.count(" is not here\n  fix: ") == 9
        )
        assert cloned.snapshot() == snapshot


EDITS: dict[str, dict[str, Any]] = {
    "server": {"contexts": {"context-west-1": {"server": "https://198.51.100.77:6443"}}},
    "namespace": {"contexts": {name: {"namespace": "mesh"} for name in CLUSTERS}},
    "network": {"contexts": {"context-west-1": {"network": "network-far"}}},
    "cluster": {
        "contexts": {
            "context-north-1": {"network": "network-west", "server": "https://198.51.100.78:6443"}
        }
    },
    "out": {"contexts": {"context-west-1": {"disableRegistryJoin": True}}},
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("cloned", STORES, indirect=True)
def test_an_edit_in_a_clone(
    cloned: WorkDir, edit: str, run: Run, golden: Golden, request: pytest.FixtureRequest, ages: Ages
) -> None:
    """What needs no key is rendered; else every file that would have to be sealed is named, with the private file that it lacks, and nothing is changed."""
    store = request.node.callspec.params["cloned"]
    over = EDITS[edit]
    if edit == "cluster":
        cloned.write(
            "clusters/context-north-1.crt", (cloned / "clusters/context-west-1.crt").read_bytes()
        )
        if store in ("sops", "csr"):
            over = {
                "contexts": {
                    "context-north-1": {
                        **over["contexts"]["context-north-1"],
                        "recipients": [ages.recipient("new")],
                    }
                }
            }
        if store == "sealed":
            cloned.write("clusters/context-north-1.sealing.crt", Controller().certificate)
    cloned.topology(over)
    before = cloned.snapshot()
    ran = run("render", "--check", cwd=cloned)
    text = f"exit code {ran.code}\n{ran.err}"
    if ran.code != 2:
        text += "".join(
            line + "\n"
            for line in ran.out.splitlines()
            if line.startswith(("update", "create", "remove", "pending", "  cluster"))
        )
    golden(TEXTS / f"{store}-{edit}.txt", text)
    assert cloned.snapshot() == before
    again = run("render", cwd=cloned)
    assert (again.code == 2) == (ran.code == 2)
    if again.code == 2:
        assert again.err == ran.err
        assert cloned.snapshot() == before


BORROWED = "kubeconfig.yaml: is ignored by git, and nothing else has the server and the CA of"


@pytest.fixture
def ignoring(workdir: Make, run: Run) -> WorkDir:
    """The page's mesh in a repository: its servers are in kubeconfig.yaml alone, which git ignores. The topology has comments."""
    mesh = workdir(over=EXTERNAL)
    mesh.write("base.yaml", SAIL)
    git("init", "-q", mesh)
    mesh.write(
        "topology.yaml",
        "# Ours.\n"
        + (mesh / "topology.yaml")
        .read_text()
        .replace("  context-west-1:\n", "  context-west-1:  # far away\n"),
    )
    assert run("render", cwd=mesh).code == 0
    return mesh


def cloned_from(mesh: WorkDir) -> WorkDir:
    """All that git takes, as a pipeline gets it."""
    git("-C", mesh, "add", "-A")
    git("-C", mesh, "commit", "-q", "--allow-empty", "-m", "a mesh")
    clone = WorkDir(mesh.path.parent / f"clone-{len(list(mesh.path.parent.iterdir()))}")
    git("clone", "-q", mesh, clone)
    return clone


def test_servers_that_no_clone_has(ignoring: WorkDir, run: Run) -> None:
    """Every command that renders in mind says so beforehand; `init` copies them, keeps every comment, and then a clone renders the same bytes."""
    assert run("render", "--check", cwd=cloned_from(ignoring)).code != 0
    for words in (("render",), ("check",), ("describe",), ("diff",)):
        ran = run(*words, cwd=ignoring)
        assert f"{BORROWED} {', '.join(CLUSTERS)}: a clone" in " ".join(
            (ran.out + ran.err).split()
        ), words
        assert "copy them into topology.yaml and clusters/: kubectl mesh init" in " ".join(
            (ran.out + ran.err).split()
        ), words
    assert "server-borrowed" in run("graph", "-o", "html", cwd=ignoring).out
    before, out = (ignoring / "topology.yaml").read_text(), tree(ignoring)
    ran = run("init", cwd=ignoring)
    assert ran.code == 0, ran.err
    assert "update  topology.yaml\n" in ran.out
    assert "create  clusters/context-west-1.crt\n" in ran.out
    after = (ignoring / "topology.yaml").read_text()
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(added) == 3
    assert all(line.strip().startswith("server: ") for line in added)
    assert [line for line in after.splitlines() if line not in added] == before.splitlines()
    for words in (("render",), ("check",), ("describe",), ("diff",)):
        assert "is ignored by git, and" not in run(*words, cwd=ignoring).err
    assert "√ server-borrowed" in run("check", cwd=ignoring).out
    assert {k: v for k, v in tree(ignoring).items() if not k.endswith("mesh.lock")} == {
        k: v for k, v in out.items() if not k.endswith("mesh.lock")
    }
    assert run("render", "--check", cwd=cloned_from(ignoring)).code == 0
    assert {line.split()[0] for line in run("init", cwd=ignoring).out.splitlines()} == {"keep"}


def test_a_ca_that_no_clone_has(ignoring: WorkDir, run: Run) -> None:
    """A server in the topology, and its CA in kubeconfig.yaml alone: the same."""
    ignoring.topology(
        {
            "contexts": {
                name: {"server": f"https://192.0.2.{at}:6443"}
                for at, name in enumerate(CLUSTERS, 1)
            }
        }
    )
    ran = run("render", "--with-restarts", cwd=ignoring)
    assert (ran.code, f"{BORROWED} {', '.join(CLUSTERS)}: a clone" in ran.err) == (0, True)
    before = (ignoring / "topology.yaml").read_bytes()
    assert run("init", cwd=ignoring).code == 0
    assert (ignoring / "topology.yaml").read_bytes() == before
    assert "is ignored by git" not in run("render", cwd=ignoring).err
    assert run("render", "--check", cwd=cloned_from(ignoring)).code == 0


def test_what_a_clone_has_is_no_warning(ignoring: WorkDir, run: Run) -> None:
    """A kubeconfig.yaml that git takes, one that is named on the command line, and no repository at all."""
    assert BORROWED not in run("render", "--kubeconfig", "kubeconfig.yaml", cwd=ignoring).err
    (ignoring / ".gitignore").write_text(
        (ignoring / ".gitignore").read_text().replace("/kubeconfig.yaml\n", "")
    )
    assert BORROWED not in run("check", cwd=ignoring).out
    (ignoring / ".git").rename(ignoring.path.parent / "git")
    assert BORROWED not in run("check", cwd=ignoring).out


def test_init_copies_only_what_peers_can_use(ignoring: WorkDir, run: Run) -> None:
    """A loopback server and a CA that is another than the one in clusters/ are reported, and the others are copied."""
    config = yaml.safe_load((ignoring / "kubeconfig.yaml").read_text())
    named = {c["name"]: c["context"]["cluster"] for c in config["contexts"]}
    for cluster in config["clusters"]:
        if cluster["name"] == named[CLUSTERS[0]]:
            cluster["cluster"]["server"] = "https://127.0.0.1:6443"
    ignoring.write("kubeconfig.yaml", yaml.safe_dump(config), 0o600)
    ignoring.write(f"clusters/{CLUSTERS[1]}.crt", "another\n")
    ran = run("init", cwd=ignoring)
    assert ran.code == 0, ran.err
    assert "the loopback address https://127.0.0.1:6443" in ran.err
    assert (
        f"warning: clusters/{CLUSTERS[1]}.crt: is not the CA that kubeconfig.yaml has for {CLUSTERS[1]}; its server was not copied"
        in ran.err
    )
    contexts = yaml.safe_load((ignoring / "topology.yaml").read_text())["contexts"]
    assert [name for name in contexts if "server" in contexts[name]] == [CLUSTERS[2]]
    assert (ignoring / f"clusters/{CLUSTERS[1]}.crt").read_text() == "another\n"
    assert not (ignoring / f"clusters/{CLUSTERS[0]}.crt").exists()
