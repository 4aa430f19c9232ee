"""`kubectl mesh tokens`: every step of a rotation, what it refuses, and what it does in each store."""

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Golden, Run, WorkDir, snapshot
from test_golden import GOLDEN, copy_of, files
from test_verbs import valid

from kubectl_mesh import edit
from kubectl_mesh.cli import workdir as shell
from kubectl_mesh.load import load

Make = Callable[..., WorkDir]
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
STEPS = GOLDEN / "steps"
EAST = "context-east-1"
SECRET = "istio-reader-service-account-istio-remote-secret-token"


def jwt(**claims: object) -> str:
    """A token that says something of itself, and is signed by nobody."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)]
    return ".".join([*parts, "c2lnbmF0dXJl"])


def of_secret(name: str) -> str:
    """A token as Kubernetes puts it into a Secret: without any date."""
    return jwt(sub="system:serviceaccount:istio-system:istio-reader-service-account", **{"kubernetes.io/serviceaccount/secret.name": name})


@pytest.fixture
def mesh(workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> WorkDir:
    """A rendered mesh of three clusters."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    made = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    assert run("render", cwd=made).code == 0
    return made


def token_in(path: Path) -> str:
    """The token in a remote secret of the store plain."""
    (kubeconfig,) = yaml.safe_load(path.read_text())["data"].values()
    token: str = yaml.safe_load(base64.b64decode(kubeconfig))["users"][0]["user"]["token"]
    return token


def done(run: Run, mesh: WorkDir, *words: str) -> str:
    """What a verb printed that had to succeed."""
    ran = run(*words, cwd=mesh)
    assert ran.code == 0, ran.err
    return ran.out


def secrets(mesh: WorkDir) -> list[str]:
    """The token Secrets of the first cluster in the tree."""
    listed = yaml.safe_load((mesh / f"out/{EAST}/3-mesh/kustomization.yaml").read_text())["resources"]
    return [yaml.safe_load((mesh / f"out/{EAST}/3-mesh/{name}").read_text())["metadata"]["name"] for name in listed if "-token" in name]


CASES = ["two-networks", "per-peer", "bundle", "sops", "sealed", "external", "seed"]


