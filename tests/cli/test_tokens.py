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

from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document
from tests.conftest import Golden, Run, WorkDir, snapshot
from tests.support.checked import valid
from tests.support.clocks import Clock
from tests.support.goldens import GOLDEN, copy_case, read_files, rendered_tree

Make = Callable[..., WorkDir]
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
STEPS = GOLDEN / "steps"
EAST = "context-east-1"
SECRET = "istio-reader-service-account-istio-remote-secret-token"


def jwt(**claims: object) -> str:
    """A token that says something of itself, and is signed by nobody."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, "c2lnbmF0dXJl"])


def of_secret(name: str) -> str:
    """A token as Kubernetes puts it into a Secret: without any date."""
    return jwt(
        sub="system:serviceaccount:istio-system:istio-reader-service-account",
        **{"kubernetes.io/serviceaccount/secret.name": name},
    )


@pytest.fixture
def mesh(workdir: Make, run: Run, clock: Clock) -> WorkDir:
    """A rendered mesh of three clusters."""
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
    listed = yaml.safe_load((mesh / f"out/{EAST}/3-mesh/kustomization.yaml").read_text())[
        "resources"
    ]
    return [
        yaml.safe_load((mesh / f"out/{EAST}/3-mesh/{name}").read_text())["metadata"]["name"]
        for name in listed
        if "-token" in name
    ]


CASES = ["two-networks", "per-peer", "bundle", "sops", "sealed", "external", "seed"]


@pytest.mark.parametrize("case", CASES)
def test_three_renders(case: str, tmp_path: Path, run: Run, golden: Golden, clock: Clock) -> None:
    """What each step says, and which files of the tree each of its renders changes, in every store; `render --check` holds after each."""
    mesh = copy_case(case, tmp_path / "mesh")
    name = min(p.name for p in rendered_tree(case).iterdir() if p.name[0] != "_")
    assert run("render", cwd=mesh).code == 0
    story = ""
    for number, words in enumerate(
        (("begin", "--with-restarts"), ("advance",), ("advance", "--seen-for", "2h"))
    ):
        if number == 1:
            for peer in (
                [p.name for p in (mesh / "credentials").glob(f"{name}*.token")]
                if (mesh / "credentials").is_dir()
                else []
            ):
                (mesh / "credentials" / f"{peer}.g2").write_text("next-token-of-" + peer)
                (mesh / "credentials" / f"{peer}.g2").chmod(0o600)
        before = read_files(mesh / "out")
        ran = run("tokens", "rotate", name, *words, cwd=mesh)
        assert ran.code == 0, ran.err
        story += f"\n$ kubectl mesh tokens rotate {name} {' '.join(words)}\n{ran.out}"
        assert read_files(mesh / "out") == before
        render = ("render", *(("--with-restarts",) if "render --with-restarts" in ran.out else ()))
        ran = run(*render, cwd=mesh)
        assert ran.code == 0, ran.err
        after = read_files(mesh / "out")
        story += f"\n$ kubectl mesh {' '.join(render)}\n{ran.out}"
        for path in sorted({*before, *after}):
            if before.get(path) != after.get(path) and not path.endswith(
                ("mesh.lock", "kustomization.yaml")
            ):
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
    done(run, mesh, "tokens", "rotate", EAST, "advance", "--seen-for", "0h")
    assert (mesh / "topology.yaml").read_text().startswith("# Ours.\n")
    out = done(run, mesh, "render")
    assert (secrets(mesh), token_in(peer)) == ([f"{SECRET}-g2"], of_secret(f"{SECRET}-g2"))
    assert (
        f"    kubectl --context={EAST} -n istio-system delete secret {SECRET} --ignore-not-found\n"
        in out
    )
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert "tokens:\n      generation: 2\n      beside: 3\n" in (mesh / "topology.yaml").read_text()


def test_a_render_names_whose_rotation_goes_on(mesh: WorkDir, run: Run) -> None:
    """Where nothing but next tokens is pending, the command that comes then can be run as it stands."""
    mesh.topology(
        {
            "networks": {
                name: {"gateways": [{"address": address}]}
                for name, address in (("network-east", "192.0.2.1"), ("network-west", "192.0.2.2"))
            }
        }
    )
    done(run, mesh, "render")
    then = "\nthen: get what is pending by the commands above, and kubectl mesh tokens rotate context-east-1 advance"
    for name, more in ((EAST, ""), ("context-west-1", "; and the same for 1 more")):
        done(run, mesh, "tokens", "rotate", name, "begin")
        assert run("render", cwd=mesh).err.endswith(f"{then}{more}\n")


def test_only_one_object_pushes(tmp_path: Path, run: Run, clock: Clock) -> None:
    """With the store external the same PushSecret pushes the other Secret: `kubectl apply` would leave a second one there, pushing the old token for ever."""
    mesh = WorkDir(copy_case("external", tmp_path / "mesh"))
    pushed = []
    for step in ("", "begin", "advance", "advance"):
        if step:
            done(run, mesh, "tokens", "rotate", "east", step, "--with-restarts", "--seen-for", "2h")
        done(run, mesh, "render", "--with-restarts")
        value = yaml.safe_load((mesh / "out/east/3-mesh/reader-push.yaml").read_text())
        pushed.append((value["metadata"]["name"], value["spec"]["selector"]["secret"]["name"]))
    assert pushed == [
        (SECRET, SECRET),
        (SECRET, SECRET),
        (SECRET, f"{SECRET}-g2"),
        (SECRET, f"{SECRET}-g2"),
    ]


def test_the_printed_digest_is_that_of_the_remote_secret(mesh: WorkDir, run: Run) -> None:
    """What a person compares is what a cluster holds that has applied the second render."""
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    done(run, mesh, "render")
    mesh.token(f"{EAST}", None)
    mesh.write(f"credentials/{EAST}.token.g2", "another", 0o600)
    value: Any = valid(
        "tokens-rotate", done(run, mesh, "tokens", "rotate", EAST, "advance", "-o", "json")
    )
    done(run, mesh, "render")
    held = yaml.safe_load(
        (mesh / f"out/context-west-1/3-mesh/remote-secrets/{EAST}.yaml").read_text()
    )["data"][EAST]
    assert [line["prints"] for line in value["look"]] == [
        hashlib.sha256(held.encode()).hexdigest() + "  -"
    ] * 2
    shell_line = (
        value["look"][0]["command"].replace("kubectl ", "printf %s " + held + " #", 1).split("|")
    )
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

    assert refused().startswith(
        f"error: out/{EAST}: is not what a render of the step before would make\n  fix: run `kubectl mesh render`"
    )
    done(run, mesh, "render")
    command = f"(umask 077; mkdir -p credentials; kubectl --context={EAST} -n istio-system get secret {SECRET}-g2"
    assert (
        f"error: credentials/{EAST}.token.g2: is not there: the peers have nothing to move to\n  fix: run: {command}"
        in refused()
    )
    mesh.write(f"credentials/{EAST}.token.g2", f"token-of-{EAST}", 0o600)
    assert (
        f"error: credentials/{EAST}.token.g2: holds the token of generation 1, which is to go\n"
        in refused()
    )
    mesh.write(f"credentials/{EAST}.token.g2", of_secret(SECRET), 0o600)
    assert (
        f"error: credentials/{EAST}.token.g2: holds a token of another Secret than {SECRET}-g2, as it says itself\n"
        in refused()
    )
    mesh.write(f"credentials/{EAST}.token.g2", "good", 0o600)
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    assert refused().startswith(
        f"error: out/{EAST.replace('1', '2')}: is not what a render of the step before would make\n"
    )


def test_abort_goes_back(mesh: WorkDir, run: Run) -> None:
    """A step at a time, each with a render between; unless nothing was rendered yet."""
    first = (mesh / "topology.yaml").read_text()
    tree = read_files(mesh / "out")
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
    assert (
        "2 clusters move to the token of generation 1; that of generation 2 stays beside it" in out
    )
    # The other Secret may go only where no peer is late, which is told as it is on the way there.
    assert (
        f"or: kubectl mesh tokens rotate {EAST} abort --seen-for 0h, and the Secret of generation 2 goes\nbut not before each of these has printed"
        in out
    )
    assert (
        len(
            re.findall(
                rf"get secret istio-remote-secret-{EAST} .*\| sha256sum\n    [0-9a-f]{{64}}  -\n",
                out,
            )
        )
        == 2
    )
    assert (mesh / "topology.yaml").read_text() == begun
    # The peers may still have the other token: its Secret must not go yet.
    ran = run("tokens", "rotate", EAST, "abort", cwd=mesh)
    assert (ran.code, "is not what a render of the step before would make" in ran.err) == (2, True)
    done(run, mesh, "render")
    before = snapshot(mesh.path)
    ran = run("tokens", "rotate", EAST, "abort", cwd=mesh)
    assert (
        ran.code,
        ran.err.startswith("error: --seen-for: is required: a token of context-east-1 goes, and "),
    ) == (2, True)
    assert snapshot(mesh.path) == before
    done(run, mesh, "tokens", "rotate", EAST, "abort", "--seen-for", "0h")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {
        "generation": 1,
        "last": 2,
    }
    done(run, mesh, "render")
    assert read_files(mesh / "out") == tree
    # A cluster that is late with this render takes the Secret of generation 2 away whenever it applies it: its number is not used again.
    (mesh / f"credentials/{EAST}.token.g2").unlink()
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {
        "generation": 1,
        "beside": 3,
    }
    # Nothing was rendered of this one; what was before it is remembered all the same.
    done(run, mesh, "tokens", "rotate", EAST, "abort")
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"][EAST]["tokens"] == {
        "generation": 1,
        "last": 2,
    }


@pytest.mark.parametrize("case", ["two-networks", "per-peer", "sops", "sealed"])
def test_abort_refuses_to_go_back_to_a_token_that_is_not_here(
    case: str, tmp_path: Path, run: Run, clock: Clock
) -> None:
    """As of a peer that joined meanwhile: each render from there would be refused. The topology stays, and with the token abort is possible."""
    mesh = WorkDir(copy_case(case, tmp_path / "mesh"))
    name = min(p.name for p in rendered_tree(case).iterdir() if p.name[0] != "_")
    done(run, mesh, "render")
    done(run, mesh, "tokens", "rotate", name, "begin", "--with-restarts")
    done(run, mesh, "render")
    for path in sorted((mesh / "credentials").glob(f"{name}*.token")):
        mesh.write(f"credentials/{path.name}.g2", f"next-token-of-{path.name}", 0o600)
    done(run, mesh, "tokens", "rotate", name, "advance")
    done(run, mesh, "render", "--with-restarts")
    first = path.read_bytes()
    path.unlink()
    before = snapshot(mesh.path)
    ran = run("tokens", "rotate", name, "abort", cwd=mesh)
    assert (ran.code, ran.out) == (2, "")
    assert snapshot(mesh.path) == before
    assert f"credentials/{path.name}" in ran.err
    if case in ("two-networks", "per-peer"):
        whom = "the peers" if case == "two-networks" else path.name.split(".")[1]
        assert (
            f"error: credentials/{path.name}: is not there: {whom} would have nothing to go back to\n  fix: run: (umask 077; mkdir -p"
            in ran.err
        )
        assert ran.err.rstrip().endswith(f"> credentials/{path.name})")
    mesh.write(f"credentials/{path.name}", first.decode(), 0o600)
    done(run, mesh, "tokens", "rotate", name, "abort")
    done(run, mesh, "render", "--with-restarts")


def test_what_is_no_step_is_refused(mesh: WorkDir, run: Run) -> None:
    """In one sentence, with what to do."""
    assert (
        "is not being rotated\n  fix: begin with"
        in run("tokens", "rotate", EAST, "advance", cwd=mesh).err
    )
    assert (
        "is not being rotated\n  fix: begin with"
        in run("tokens", "rotate", EAST, "abort", cwd=mesh).err
    )
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    assert (
        "is being rotated already: generation 1 with 2 beside it\n"
        in run("tokens", "rotate", EAST, "begin", cwd=mesh).err
    )
    assert run("tokens", "rotate", "east", "begin", cwd=mesh).err.startswith(
        'error: NAME: no cluster "east" in the topology'
    )
    assert run("tokens", "rotate", EAST, cwd=mesh).err.startswith(
        "error: Missing argument 'STEP'. Choose from: begin, advance, abort, status\n"
    )
    mesh.topology(
        {
            "contexts": {
                EAST: {
                    "tokens": None,
                    "credential": {
                        "clientCertificate": {"certificateFile": "a.crt", "keyFile": "a.key"}
                    },
                }
            }
        }
    )
    assert (
        "peers log in to it by clientCertificate, and only tokens are rotated here\n"
        in run("tokens", "rotate", EAST, "begin", cwd=mesh).err
    )
    mesh.topology({"contexts": {EAST: {"credential": None, "disableRegistryJoin": True}}})
    assert (
        "no cluster discovers it, so it has no token for peers\n"
        in run("tokens", "rotate", EAST, "begin", cwd=mesh).err
    )


def test_render_refuses_a_step_that_was_skipped_by_hand(mesh: WorkDir, run: Run) -> None:
    """The old token must not go while the peers move, whoever edits the topology."""
    mesh.write(f"credentials/{EAST}.token.g2", "next", 0o600)
    mesh.topology({"contexts": {EAST: {"tokens": {"generation": 2}}}})
    before = read_files(mesh / "out")
    ran = run("render", cwd=mesh)
    assert (ran.code, read_files(mesh / "out") == before) == (2, True)
    assert (
        f"its Secret {SECRET} would go in the same render in which 2 directories would move to another token\n"
        in ran.err
    )
    checked = json.loads(run("check", "-o", "json", cwd=mesh).out)
    assert [c["status"] for c in checked["checks"] if c["id"] == "token-order"] == ["error"]


def test_a_sealed_token_of_another_generation_is_not_kept(
    tmp_path: Path, run: Run, clock: Clock
) -> None:
    """Where the tokens are not, a move is refused: the tree holds the old one, and would go on holding it."""
    mesh = copy_case("sops", tmp_path / "mesh")
    name = min(p.name for p in rendered_tree("sops").iterdir() if p.name[0] != "_")
    assert run("render", cwd=mesh).code == 0
    (mesh / "credentials" / f"{name}.token").unlink()
    assert run("render", "--check", cwd=mesh).code == 0
    topology = WorkDir(mesh)
    topology.topology({"contexts": {name: {"tokens": {"generation": 2, "beside": 1}}}})
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        f"has to be sealed anew, for what it is made from changed, and credentials/{name}.token.g2 is not here"
        in ran.err
    )


def stated(mesh: WorkDir, version: str) -> None:
    """Has base.yaml state a version."""
    mesh.write(
        "base.yaml",
        re.sub(
            r"version: (v?)1[0-9.]+", rf"version: \g<1>{version}", (mesh / "base.yaml").read_text()
        ),
    )


def on_version(version: str | None, tmp_path: Path, run: Run) -> WorkDir:
    """The mesh of two networks on a version of Istio, rendered; None: an IstioOperator, and no file that says which."""
    mesh = WorkDir(copy_case("two-networks", tmp_path / "mesh"))
    if version is None:
        mesh.topology({"secrets": {"store": "plain"}})
        mesh.write(
            "base.yaml",
            "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: default}\n",
        )
    else:
        mesh.topology({"secrets": {"store": "plain"}})
        stated(mesh, version)
    done(run, mesh, "render")
    return mesh


UNKNOWN = "no file states the version of Istio there, so it cannot be known offline whether istiod loses its endpoints"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.29.6", "west: istiod up to 1.29 drops the cluster"),
        ("1.30.4", "west: istiod connects anew before"),
        ("1.31.0", "west: istiod connects anew before"),
        (None, f"west, and {UNKNOWN}"),
    ],
)
def test_what_istiod_does_with_it(
    version: str | None, said: str, tmp_path: Path, run: Run, clock: Clock
) -> None:
    """By its version; where no file states it, nothing is promised, and the command is there that prints it. Nothing of it is refused."""
    mesh = on_version(version, tmp_path, run)
    assert "istiod" not in done(run, mesh, "tokens", "rotate", "east", "begin")
    done(run, mesh, "render")
    mesh.write("credentials/east.token.g2", "next", 0o600)
    out = done(run, mesh, "tokens", "rotate", "east", "advance")
    assert said in out
    assert "rollout restart" not in out
    assert ("connects anew before" in out) == (version in ("1.30.4", "1.31.0"))
    (found,) = [
        c
        for c in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
        if c["id"] == "secret-change"
    ]
    assert found["status"] == ("ok" if version else "warning")
    explained = run("explain", "no healthy upstream", cwd=mesh).out
    assert ("cannot be known offline: istiod lost the endpoints" in explained) == (version is None)
    differs = run("diff", cwd=mesh).out
    assert (
        "it cannot be known offline; in 1.30.0 to 1.30.3 istiod reconnects to east, and may lose its endpoints"
        in differs
    ) == (version is None)
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert (UNKNOWN in ran.err) == (version is None)
    assert (
        "kubectl --context=west -n istio-system get deployment -l app=istiod -o 'jsonpath={..image}'"
        in ran.err
    ) == (version is None)


@pytest.mark.parametrize("version", ["1.30.0", "1.30.3"])
def test_a_rotation_that_needs_restarts(
    version: str, tmp_path: Path, run: Run, clock: Clock
) -> None:
    """istiod 1.30.0 to 1.30.3 loses the cluster: every command says so, and only --with-restarts goes on, with the restart after each apply."""
    mesh = on_version(version, tmp_path, run)
    loses = "istiod 1.30.0 to 1.30.3 loses all endpoints of a cluster whose remote secret changes"
    done(run, mesh, "render")

    def refused(*words: str, place: str) -> None:
        before = snapshot(mesh.path)
        ran = run(*words, cwd=mesh)
        assert (ran.code, ran.out) == (2, "")
        assert place in ran.err
        assert (
            f"changes its remote secret in west: {loses}" in ran.err
            or f"its remote secret changes in west: {loses}" in ran.err
        )
        assert "fix: upgrade Istio to 1.30.4 or later first; or use --with-restarts" in ran.err
        assert "42 of 6,438 failed (4 s); on 1.31.0 none of 6,218 failed" in ran.err
        assert snapshot(mesh.path) == before

    def found() -> str:
        (check,) = [
            c
            for c in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
            if c["id"] == "secret-change"
        ]
        return str(check["status"])

    refused("tokens", "rotate", "east", "begin", place="contexts.east")
    done(run, mesh, "tokens", "rotate", "east", "begin", "--with-restarts")
    done(run, mesh, "render")
    assert found() == "ok"
    mesh.write("credentials/east.token.g2", "next", 0o600)
    out = done(run, mesh, "tokens", "rotate", "east", "advance")
    restart = (
        "kubectl --context=west apply -k out/west/3-mesh"
        " && kubectl --context=west -n istio-system rollout restart deployment -l app=istiod"
        " && kubectl --context=west -n istio-system rollout status deployment -l app=istiod"
    )
    look = "istioctl --context=west proxy-config endpoints POD.NAMESPACE"
    assert (
        "next: kubectl mesh render --with-restarts; review and apply it, in any order of the clusters\n  restart istiod right after each apply"
        in out
    )
    assert (restart in out, look in out, loses in out) == (True, True, True)
    refused("render", place="contexts.east")
    refused("render", "--check", place="contexts.east")
    assert found() == "error"
    assert "proxy-config endpoints" in run("explain", "no healthy upstream", cwd=mesh).out
    assert "restart it right after the apply" in run("diff", cwd=mesh).out
    ran = run("render", "--with-restarts", cwd=mesh)
    assert ran.code == 0
    assert (restart in ran.err, look in ran.err) == (True, True)
    assert found() == "ok"
    # Whoever writes another token, server or CA changes the remote secret too.
    mesh.write("credentials/east.token.g2", "another", 0o600)
    refused("render", place="contexts.east")
    mesh.write("credentials/east.token.g2", "next", 0o600)
    mesh.topology({"contexts": {"east": {"server": "https://192.0.2.99:6443"}}})
    refused("render", place="contexts.east")


@pytest.mark.parametrize("case", ["bundle", "external", "sealed", "sops-flux", "sops-argocd"])
def test_the_restart_is_where_the_change_is_applied(
    case: str, tmp_path: Path, run: Run, clock: Clock
) -> None:
    """Of a bundle after its apply; where a tool or an operator brings the change, once it has."""
    mesh = WorkDir(copy_case(case, tmp_path / "mesh"))
    stated(mesh, "1.30.3")
    done(run, mesh, "render")
    name, peer = sorted(p.name for p in (mesh / "out").iterdir() if p.name[0] != "_")[:2]
    assert run("tokens", "rotate", name, "begin", cwd=mesh).code == 2
    done(run, mesh, "tokens", "rotate", name, "begin", "--with-restarts")
    done(run, mesh, "render")
    mesh.write(f"credentials/{name}.token.g2", "next", 0o600)
    out = done(run, mesh, "tokens", "rotate", name, "advance")
    context = yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"]
    chosen = next(c for c in context if peer in (c, context[c].get("clusterName")))
    restart = f"kubectl --context={chosen} -n istio-system rollout restart deployment -l app=istiod"
    when = {
        "bundle": f"right after each apply, one cluster after the other; until then it has none of the endpoints:\n    kubectl --context={chosen} apply -k out/_",
        "external": f"as soon as the External Secrets Operator has written the remote secret; until then it has none of the endpoints:\n    {restart}",
        "sealed": f"as soon as the Sealed Secrets controller has written the remote secret; until then it has none of the endpoints:\n    {restart}",
        "sops-flux": f"as soon as Flux has applied it; until then it has none of the endpoints:\n    {restart}",
        "sops-argocd": f"as soon as Argo CD has applied it; until then it has none of the endpoints:\n    {restart}",
    }
    assert when[case] in out
    assert restart in out
    ran = run("render", cwd=mesh)
    assert (ran.code, "Istio's issue 61043" in ran.err) == (2, True)
    ran = run("render", "--with-restarts", cwd=mesh)
    assert (ran.code, restart in ran.err) == (0, True)


def commit(mesh: WorkDir) -> None:
    """Commits all that git takes, as somebody whose pipeline applies the last commit."""
    words = [
        "git",
        "-C",
        str(mesh),
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    subprocess.run([*words, "add", "-A"], check=True)
    subprocess.run([*words, "commit", "-q", "--allow-empty", "-m", "x"], check=True)


@pytest.mark.parametrize(
    "case", ["two-networks", "per-peer", "bundle", "sops", "sealed", "external"]
)
def test_the_last_commit_must_hold_the_step(
    case: str, tmp_path: Path, run: Run, clock: Clock
) -> None:
    """A tree on disk is in no cluster: neither a move, nor the end of a token, nor the way back, before the step is committed and was seen."""
    mesh = WorkDir(copy_case(case, tmp_path / "mesh"))
    name = min(p.name for p in rendered_tree(case).iterdir() if p.name[0] != "_")
    if case in ("two-networks", "per-peer", "bundle"):
        mesh.topology({"secrets": {"store": "plain"}})
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    mesh.write(".gitignore", "/certs/\n/credentials/\n/kubeconfig.yaml\n.kubectl-mesh-*\n")
    done(run, mesh, "render")
    commit(mesh)
    rotate = ("tokens", "rotate", name)

    def refused(*words: str) -> str:
        before = snapshot(mesh.path)
        ran = run(*rotate, *words, cwd=mesh)
        assert (ran.code, ran.out) == (2, "")
        assert {k: v for k, v in snapshot(mesh.path).items() if not k.startswith(".git/")} == {
            k: v for k, v in before.items() if not k.startswith(".git/")
        }
        return ran.err

    done(run, mesh, *rotate, "begin", "--with-restarts")
    done(run, mesh, "render")
    for path in (
        sorted((mesh / "credentials").glob(f"{name}*.token"))
        if (mesh / "credentials").is_dir()
        else []
    ):
        mesh.write(f"credentials/{path.name}.g2", f"next-token-of-{path.name}", 0o600)
    assert f"error: HEAD:out/{name}/3-mesh/reader" in refused("advance")
    assert (
        "the step before is not committed\n  fix: commit what was rendered, and have it applied everywhere"
        in refused("advance")
    )
    assert "the step before is not committed" in refused("abort", "--seen-for", "2h")
    commit(mesh)
    assert "error: --seen-for: is required" in refused("abort")
    done(run, mesh, *rotate, "advance")
    done(run, mesh, "render", "--with-restarts")
    for step in ("advance", "abort"):
        err = refused(step, "--seen-for", "2h")
        assert "error: HEAD:out/" in err
        assert "the step before is not committed" in err
    commit(mesh)
    assert "error: --seen-for: is required: a token of" in refused("advance")
    if case == "external":
        assert (
            "error: --seen-for: is 1h; the token is pushed within 1h, and the peers get it within 1h more"
            in refused("advance", "--seen-for", "1h")
        )
    done(run, mesh, *rotate, "advance", "--seen-for", "2h")


def test_where_no_tree_is_committed_only_the_time_is_asked_for(mesh: WorkDir, run: Run) -> None:
    """As with `rotate-root`: no repository, or one that ignores out/, says nothing of the clusters."""
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    mesh.write(".gitignore", "/certs/\n/credentials/\n/kubeconfig.yaml\n.kubectl-mesh-*\n/out/\n")
    commit(mesh)
    done(run, mesh, "tokens", "rotate", EAST, "begin")
    done(run, mesh, "render")
    mesh.write(f"credentials/{EAST}.token.g2", "next", 0o600)
    done(run, mesh, "tokens", "rotate", EAST, "advance")
    done(run, mesh, "render")
    assert (
        "error: --seen-for: is required" in run("tokens", "rotate", EAST, "advance", cwd=mesh).err
    )
    done(run, mesh, "tokens", "rotate", EAST, "advance", "--seen-for", "0h")


def test_age_and_end_of_a_token(mesh: WorkDir, run: Run) -> None:
    """What a token says of itself is told; of one that never expires, that too; and only who asks is told of its age."""
    mesh.token(
        EAST, jwt(sub="reader", iat=DAY.timestamp() - 100 * 86400, exp=DAY.timestamp() + 50 * 86400)
    )
    mesh.token("context-west-1", of_secret(SECRET))
    done(run, mesh, "render")
    described = done(run, mesh, "describe")
    assert (
        "  token        made 2026-08-23 (100 days ago), expires 2027-01-20 (50 days), reader\n"
        in described
    )
    assert (
        "  token        never expires, system:serviceaccount:istio-system:istio-reader-service-account\n"
        in described
    )
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
    read = lambda text: load_document("t", text.encode()).value  # noqa: E731
    text = first
    for entry in (
        {"generation": 1, "beside": 2},
        {"generation": 2, "beside": 1},
        {"generation": 2},
        {"generation": 2, "beside": 3},
        {"generation": 2},
    ):
        text = edit.set_tokens(text, "east", entry, read)
        value: Any = read(text)
        assert value["contexts"]["east"]["tokens"] == entry
        assert text.count("#") == first.count("#")
    assert edit.set_tokens(text, "east", {}, read).split() == first.split()


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