@pytest.mark.parametrize("case", CASES)
def test_three_renders(case: str, tmp_path: Path, run: Run, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each step says, and which files of the tree each of its renders changes, in every store; `render --check` holds after each."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = copy_of(case, tmp_path / "mesh")
    name = min(p.name for p in (GOLDEN / case / "tree").iterdir() if p.name[0] != "_")
    assert run("render", cwd=mesh).code == 0
    story = ""
    for number, step in enumerate(("begin", "advance", "advance")):
        if number == 1:
            for peer in [p.name for p in (mesh / "credentials").glob(f"{name}*.token")] if (mesh / "credentials").is_dir() else []:
                (mesh / "credentials" / f"{peer}.g2").write_text("next-token-of-" + peer)
                (mesh / "credentials" / f"{peer}.g2").chmod(0o600)
        before = files(mesh / "out")
        ran = run("tokens", "rotate", name, step, cwd=mesh)
        assert ran.code == 0, ran.err
        story += f"\n$ kubectl mesh tokens rotate {name} {step}\n{ran.out}"
        assert files(mesh / "out") == before
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        after = files(mesh / "out")
        story += f"\n$ kubectl mesh render\n{ran.out}"
        for path in sorted({*before, *after}):
            if before.get(path) != after.get(path) and not path.endswith(("mesh.lock", "kustomization.yaml")):
                story += f"  {'create' if path not in before else 'remove' if path not in after else 'update'} {path}\n"
        assert run("render", "--check", cwd=mesh).code == 0
        story += f"\n$ kubectl mesh tokens status\n{done(run, WorkDir(mesh), 'tokens', 'status')}"
    golden(STEPS / f"tokens-{case}.txt", story.lstrip("\n"))


def test_each_render_holds_what_it_should(mesh: WorkDir, run: Run) -> None:
    """A second Secret; then the peers' token; then the first Secret goes. The topology keeps its comments."""
    (mesh / "topology.yaml").write_text("# Ours.\n" + (mesh / "topology.yaml").read_text())
    peer = mesh / f"out/context-west-1/3-mesh/remote-secrets/{EAST}.yaml"
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert "tokens:\n      generation: 1\n      beside: 2\n" in (mesh / "topology.yaml").read_text()
    done(run, mesh, "render")
    assert (secrets(mesh), token_in(peer)) == ([SECRET, f"{SECRET}-g2"], f"token-of-{EAST}")
    mesh.write(f"credentials/{EAST}.token.g2", of_secret(f"{SECRET}-g2"), 0o600)
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    assert "tokens:\n      generation: 2\n      beside: 1\n" in (mesh / "topology.yaml").read_text()
    done(run, mesh, "render")
    assert (secrets(mesh), token_in(peer)) == ([SECRET, f"{SECRET}-g2"], of_secret(f"{SECRET}-g2"))
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    assert (mesh / "topology.yaml").read_text().startswith("# Ours.\n")
    out = done(run, mesh, "render")
    assert (secrets(mesh), token_in(peer)) == ([f"{SECRET}-g2"], of_secret(f"{SECRET}-g2"))
    assert f"    kubectl --context={EAST} -n istio-system delete secret {SECRET} --ignore-not-found\n" in out
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert "tokens:\n      generation: 2\n      beside: 3\n" in (mesh / "topology.yaml").read_text()


def test_a_render_names_whose_rotation_goes_on(mesh: WorkDir, run: Run) -> None:
    """Where nothing but next tokens is pending, the command that comes then can be run as it stands."""
    mesh.topology(
        {"networks": {name: {"gateways": [{"address": address}]} for name, address in (("network-east", "192.0.2.1"), ("network-west", "192.0.2.2"))}}
    )
    done(run, mesh, "render")
    then = "\nthen: get what is pending by the commands above, and kubectl mesh tokens rotate context-east-1 advance"
    for name, more in ((EAST, ""), ("context-west-1", "; and the same for 1 more")):
        done(run, mesh, "tokens", "rotate", name, "begin")
        assert run("render", cwd=mesh).err.endswith(f"{then}{more}\n")


def test_only_one_object_pushes(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the store external the same PushSecret pushes the other Secret: `kubectl apply` would leave a second one there, pushing the old token for ever."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = WorkDir(copy_of("external", tmp_path / "mesh"))
    pushed = []
    for step in ("", "begin", "advance", "advance"):
        if step:
            done(run, mesh, "tokens", "rotate", "east", step)
        done(run, mesh, "render")
        value = yaml.safe_load((mesh / "out/east/3-mesh/reader-push.yaml").read_text())
        pushed.append((value["metadata"]["name"], value["spec"]["selector"]["secret"]["name"]))
    assert pushed == [(SECRET, SECRET), (SECRET, SECRET), (SECRET, f"{SECRET}-g2"), (SECRET, f"{SECRET}-g2")]


def test_the_printed_digest_is_that_of_the_remote_secret(mesh: WorkDir, run: Run) -> None:
    """What a person compares is what a cluster holds that has applied the second render."""
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    done(run, mesh, "render")
    mesh.token(f"{EAST}", None)
    mesh.write(f"credentials/{EAST}.token.g2", "another", 0o600)
    value: Any = valid("tokens-rotate", done(run, mesh, "tokens", "rotate", EAST, "advance", "-o", "json"))
    done(run, mesh, "render")
    held = yaml.safe_load((mesh / f"out/context-west-1/3-mesh/remote-secrets/{EAST}.yaml").read_text())["data"][EAST]
    assert [line["prints"] for line in value["look"]] == [hashlib.sha256(held.encode()).hexdigest() + "  -"] * 2
    shell_line = value["look"][0]["command"].replace("kubectl ", "printf %s " + held + " #", 1).split("|")
    assert shell_line[1] == " sha256sum"


def test_advance_refuses_to_skip(mesh: WorkDir, run: Run) -> None:
    """Without the render between, without the token, with the old token, with another Secret's token: nothing is changed."""
    done(run, mesh, "tokens", "rotate", EAST, "begin")

    def refused() -> str:
        before = snapshot(mesh.path)
        ran = run("tokens", "rotate", EAST, "advance", cwd=mesh)
        assert (ran.code, ran.out) == (2, "")
        assert snapshot(mesh.path) == before
        return ran.err.replace("warning: ", "")

    assert refused().startswith(f"error: out/{EAST}: is not what a render of the step before would make\n  fix: run `kubectl mesh render`")
    done(run, mesh, "render")
    command = f"(umask 077; mkdir -p credentials; kubectl --context={EAST} -n istio-system get secret {SECRET}-g2"
    assert f"error: credentials/{EAST}.token.g2: is not there: the peers have nothing to move to\n  fix: run: {command}" in refused()
    mesh.write(f"credentials/{EAST}.token.g2", f"token-of-{EAST}", 0o600)
    assert f"error: credentials/{EAST}.token.g2: holds the token of generation 1, which is to go\n" in refused()
    mesh.write(f"credentials/{EAST}.token.g2", of_secret(SECRET), 0o600)
    assert f"error: credentials/{EAST}.token.g2: holds a token of another Secret than {SECRET}-g2, as it says itself\n" in refused()
    mesh.write(f"credentials/{EAST}.token.g2", "good", 0o600)
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    assert refused().startswith(f"error: out/{EAST.replace('1', '2')}: is not what a render of the step before would make\n")


def test_abort_goes_back(mesh: WorkDir, run: Run) -> None:
    """A step at a time, each with a render between; unless nothing was rendered yet."""
    first = (mesh / "topology.yaml").read_text()
    tree = files(mesh / "out")
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert "goes, and its token is void" in done(run, mesh, "tokens", "rotate", EAST, "abort")
    assert (mesh / "topology.yaml").read_text() == first
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    done(run, mesh, "render")
    begun = (mesh / "topology.yaml").read_text()
    mesh.write(f"credentials/{EAST}.token.g2", "next", 0o600)
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    done(run, mesh, "render")
    out = done(run, mesh, "tokens", "rotate", EAST, "abort")
    assert "2 clusters move to the token of generation 1; that of generation 2 stays beside it" in out
    # The other Secret may go only where no peer is late, which is told as it is on the way there.
    assert f"or: kubectl mesh tokens rotate {EAST} abort, and the Secret of generation 2 goes\nbut not before each of these has printed" in out
    assert len(re.findall(rf"get secret istio-remote-secret-{EAST} .*\| sha256sum\n    [0-9a-f]{{64}}  -\n", out)) == 2
    assert (mesh / "topology.yaml").read_text() == begun
    # The peers may still have the other token: its Secret must not go yet.
    ran = run("tokens", "rotate", EAST, "abort", cwd=mesh)
    assert (ran.code, "is not what a render of the step before would make" in ran.err) == (2, True)
    done(run, mesh, "render")
    done(run, mesh, "tokens", "rotate", EAST, "abort")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {"generation": 1, "last": 2}
    done(run, mesh, "render")
    assert files(mesh / "out") == tree
    # A cluster that is late with this render takes the Secret of generation 2 away whenever it applies it: its number is not used again.
    (mesh / f"credentials/{EAST}.token.g2").unlink()
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {"generation": 1, "beside": 3}
    # Nothing was rendered of this one; what was before it is remembered all the same.
    done(run, mesh, "tokens", "rotate", EAST, "abort")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {"generation": 1, "last": 2}


@pytest.mark.parametrize("case", ["two-networks", "per-peer", "sops", "sealed"])
def test_abort_refuses_to_go_back_to_a_token_that_is_not_here(case: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a peer that joined meanwhile: each render from there would be refused. The topology stays, and with the token abort is possible."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = WorkDir(copy_of(case, tmp_path / "mesh"))
    name = min(p.name for p in (GOLDEN / case / "tree").iterdir() if p.name[0] != "_")
    done(run, mesh, "render")
    done(run, mesh, "tokens", "rotate", name, "begin")
    done(run, mesh, "render")
    for path in sorted((mesh / "credentials").glob(f"{name}*.token")):
        mesh.write(f"credentials/{path.name}.g2", f"next-token-of-{path.name}", 0o600)
    done(run, mesh, "tokens", "rotate", name, "advance")
    done(run, mesh, "render")
    first = path.read_bytes()
    path.unlink()
    before = snapshot(mesh.path)
    ran = run("tokens", "rotate", name, "abort", cwd=mesh)
    assert (ran.code, ran.out) == (2, "")
    assert snapshot(mesh.path) == before
    assert f"credentials/{path.name}" in ran.err
    if case in ("two-networks", "per-peer"):
        whom = "the peers" if case == "two-networks" else path.name.split(".")[1]
        assert f"error: credentials/{path.name}: is not there: {whom} would have nothing to go back to\n  fix: run: (umask 077; mkdir -p" in ran.err
        assert ran.err.rstrip().endswith(f"> credentials/{path.name})")
    mesh.write(f"credentials/{path.name}", first.decode(), 0o600)
    done(run, mesh, "tokens", "rotate", name, "abort")
    done(run, mesh, "render")


def test_what_is_no_step_is_refused(mesh: WorkDir, run: Run) -> None:
    """In one sentence, with what to do."""
    assert "is not being rotated\n  fix: begin with" in run("tokens", "rotate", EAST, "advance", cwd=mesh).err
    assert "is not being rotated\n  fix: begin with" in run("tokens", "rotate", EAST, "abort", cwd=mesh).err
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert "is being rotated already: generation 1 with 2 beside it\n" in run("tokens", "rotate", EAST, "begin", cwd=mesh).err
    assert run("tokens", "rotate", "east", "begin", cwd=mesh).err.startswith('error: NAME: no cluster "east" in the topology')
    assert run("tokens", "rotate", EAST, cwd=mesh).err.startswith("error: Missing argument 'STEP'. Choose from: begin, advance, abort, status\n")
    mesh.topology({"contexts": {EAST: {"tokens": None, "credential": {"clientCertificate": {"certificateFile": "a.crt", "keyFile": "a.key"}}}}})
    assert "peers log in to it by clientCertificate, and only tokens are rotated here\n" in run("tokens", "rotate", EAST, "begin", cwd=mesh).err
    mesh.topology({"contexts": {EAST: {"credential": None, "disableRegistryJoin": True}}})
    assert "no cluster discovers it, so it has no token for peers\n" in run("tokens", "rotate", EAST, "begin", cwd=mesh).err


def test_render_refuses_a_step_that_was_skipped_by_hand(mesh: WorkDir, run: Run) -> None:
    """The old token must not go while the peers move, whoever edits the topology."""
    mesh.write(f"credentials/{EAST}.token.g2", "next", 0o600)
    mesh.topology({"contexts": {EAST: {"tokens": {"generation": 2}}}})
    before = files(mesh / "out")
    ran = run("render", cwd=mesh)
    assert (ran.code, files(mesh / "out") == before) == (2, True)
    assert f"its Secret {SECRET} would go in the same render in which 2 directories would move to another token\n" in ran.err
    checked = json.loads(run("check", "-o", "json", cwd=mesh).out)
    assert [c["status"] for c in checked["checks"] if c["id"] == "token-order"] == ["error"]


def test_a_sealed_token_of_another_generation_is_not_kept(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tokens are not, a move is refused: the tree holds the old one, and would go on holding it."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = copy_of("sops", tmp_path / "mesh")
    name = min(p.name for p in (GOLDEN / "sops/tree").iterdir() if p.name[0] != "_")
    assert run("render", cwd=mesh).code == 0
    (mesh / "credentials" / f"{name}.token").unlink()
    assert run("render", "--check", cwd=mesh).code == 0
    topology = WorkDir(mesh)
    topology.topology({"contexts": {name: {"tokens": {"generation": 2, "beside": 1}}}})
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert f"has to be sealed anew, for what it is made from changed, and credentials/{name}.token.g2 is not here" in ran.err


@pytest.mark.parametrize(
    ("version", "said"), [("1.29.10", "up to 1.29 drops the cluster"), ("1.30.2", "may lose the cluster's endpoints"), ("1.30.4", "connects anew before")]
)
def test_what_istiod_does_with_it(version: str, said: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its version."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = WorkDir(copy_of("two-networks", tmp_path / "mesh"))
    mesh.topology({"istio": {"version": version}})
    base = mesh / "base.yaml"
    base.write_text(base.read_text().replace("1.30.3", version))
    done(run, mesh, "render")
    assert "istiod" not in done(run, mesh, "tokens", "rotate", "east", "begin")
    done(run, mesh, "render")
    mesh.write("credentials/east.token.g2", "next", 0o600)
    assert f"west: istiod {said}" in done(run, mesh, "tokens", "rotate", "east", "advance").replace("istiod 1.30.0 to 1.30.3 ", "istiod ")


def test_age_and_end_of_a_token(mesh: WorkDir, run: Run) -> None:
    """What a token says of itself is told; of one that never expires, that too; and only who asks is told of its age."""
    mesh.token(EAST, jwt(sub="reader", iat=DAY.timestamp() - 100 * 86400, exp=DAY.timestamp() + 50 * 86400))
    mesh.token("context-west-1", of_secret(SECRET))
    done(run, mesh, "render")
    described = done(run, mesh, "describe")
    assert "  token        made 2026-08-23 (100 days ago), expires 2027-01-20 (50 days), reader\n" in described
    assert "  token        never expires, system:serviceaccount:istio-system:istio-reader-service-account\n" in described
    valid("describe", done(run, mesh, "describe", "-o", "json"))
    value: Any = valid("tokens-status", done(run, mesh, "tokens", "status", "-o", "json"))
    assert [c["tokens"][0]["ageDays"] for c in value["clusters"]] == [100, None, None]
    assert "never expires" in done(run, mesh, "tokens", "rotate", "context-west-1", "status")
    assert "× token-old" not in done(run, mesh, "check")
    ran = run("check", "--token-age", "90d", cwd=mesh)
    assert ran.code == 1
    assert f"token-old: credentials/{EAST}.token: was made on 2026-08-23, 100 days ago\n" in ran.out
    assert ran.out.count("× token-old") == 1
    assert run("check", "--token-age", "101d", cwd=mesh).code == 0


STYLES = {
    "block": "mesh_id: a\ncontexts:\n  # first\n  east:  # here\n    network: net  # why\n    # end\n  west:\n    network: net\n",
    "flow": "mesh_id: a\ncontexts: {east: {network: net}, west: {network: net}}\n",
    "flow entry": "mesh_id: a\ncontexts:\n  east: {network: net}  # e\n  west: {network: net}\n",
    "no last newline": "mesh_id: a\ncontexts:\n  west:\n    network: net\n  east:\n    network: net",
}


@pytest.mark.parametrize("style", STYLES)
def test_the_topology_keeps_all_else(style: str) -> None:
    """However it is written, every state can be set, and the way back gives the text that was there."""
    first = STYLES[style]
    read = lambda text: load("t", text.encode()).value  # noqa: E731
    text = first
    for entry in ({"generation": 1, "beside": 2}, {"generation": 2, "beside": 1}, {"generation": 2}, {"generation": 2, "beside": 3}, {"generation": 2}):
        text = edit.tokens(text, "east", entry, read)
        value: Any = read(text)
        assert value["contexts"]["east"]["tokens"] == entry
        assert text.count("#") == first.count("#")
    assert edit.tokens(text, "east", {}, read).split() == first.split()


def test_the_next_token_is_kept_out_of_git(mesh: WorkDir, run: Run) -> None:
    """Where a token file stands elsewhere, that of the next generation is guarded too."""
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    mesh.write("elsewhere/token", "x", 0o600)
    mesh.topology({"contexts": {EAST: {"credential": {"tokenFile": "elsewhere/token"}}}})
    mesh.write(
        ".gitignore",
        (mesh / ".gitignore").read_text() + "/elsewhere/token\n"
        if (mesh / ".gitignore").exists()
        else "/certs/\n/credentials/\n/kubeconfig.yaml\n.kubectl-mesh-*\n/elsewhere/token\n",
    )
    done(run, mesh, "render")
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    ran = run("render", cwd=mesh)
    assert (ran.code, "    /elsewhere/token.g2" in ran.err) == (2, True)
