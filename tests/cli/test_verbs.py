"""The verbs from outside: what they print, write and answer, through every way in which they are called."""

import base64
import errno
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kubectl_mesh.cli import COMMANDS
from kubectl_mesh.workdir.git_ignore import GITIGNORE
from tests.conftest import SEED, TOP, Run, WorkDir
from tests.support.checked import valid

Make = Callable[..., WorkDir]
BIN = Path(sys.executable).parent


# Ways in


@pytest.mark.parametrize(
    "words", [["kubectl", "mesh"], ["kubectl-mesh"], [sys.executable, "-m", "kubectl_mesh"]]
)
def test_three_ways_to_call(words: list[str]) -> None:
    """Through the real kubectl, by its own name, as a module."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    if shutil.which(words[0], path=environment["PATH"]) is None:
        pytest.skip(f"{words[0]} is not on PATH")
    done = subprocess.run(
        [*words, "version"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (0, "kubectl mesh 0.1.0\n"), done.stderr


def test_every_verb_has_help_in_80_columns(run: Run) -> None:
    """--help of each verb says `kubectl mesh`, and fits a terminal."""
    for verb in ("", *COMMANDS):
        ran = run(*([verb] if verb else []), "--help")
        assert ran.code == 0
        assert ran.out.startswith(f"Usage: kubectl mesh {verb}".rstrip()), ran.out
        assert max(map(len, ran.out.splitlines())) <= 80, ran.out


def test_version_is_the_same_everywhere(run: Run) -> None:
    """`version` and `--version` agree."""
    assert run("version").out == run("--version").out


def test_usage_errors(run: Run) -> None:
    """A wrong verb or option: one line, where to look, exit code 2."""
    ran = run("rendr")
    assert (ran.code, ran.out, ran.err) == (
        2,
        "",
        'error: there is no verb "rendr" (did you mean "render"?)\n  see: kubectl mesh --help\n',
    )
    ran = run("render", "--chek")
    assert (ran.code, "kubectl mesh render --help" in ran.err) == (2, True)


def test_completion_as_kubectl_asks(workdir: Make) -> None:
    """`kubectl_complete-mesh` gives verbs, options and contexts, and ends with the directive."""
    mesh = workdir()

    def ask(*words: str) -> list[str]:
        done = subprocess.run(
            [BIN / "kubectl_complete-mesh", *words],
            capture_output=True,
            text=True,
            cwd=mesh,
            check=True,
        )
        *lines, last = done.stdout.splitlines()
        assert last == ":4"
        return [line.split("\t")[0] for line in lines]

    assert ask("re") == ["remove", "render"]
    assert "--strict" in ask("render", "--")
    assert ask("remove", "context-e") == ["context-east-1", "context-east-2"]
    assert ask("render", "--cluster", "context-w") == ["context-west-1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run: Run, shell: str) -> None:
    """A script for each shell, for `kubectl-mesh`."""
    ran = run("completion", shell)
    assert ran.code == 0
    assert "kubectl-mesh" in ran.out


def test_an_unforeseen_exception_shows_nothing_secret(
    run: Run, monkeypatch: pytest.MonkeyPatch, workdir: Make
) -> None:
    """A fault of our own is a sentence with a place, never a traceback or the message, which may hold anything."""

    def fail(*a: object, **options: object) -> None:
        raise ValueError("-----BEGIN PRIVATE KEY-----")

    monkeypatch.setattr("kubectl_mesh.operations.render.load_inputs", fail)
    ran = run("render", cwd=workdir())
    assert ran.code == 2
    assert ran.err.startswith(
        "error: kubectl mesh has a fault of its own (ValueError at test_verbs.py:"
    )
    assert "PRIVATE" not in ran.err + ran.out


# init, add, remove


def test_init_makes_a_directory_that_renders(run: Run, tmp_path: Path) -> None:
    """From a kubeconfig: topology with servers, CAs, base.yaml, root, .gitignore; then it renders with nothing else at hand."""
    mesh = tmp_path / "new" / "mesh"
    kubeconfig = {"KUBECONFIG": str(SEED / "kubeconfig.yaml")}
    words = ["init", "-C", mesh, "--mesh-id", "acme", "--organization", "Acme Inc", "-o", "json"]
    ran = run(
        *words,
        "--context",
        "context-east-1=east",
        "--context",
        "context-west-1=west",
        env=kubeconfig,
    )
    assert ran.code == 0, ran.err
    made = {f["path"]: f["action"] for f in valid("init", ran.out)["files"]}  # type: ignore[attr-defined]
    assert set(made.values()) == {"create"}
    assert {
        ".gitignore",
        "topology.yaml",
        "base.yaml",
        "clusters/context-east-1.crt",
        "certs/root-key.pem",
        "certs/root-cert.pem",
    } <= set(made)
    topology = yaml.safe_load((mesh / "topology.yaml").read_text())
    assert topology == {
        "mesh_id": "acme",
        "organization": "Acme Inc",
        "contexts": {
            "context-east-1": {"network": "east", "server": "https://203.0.113.11:6443"},
            "context-west-1": {"network": "west", "server": "https://198.51.100.21:6443"},
        },
    }
    assert stat.S_IMODE((mesh / "certs/root-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((mesh / "credentials").stat().st_mode) == 0o700
    rendered = run("render", "-C", mesh)
    assert rendered.code == 0, rendered.err
    assert "5 things" not in rendered.out
    described = json.loads(run("describe", "-C", mesh, "-o", "json").out)
    assert described["roots"][0]["subject"] == "O=Acme Inc, CN=Root CA"
    assert {c["certificate"]["subject"] for c in described["clusters"]} == {
        "O=Acme Inc, CN=Intermediate CA, L=intermediate-context-east-1",
        "O=Acme Inc, CN=Intermediate CA, L=intermediate-context-west-1",
    }


def test_a_context_that_makes_no_name(run: Run, tmp_path: Path) -> None:
    """`init` points at `add`, which does what it says; `add` points at its own option."""
    words = ["init", "-C", tmp_path / "mesh", "--mesh-id", "acme"]
    ran = run(*words, "--context", "___=net", "--context", "east=net")
    assert ran.code == 2
    said = ran.err.partition("error: ")[2]
    assert said.startswith(
        "--context: contexts.___: the context's name \"___\" leaves nothing for the cluster's name\n  fix: leave it out here, and then `"
    )
    assert "clusterName" not in said
    command = said.split("`")[1].replace("NAME", "odd").split()
    assert run(*words, "--context", "east=net").code == 0
    assert (
        command
        == f"kubectl mesh add -C {tmp_path}/mesh ___ --network net --cluster-name odd".split()
    )
    assert "\n  fix: give --cluster-name NAME: lower-case" in run(*command[2:-2]).err
    assert run(*command[2:]).code == 0


def test_init_keeps_what_is_there(run: Run, tmp_path: Path) -> None:
    """A second init, and one over a person's files, changes nothing."""
    environment = {"MESH_ID": "acme", "ORG_NAME": "Acme"}
    assert run("init", "-C", tmp_path, env=environment).code == 0
    (tmp_path / "base.yaml").write_text("mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    ran = run("init", "-C", tmp_path, env=environment)
    assert ran.code == 0, ran.err
    assert {line.split()[0] for line in ran.out.splitlines()} == {"keep"}
    assert ran.err == f"next: kubectl mesh render -C {tmp_path}\n"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_init_refuses_what_it_cannot_heed(run: Run, tmp_path: Path, workdir: Make) -> None:
    """No name; a mistyped context; a context on loopback; a topology that is there and differs."""
    env = {"KUBECONFIG": str(TOP / "examples/fleet/kubeconfig.yaml")}
    assert "--mesh-id NAME" in run("init", "-C", tmp_path).err
    ran = run(
        "init",
        "-C",
        tmp_path,
        "--mesh-id",
        "a",
        "--context",
        "kind-lokal=x",
        "--context",
        "kind-local=x",
        "--context",
        "nonsense",
        env=env,
    )
    assert ran.code == 2
    assert 'no such context in the kubeconfig: "kind-lokal" (did you mean "kind-local"?)' in ran.err
    assert "is the loopback address https://127.0.0.1:41234" in ran.err
    assert '"nonsense" is not CTX=NETWORK' in ran.err
    assert run("init", "-C", tmp_path, "--mesh-id", "Not A Label").code == 2
    assert list(tmp_path.iterdir()) == []
    assert (
        'mesh_id: is "mymeshname", and --mesh-id asks for "other"'
        in run("init", "-C", workdir(), "--mesh-id", "other").err
    )


def test_add_and_remove(run: Run, tmp_path: Path) -> None:
    """add copies server and CA and keeps comments; remove undoes it, and names what stays."""
    env = {"KUBECONFIG": str(TOP / "examples/fleet/kubeconfig.yaml")}
    assert (
        run("init", "-C", tmp_path, "--mesh-id", "acme", "--context", "001=us", env=env).code == 0
    )
    path = tmp_path / "topology.yaml"
    path.write_text(path.read_text() + "# the end\n")
    path.chmod(0o640)
    before = path.read_text()
    ran = run("add", "no", "-C", tmp_path, "--network", "edge", "-o", "json", env=env)
    assert ran.code == 0, ran.err
    assert valid("add", ran.out)["cluster"] == "no"
    assert (tmp_path / "clusters/no.crt").read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert (
        path.read_text().replace(
            '  "no":\n    network: edge\n    server: https://203.0.113.40:6443\n', ""
        )
        == before
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert run("add", "no", "-C", tmp_path, "--network", "edge", env=env).out == "nothing to add\n"
    assert run("add", "no", "-C", tmp_path, "--network", "core", env=env).code == 2
    assert (
        'did you mean "kind-local"'
        in run("add", "kind-lokal", "-C", tmp_path, "--network", "x", env=env).err
    )
    ca = tmp_path / "clusters/no.crt"
    words = ["--network", "x", "--server", "https://192.0.2.9:6443", "--ca", ca]
    assert run("add", "kind-local", "-C", tmp_path, *words, env=env).code == 0
    ran = run("remove", "no", "-C", tmp_path, "-o", "json")
    removed = valid("remove", ran.out)
    assert removed["left"] == ["clusters/no.crt"]
    assert {c["cluster"] for c in removed["commands"]} == {"001", "kind-local", "no"}  # type: ignore[attr-defined]
    assert run("remove", "kind-local", "-C", tmp_path).code == 0
    assert path.read_text() == before
    assert 'did you mean "001"' in run("remove", "0001", "-C", tmp_path).err
    assert "only cluster" in run("remove", "001", "-C", tmp_path).err


def test_add_fills_in_what_is_missing(run: Run, workdir: Make) -> None:
    """The command that a pending server prints: the context is there, its server is not."""
    mesh = workdir(kubeconfig=False)
    ran = run("render", cwd=mesh)
    assert (
        "cluster context-west-1: its API server (as the peers reach it)\n    holds back its remote secret in 2 clusters"
        in ran.out
    )
    assert "    kubectl mesh add --network network-west context-west-1\n" in ran.out
    ran = run(
        "add",
        "context-west-1",
        "--network",
        "network-west",
        cwd=mesh,
        env={"KUBECONFIG": str(SEED / "kubeconfig.yaml")},
    )
    assert ran.code == 0
    entry = yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"]["context-west-1"]
    assert entry == {"network": "network-west", "server": "https://198.51.100.21:6443"}
    assert "its API server (as the peers reach it)" not in "".join(
        line for line in run("render", cwd=mesh).out.splitlines() if "west-1" in line
    )


def test_kubeconfigs_as_kubectl_reads_them(run: Run, tmp_path: Path) -> None:
    """Several in KUBECONFIG (the first wins), a CA in a file of its own, ~/.kube/config without any."""
    seed = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    pem = base64.b64decode(seed["clusters"][0]["cluster"].pop("certificate-authority-data"))
    seed["clusters"][0]["cluster"]["certificate-authority"] = "ca/east.pem"
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/east.pem").write_bytes(pem)
    (tmp_path / "one").write_text(yaml.safe_dump(seed))
    other = str(SEED / "kubeconfig.yaml").replace(":", "")
    ran = run(
        "init",
        "-C",
        tmp_path / "a",
        "--mesh-id",
        "a",
        "--context",
        "context-east-1=n",
        env={"KUBECONFIG": f"{tmp_path}/one:{other}:{tmp_path}/none"},
    )
    assert ran.code == 0, ran.err
    assert (tmp_path / "a/clusters/context-east-1.crt").read_bytes() == pem
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    shutil.copy(SEED / "kubeconfig.yaml", home / ".kube/config")
    ran = run(
        "init",
        "-C",
        tmp_path / "b",
        "--mesh-id",
        "a",
        "--context",
        "context-east-1=n",
        env={"HOME": str(home)},
    )
    assert ran.code == 0, ran.err


# the page's mistake, and the fleet's


def test_the_page_as_printed(run: Run, tmp_path: Path) -> None:
    """Both misprinted contexts are named with the right ones; exit code 2, nothing written."""
    shutil.copy(SEED / "topology-as-printed.yaml", tmp_path / "topology.yaml")
    shutil.copy(SEED / "kubeconfig.yaml", tmp_path)
    ran = run("render", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err == (
        'error: topology.yaml:5:3: contexts.content-east-2: no such context in kubeconfig.yaml (did you mean "context-east-2"?)\n'
        'error: topology.yaml:7:3: contexts.content-west-1: no such context in kubeconfig.yaml (did you mean "context-west-1"?)\n'
    )
    assert {p.name for p in tmp_path.iterdir()} == {"topology.yaml", "kubeconfig.yaml"}
    checked = run("check", cwd=tmp_path)
    assert checked.code == 1
    assert checked.out.count("× kubeconfig-context") == 2


def test_the_fleet_as_clouds_give_it(run: Run, tmp_path: Path) -> None:
    """kind's loopback server is named with its remedy; with that followed the fleet renders, under safe names."""
    for name in ("topology.yaml", "kubeconfig.yaml"):
        shutil.copy(TOP / "examples/fleet" / name, tmp_path)
    ran = run("render", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.startswith(
        "error: topology.yaml:10:3: contexts.kind-local: its server in kubeconfig.yaml:17 is the loopback address https://127.0.0.1:41234"
    )
    assert "fix: state the server as the peers reach it: contexts.kind-local.server" in ran.err
    text = (
        (tmp_path / "topology.yaml")
        .read_text()
        .replace(
            "  kind-local:\n", "  kind-local:\n    server: https://kind-local-control-plane:6443\n"
        )
    )
    config = yaml.safe_load((tmp_path / "kubeconfig.yaml").read_text())
    data = next(
        c["cluster"]["certificate-authority-data"]
        for c in config["clusters"]
        if c["name"] == "kind-local"
    )
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters/kind-local.crt").write_bytes(base64.b64decode(data))
    (tmp_path / "topology.yaml").write_text(text + "certificates: {keyType: ec-p256}\n")
    assert run("render", cwd=tmp_path).code == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "001",
        "admin-talos-edge-7",
        "aks-prod-west",
        "arn-aws-eks-us-east-1-111122223333-cluster-checkout",
        "gke-acme-prod-europe-west1-payments",
        "kind-local",
        "no",
    }


# check, describe, teardown, schema, json


def test_check_of_a_sound_mesh(run: Run, workdir: Make) -> None:
    """Everything is ok but what is pending; exit code 0, and JSON by its schema."""
    mesh = workdir(tokens=True, over={"certificates": {"keyType": "rsa-2048"}})
    assert run("render", cwd=mesh).code == 0
    ran = run("check", cwd=mesh)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1].startswith("0 errors, 2 warnings, ")
    value = valid("check", run("check", "-o", "json", cwd=mesh).out)
    assert value["ok"] is True
    statuses = {c["id"]: c["status"] for c in value["checks"]}  # type: ignore[attr-defined]
    assert {i for i, status in statuses.items() if status in ("warning", "error")} == {
        "gateway-pending"
    }
    no_base = {"base-valid", "base-lost", "base-identity", "base-reader", "base-registry"}
    assert {i for i, status in statuses.items() if status == "skipped"} == {*no_base, "token-old"}
    unknown = {"server-ca", "server-reachable", "server-unique", "token-expired", "token-expiring"}
    assert {i for i, status in statuses.items() if status == "unknown"} == unknown


def test_check_fails_within(run: Run, workdir: Make) -> None:
    """--fail-within turns certificates that expire in time into errors: exit code 1; wrong times are usage errors."""
    mesh = workdir(over={"certificates": {"keyType": "ec-p256", "intermediateDays": 20}})
    assert run("render", cwd=mesh).code == 0
    assert run("check", cwd=mesh).code == 0
    assert run("check", "--fail-within", "10d", cwd=mesh).code == 0
    ran = run("check", "--fail-within", "30d", cwd=mesh)
    assert ran.code == 1
    assert ran.out.count("× certs-expiring") == 3
    assert run("check", "--fail-within", "12y", cwd=mesh).out.count("× certs-expiring") == 4
    assert run("check", "--fail-within", "soon", cwd=mesh).code == 2


def test_reports_as_json(run: Run, workdir: Make) -> None:
    """`-o json` of every verb is valid by its schema, and stdout holds nothing else."""
    mesh = workdir()
    value = valid("render", run("render", "-o", "json", cwd=mesh).out)
    assert (value["written"], value["changed"]) == (True, True)
    assert valid("render", run("render", "--check", "-o", "json", cwd=mesh).out)["changed"] is False
    assert [
        c["name"]
        for c in valid("describe", run("describe", "-o", "json", cwd=mesh).out)["clusters"]
    ] == [  # type: ignore[attr-defined]
        "context-east-1",
        "context-east-2",
        "context-west-1",
    ]
    only = valid(
        "describe", run("describe", "--cluster", "context-west-1", "-o", "json", cwd=mesh).out
    )
    assert len(only["clusters"]) == 1  # type: ignore[arg-type]
    commands = valid("teardown", run("teardown", "-o", "json", cwd=mesh).out)["commands"]
    assert {c["cluster"] for c in commands} == {
        "context-east-1",
        "context-east-2",
        "context-west-1",
    }  # type: ignore[attr-defined]


def test_teardown_uses_the_namespaces_of_the_topology(run: Run, workdir: Make) -> None:
    """Per cluster, after its peers have forgotten it: the operator, Galley, which would create its webhook again, webhooks, roles, the namespace."""
    mesh = workdir(
        over={
            "contexts": {
                "context-west-1": {"namespace": "mesh-system", "serviceAccountReader": "reader"}
            }
        }
    )
    out = run("teardown", "--cluster", "context-west-1", cwd=mesh).out
    label = "-l operator.istio.io/component --ignore-not-found"
    kubectl = "kubectl --context=context-west-1"
    crd = f"{kubectl} get customresourcedefinitions istiocontrolplanes.install.istio.io --ignore-not-found -o name"
    resource = "delete istiocontrolplanes.install.istio.io default --ignore-not-found --timeout=10m"
    webhooks, roles = (
        "mutatingwebhookconfigurations,validatingwebhookconfigurations",
        "clusterrolebindings,clusterroles",
    )
    galley = "delete deployments istio-galley istio-sidecar-injector --cascade=foreground --ignore-not-found --timeout=10m"
    assert out.splitlines()[1:-1] == [
        "# context-east-1",
        "kubectl --context=context-east-1 -n istio-system delete secret istio-remote-secret-context-west-1 --ignore-not-found",
        "# context-east-2",
        "kubectl --context=context-east-2 -n istio-system delete secret istio-remote-secret-context-west-1 --ignore-not-found",
        "# context-west-1",
        f'if [ -n "$({crd})" ]; then {kubectl} -n istio-operator {resource}; fi',
        f"{kubectl} -n mesh-system {galley}",
        f"{kubectl} delete {webhooks} {label}",
        f"{kubectl} delete {roles} {label}",
        f"{kubectl} delete validatingwebhookconfigurations istio-galley --ignore-not-found",
        f"{kubectl} delete {roles} -l app.kubernetes.io/managed-by=kubectl-mesh --ignore-not-found",
        f"{kubectl} delete namespace mesh-system --wait --ignore-not-found --timeout=10m",
    ]


def test_schema_verb(run: Run) -> None:
    """Prints every schema that it lists; each is a valid schema."""
    names = run("schema", "--list").out.split()
    assert {
        "topology",
        "report/render",
        "report/check",
        "kind/secret-v1",
        "kind/istiocontrolplane-install-v1alpha2",
    } <= set(names)
    for name in names:
        value = json.loads(run("schema", name).out)
        jsonschema.validators.validator_for(value).check_schema(value)
    assert run("schema").out == run("schema", "topology").out
    assert 'did you mean "topology"' in run("schema", "topolgy").err


# git


@pytest.fixture
def git(workdir: Make) -> WorkDir:
    """A working directory in a git work tree."""
    mesh = workdir()
    subprocess.run(["git", "init", "-q", "-b", "main", mesh], check=True, capture_output=True)
    return mesh


def test_plain_secrets_inside_git_are_refused(run: Run, git: WorkDir) -> None:
    """Unless the folder is ignored, or the topology says `plain` in so many words."""
    ran = run("render", cwd=git)
    assert ran.code == 2
    assert ran.err.startswith(
        "error: out: lies in a git work tree, and the store `plain` would put private keys there in clear"
    )
    assert all(store in ran.err for store in ("sops", "sealed", "external"))
    assert not (git / "certs").exists()
    assert not (git / "out").exists()
    assert run("render", "--dry-run", cwd=git).code == 2
    assert "× git-ignored" in run("check", cwd=git).out
    assert not (git / ".gitignore").exists()
    git.write(".gitignore", GITIGNORE + "/out/\n")
    assert run("render", cwd=git).code == 0
    git.write(".gitignore", (git / ".gitignore").read_text().replace("/out/\n", ""))
    git.topology({"secrets": {"store": "plain"}})
    assert run("render", cwd=git).code == 0
    status = subprocess.run(
        ["git", "-C", git, "status", "--porcelain", "-uall"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "out/context-east-1/1-trust/cacerts.yaml" in status
    assert not [
        line
        for line in status.splitlines()
        if "key.pem" in line or ".token" in line or "kubectl-mesh" in line
    ]


def test_private_files_are_kept_out_of_git(run: Run, git: WorkDir) -> None:
    """A .gitignore that lets keys through is refused with the lines it lacks, by render and by init; it is not changed."""
    git.topology({"secrets": {"store": "plain"}})
    git.write(".gitignore", "*.swp\n")
    for words in (["render"], ["init"]):
        ran = run(*words, cwd=git)
        assert ran.code == 2, words
        assert "/certs/root-key.pem" in ran.err
        assert "/credentials/" in ran.err
    assert (git / ".gitignore").read_text() == "*.swp\n"
    assert not (git / "certs").exists()


def test_without_git_nothing_counts_as_ignored(run: Run, git: WorkDir, tmp_path: Path) -> None:
    """In a work tree, but with no git to ask: refused."""
    git.write(".gitignore", "/out/\n/certs/\n/credentials/\n")
    assert run("render", cwd=git, env={"PATH": str(tmp_path / "empty")}).code == 2
    assert run("render", cwd=git).code == 0


def test_a_token_file_elsewhere_is_kept_out_of_git(run: Run, git: WorkDir) -> None:
    """The .gitignore that is written, and the lines that are asked for, know the token files of this topology."""
    git.topology(
        {
            "secrets": {"store": "plain"},
            "contexts": {"context-east-1": {"credential": {"tokenFile": "tok/one"}}},
        }
    )
    git.write("tok/one", "token", 0o600)
    assert run("render", cwd=git).code == 0
    assert "/tok/one\n" in (git / ".gitignore").read_text()
    git.write(".gitignore", GITIGNORE)
    ran = run("render", cwd=git)
    assert (ran.code, ran.err.splitlines()[1:]) == (
        2,
        ["  fix: add these lines to it:", "    /tok/one"],
    )
    git.write(".gitignore", GITIGNORE + "/tok/one\n!/tok/one\n")
    assert "find the line that takes them in again" in run("render", cwd=git).err


# where things may be


@pytest.mark.parametrize("out", [".", "..", "certs", "clusters/deep", "credentials", "/", ""])
def test_a_tree_needs_a_folder_of_its_own(run: Run, workdir: Make, out: str) -> None:
    """Not the working directory, nothing above it, nothing that it is made of."""
    mesh = workdir()
    before = mesh.snapshot()
    ran = run("render", "--out", out, cwd=mesh)
    assert ran.code == 2, out
    assert ran.err.count("error: ") == 1
    assert mesh.snapshot() == before


def test_folders_that_are_none(run: Run, tmp_path: Path) -> None:
    """A working directory that is not there, or a file: a sentence for each verb."""
    (tmp_path / "file").write_text("")
    for words in (
        ["render"],
        ["check"],
        ["describe"],
        ["teardown"],
        ["add", "x", "--network", "y"],
        ["remove", "x"],
    ):
        for where in ("nothere", "file"):
            ran = run(*words, "-C", tmp_path / where)
            assert ran.code == 2, words
            assert ran.err.startswith(f"error: {tmp_path / where}"), ran.err
            assert "fix: " in ran.err


def test_a_folder_that_is_not_ours_to_write(
    run: Run, workdir: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told as such; --check works all the same. (Root may write everywhere, so the system's answer is stood in for.)"""
    mesh = workdir()
    original = os.open

    def refuse(path: "str | bytes", flags: int, *rest: object, **more: object) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return original(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    said = "error: .: cannot be written to\n  fix: ask its owner for the right to write"
    assert run("render", cwd=mesh).err == f"{said}; --check and --dry-run need none\n"
    assert run("render", "--check", cwd=mesh).code == 1
    for words in (
        ("add", "b", "--network", "n"),
        ("remove", "context-east-1"),
        ("certs", "renew", "--all"),
    ):
        assert run(*words, cwd=mesh).err == f"{said}\n", words


def test_bare_call_prints_help(run: Run) -> None:
    """`kubectl mesh` alone."""
    assert run().out == run("--help").out


# what is wrong is told once, and only what is wrong


def test_check_tells_only_what_is_wrong(run: Run, workdir: Make, tmp_path: Path) -> None:
    """One bad server, one bad token: the other clusters are not called unknown."""
    for name in ("topology.yaml", "kubeconfig.yaml"):
        shutil.copy(TOP / "examples/fleet" / name, tmp_path)
    out = run("check", cwd=tmp_path).out
    assert out.count("× server-reachable") == 1
    assert "√ server-pending" in out
    mesh = workdir(tokens=True)
    mesh.token("context-east-2", "two words")
    out = run("check", cwd=mesh).out
    assert out.count("× token-readable") == 1
    assert "√ token-pending" in out


def test_a_stated_server_takes_the_ca_of_the_kubeconfig(run: Run, tmp_path: Path) -> None:
    """The remedy for a loopback server is one line; for `add --server` too. Without any CA it is refused before it is written."""
    for name in ("topology.yaml", "kubeconfig.yaml"):
        shutil.copy(TOP / "examples/fleet" / name, tmp_path)
    text = (
        (tmp_path / "topology.yaml")
        .read_text()
        .replace(
            "  kind-local:\n", "  kind-local:\n    server: https://kind-local-control-plane:6443\n"
        )
    )
    (tmp_path / "topology.yaml").write_text(text + "certificates: {keyType: ec-p256}\n")
    assert run("render", cwd=tmp_path).code == 0
    other = tmp_path / "other"
    env = {"KUBECONFIG": str(tmp_path / "kubeconfig.yaml")}
    assert run("init", "-C", other, "--mesh-id", "a", env=env).code == 0
    assert (
        run(
            "add",
            "kind-local",
            "-C",
            other,
            "--network",
            "n",
            "--server",
            "https://kind:6443",
            env=env,
        ).code
        == 0
    )
    assert (other / "clusters/kind-local.crt").is_file()
    before = (other / "topology.yaml").read_text()
    ran = run(
        "add",
        "elsewhere",
        "-C",
        other,
        "--network",
        "n",
        "--server",
        "https://elsewhere:6443",
        env=env,
    )
    assert (ran.code, "give --ca FILE" in ran.err) == (2, True)
    assert (other / "topology.yaml").read_text() == before


def test_without_any_kubeconfig(run: Run, tmp_path: Path) -> None:
    """init and add say that servers stay unknown, rather than nothing."""
    ran = run("init", "-C", tmp_path, "--mesh-id", "a", "--context", "one=n")
    assert ran.code == 0
    assert "kubeconfig: there is none, so server and CA stay unknown: one" in ran.err
    assert "stay unknown: two" in run("add", "two", "-C", tmp_path, "--network", "n").err


def test_flags_are_named_where_they_are_wrong(run: Run, tmp_path: Path) -> None:
    """Not a file that is not written."""
    assert run("init", "-C", tmp_path, "--mesh-id", "Not A Label").err.startswith(
        "error: --mesh-id: mesh_id: must be a DNS-1123 label"
    )
    assert run("init", "-C", tmp_path, "--mesh-id", "a", "--context", "one=n").code == 0
    assert (
        "\nerror: --network: must be a label value"
        in run("add", "two", "-C", tmp_path, "--network", "a b").err
    )


def test_a_withdrawn_secret_is_deleted_from_the_cluster_by_a_printed_command(
    run: Run, workdir: Make
) -> None:
    """What leaves the tree does not leave the cluster by `kubectl apply`: the commands are printed."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    commands = [
        f"kubectl --context={c} -n istio-system delete secret istio-remote-secret-context-west-1 --ignore-not-found"
        for c in ("context-east-1", "context-east-2")
    ]
    assert "would leave the tree, but not the clusters" in run("render", "--dry-run", cwd=mesh).out
    ran = run("render", "-o", "json", cwd=mesh)
    deleted: Any = valid("render", ran.out)["delete"]
    assert deleted[:2] == commands
    assert {line.split("--context=")[1].split()[0] for line in deleted[2:]} == {"context-west-1"}


def test_what_stands_twice_or_in_the_wrong_place(run: Run, workdir: Make) -> None:
    """One token in two files, one intermediate in two folders are warnings; two folders swapped an error, which no render puts into the tree."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    mesh.token("context-east-1", "token-of-context-east-2")
    said = (
        run("render", "--dry-run", cwd=mesh)
        .err.partition("warning: credentials/context-east-2.token: ")[2]
        .splitlines()
    )
    assert (
        said[0]
        == "holds the same token as credentials/context-east-1.token, and it can be either that is wrong"
    )
    for name in ("context-east-1", "context-east-2"):
        assert f"kubectl --context={name} " in said[1]
        assert f"> credentials/{name}.token)" in said[1]
    assert "holds the same token as" in run("check", cwd=mesh).out
    mesh.topology(
        {
            "contexts": {
                name: {"credential": {"tokenFile": "credentials/shared.token"}}
                for name in ("context-east-1", "context-east-2")
            }
        }
    )
    mesh.token("shared")
    said = 'warning: credentials/shared.token: is the token file of "context-east-1" and of "context-east-2"\n  fix: give each a file of its own\n'
    assert said in run("render", "--dry-run", cwd=mesh).err
    mesh.topology(
        {"contexts": {name: {"credential": None} for name in ("context-east-1", "context-east-2")}}
    )
    certs = mesh / "certs"
    (certs / "intermediate-context-east-1").rename(certs / "x")
    (certs / "intermediate-context-east-2").rename(certs / "intermediate-context-east-1")
    (certs / "x").rename(certs / "intermediate-context-east-2")
    ran = run("check", cwd=mesh)
    assert (ran.code, ran.out.count("× certs-own")) == (1, 2)
    before = mesh.snapshot()
    fix = "  fix: put each folder back in its place, or move it away to have one made for this cluster\n"
    names = {"context-east-1": "context-east-2", "context-east-2": "context-east-1"}
    told = {
        n: f'error: certs/intermediate-{n}/ca-cert.pem: was made for "{other}", as its L= says\n{fix}'
        for n, other in names.items()
    }
    assert run("render", cwd=mesh) == (2, "", "".join(told.values()))
    assert run("render", "--cluster", "context-east-2", cwd=mesh) == (2, "", told["context-east-2"])
    assert mesh.snapshot() == before
    assert run("render", "--cluster", "context-west-1", cwd=mesh).code == 0
    shutil.rmtree(certs / "intermediate-context-east-2")
    shutil.copytree(certs / "intermediate-context-east-1", certs / "intermediate-context-east-2")
    ran = run("check", cwd=mesh)
    assert (ran.out.count("‼ certs-own"), ran.out.count("× certs-own")) == (2, 0)
    assert 'is the certificate of "context-east-1" too' in ran.out
    assert run("render", cwd=mesh).code == 0
    assert run("render", "--cluster", "context-east-1", cwd=mesh).code == 0


def test_repositories_within_and_around(run: Run, workdir: Make, tmp_path: Path) -> None:
    """Each private file is asked for in the repository that it lies in, and in the one that the environment names."""
    mesh = workdir()
    assert run("render", cwd=mesh).code == 0
    for inner in ("out/context-east-1", "certs", "certs/intermediate-context-west-1"):
        subprocess.run(["git", "init", "-q", mesh / inner], check=True, capture_output=True)
        ran = run("render", cwd=mesh)
        assert ran.code == 2, inner
        assert "git" in ran.err
        shutil.rmtree(mesh / inner / ".git")
    assert run("render", cwd=mesh).code == 0
    subprocess.run(
        ["git", "init", "-q", "--bare", tmp_path / "bare"], check=True, capture_output=True
    )
    environment = {"GIT_DIR": str(tmp_path / "bare"), "GIT_WORK_TREE": str(mesh)}
    assert run("render", cwd=mesh, env=environment).code == 2
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", other], check=True, capture_output=True)
    (other / ".git/info/exclude").write_text("*\n")
    subprocess.run(["git", "init", "-q", mesh], check=True, capture_output=True)
    mesh.write(".gitignore", "")
    assert run("render", cwd=mesh, env={"GIT_DIR": str(other / ".git")}).code == 2


def test_a_kubeconfig_with_credentials_is_kept_out_of_git(run: Run, git: WorkDir) -> None:
    """One without may be committed."""
    git.topology({"secrets": {"store": "plain"}})
    git.write(".gitignore", GITIGNORE.replace("/kubeconfig.yaml\n", ""))
    assert run("render", cwd=git).code == 0
    value = yaml.safe_load((git / "kubeconfig.yaml").read_text())
    value["users"][0]["user"] = {"token": "x"}
    git.write("kubeconfig.yaml", yaml.safe_dump(value))
    assert "does not keep kubeconfig.yaml out of git" in run("render", cwd=git).err


def test_a_repositorys_own_configuration_runs_nothing(run: Run, git: WorkDir) -> None:
    """core.fsmonitor may name a program; asking what is ignored does not start it."""
    subprocess.run(
        ["git", "-C", git, "config", "core.fsmonitor", f"touch {git / 'started'}; false"],
        check=True,
    )
    git.topology({"secrets": {"store": "plain"}})
    git.write(".gitignore", GITIGNORE)
    assert run("render", cwd=git).code == 0
    assert not (git / "started").exists()


HOSTILE = [
    ("base.yaml", "apiVersion: install.istio.io/v1alpha2\nkind: [a]\nspec: {}\n"),
    ("base.yaml", "kind: {a: b}\n"),
    ("topology.yaml", "mesh_id: a\ncontexts: [a]\n"),
    ("topology.yaml", "mesh_id: a\ncontexts: a\n"),
    (
        "topology.yaml",
        "mesh_id: a\nnetworks: {net: {gateways: [{address: 192.0.2.1, port: []}]}}\ncontexts: {a: {network: net}}\n",
    ),
    ("kubeconfig.yaml", "contexts: [{name: context-east-1, context: {cluster: {x: y}}}]\n"),
    (
        "kubeconfig.yaml",
        "contexts: [{name: context-east-1, context: {cluster: [a]}}]\nclusters: [{name: a, cluster: {server: 'https://x', tls-server-name: [a]}}]\n",
    ),
    ("credentials/context-east-1.token", "x" * 100_000),
    ("certs/root-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
]


@pytest.mark.parametrize(("name", "body"), HOSTILE)
def test_hostile_files_are_told_as_such(run: Run, workdir: Make, name: str, body: str) -> None:
    """Whatever a file holds, the answer is a sentence about it, in every verb."""
    mesh = workdir(tokens=True)
    mesh.write(name, body, 0o600)
    for words in (
        ["render"],
        ["check"],
        ["describe"],
        ["teardown"],
        ["add", "b", "--network", "n"],
        ["remove", "context-east-1"],
        ["init"],
    ):
        ran = run(*words, cwd=mesh)
        assert ran.code in (0, 1, 2), words
        assert "a fault of its own" not in ran.err, (words, ran.err)


def test_pipes_and_devices_in_place_of_files(run: Run, workdir: Make) -> None:
    """A FIFO does not hang, a device is not read to its end; a pipe for --kubeconfig is read."""
    mesh = workdir(tokens=True)
    (mesh / "credentials/context-east-1.token").unlink()
    (mesh / "credentials/context-east-1.token").symlink_to("/dev/zero")
    assert "that leaves the working directory" in run("render", cwd=mesh).err
    (mesh / "topology.yaml").rename(mesh / "t")
    os.mkfifo(mesh / "topology.yaml")
    assert "is no regular file" in run("render", cwd=mesh).err
    (mesh / "topology.yaml").unlink()
    (mesh / "t").rename(mesh / "topology.yaml")
    (mesh / "credentials/context-east-1.token").unlink()
    kubectl_mesh = [BIN / "kubectl-mesh"]
    (mesh / "kubeconfig.yaml").unlink()
    done = subprocess.run(
        ["bash", "-c", f"{kubectl_mesh[0]} render --kubeconfig <(cat {SEED}/kubeconfig.yaml)"],
        cwd=mesh,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "redirect", ["2>&-", ">&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1"]
)
def test_closed_and_full_streams(workdir: Make, redirect: str) -> None:
    """No traceback, and an exit code of the three."""
    mesh = workdir()
    for words in ("render", "describe -C nosuch", "version"):
        done = subprocess.run(
            ["bash", "-c", f"{BIN}/kubectl-mesh {words} {redirect}"],
            cwd=mesh,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 2), (words, done)
        assert "Traceback" not in done.stderr + done.stdout
    done = subprocess.run(
        ["bash", "-c", f"{BIN}/kubectl_complete-mesh nosuch '' {redirect}"],
        cwd=mesh,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_a_terminal_that_cannot_show_a_name(workdir: Make) -> None:
    """In a Latin-1 or ASCII locale a name is escaped, and the render is done."""
    mesh = workdir(
        over={"contexts": {"集群": {"network": "net", "clusterName": "cluster"}}}, kubeconfig=False
    )
    for encoding in ("latin-1", "ascii", "utf-8:strict"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [BIN / "kubectl-mesh", "render"],
            cwd=mesh,
            capture_output=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr


def test_no_control_character_reaches_a_terminal(run: Run, workdir: Make) -> None:
    """Names of foreign files and of a kubeconfig's contexts are escaped; a newline forges no line."""
    mesh = workdir()
    assert run("render", cwd=mesh).code == 0
    mesh.write("out/context-east-1/evil\n\x1b[31mremoved   all", "x")
    mesh.write("out/\x1b]0;title\x07", "x")
    for words in (["render"], ["check"]):
        ran = run(*words, cwd=mesh)
        assert "\x1b" not in ran.out + ran.err
        assert "\nremoved   all" not in ran.out
        assert "\\x1b" in ran.out


def test_what_may_be_a_token_is_not_shown_in_the_wrong_field(run: Run, workdir: Make) -> None:
    """A token as the name of a file, as a CA, as a server, as a key; a password in a URL; a kubeconfig's server with one."""
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
    number = itertools.count()
    openshift = "sha256~made-up-for-this-test-0123456789abcdefghij"
    for secret in (token, openshift, token * 20):
        for field in (
            {"credential": {"tokenFile": secret}},
            {"certificateAuthority": secret},
            {"server": secret},
            {"credential": {secret: "x"}},
            {secret: "x"},
        ):
            mesh = workdir(f"mesh-{next(number)}", over={"contexts": {"context-east-1": field}})
            for words in (["render"], ["check"], ["describe"]):
                ran = run(*words, cwd=mesh)
                assert ran.code in (1, 2)
                assert secret not in ran.out + ran.err, (field, words)
                assert secret[:40] not in ran.out + ran.err
    mesh = workdir(
        "url",
        over={"contexts": {"context-east-1": {"server": "https://admin:hunter2@192.0.2.3:6443"}}},
    )
    assert "hunter2" not in run("render", cwd=mesh).err
    mesh = workdir("config")
    mesh.write(
        "kubeconfig.yaml",
        (mesh / "kubeconfig.yaml")
        .read_text()
        .replace("https://203.0.113.11:6443", "https://admin:hunter2@203.0.113.11:6443"),
    )
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "with no user" in ran.err
    assert "hunter2" not in ran.err


def test_printed_commands_are_quoted(run: Run, workdir: Make, tmp_path: Path) -> None:
    """Whatever a context is called, the shell takes each printed command as it was meant."""
    odd = "$(touch pwned) `touch pwned` '\" & | > \\ * ;"
    mesh = workdir(
        over={
            "contexts": {
                odd: {"network": "net", "clusterName": "odd"},
                "-dash": {"network": "net", "clusterName": "dash"},
            }
        },
        kubeconfig=False,
    )
    stub = mesh.write("bin/kubectl", "#!/bin/sh\nprintf '%s\\n' \"$@\" >> ../args\n", 0o755)
    value = json.loads(run("render", "-o", "json", cwd=mesh).out)
    work = mesh / "empty"
    work.mkdir()
    for item in value["pending"]:
        subprocess.run(
            ["sh", "-c", item["command"]],
            cwd=work,
            check=True,
            env={"PATH": f"{stub.parent}:{os.environ['PATH']}"},
        )
    args = (mesh / "args").read_text().splitlines()
    assert f"--context={odd}" in args
    assert odd in args
    assert args[args.index("--") + 1] == "-dash"
    assert not list(mesh.path.rglob("pwned"))


def test_init_again_without_certs(run: Run, tmp_path: Path) -> None:
    """The root that is made anew has the organization of the topology, with clusters or without."""
    assert run("init", "-C", tmp_path, "--mesh-id", "foo", "--organization", "Acme").code == 0
    shutil.rmtree(tmp_path / "certs")
    assert run("init", "-C", tmp_path).code == 0
    text = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "certs/root-cert.pem", "-noout", "-subject"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Acme" in text
    assert run("init", "-C", tmp_path, "--mesh-id", "other").code == 2
    (tmp_path / "topology.yaml").write_text("")
    assert run("init", "-C", tmp_path).code == 2


def test_a_gitignore_that_is_written_is_asked_too(run: Run, workdir: Make) -> None:
    """On the first render: where the .gitignore that is written does not reach, nothing secret is written."""
    mesh = workdir()
    (mesh / "certs").mkdir(0o700)
    subprocess.run(["git", "init", "-q", mesh / "certs"], check=True, capture_output=True)
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "error: .gitignore: does not keep certs/root-key.pem" in ran.err
    assert not list(mesh.path.rglob("*key.pem"))
    assert not (mesh / "out").exists()


def test_a_token_file_among_the_certificates_is_kept_out_of_git(run: Run, git: WorkDir) -> None:
    """The lines for `certs/` name keys only, so such a token gets a line of its own."""
    git.topology(
        {
            "secrets": {"store": "plain"},
            "contexts": {"context-east-1": {"credential": {"tokenFile": "certs/east.token"}}},
        }
    )
    git.write("certs/east.token", "token", 0o600)
    (git / "certs").chmod(0o700)
    assert run("render", cwd=git).code == 0
    assert "/certs/east.token\n" in (git / ".gitignore").read_text()


def test_what_leaves_the_tree_of_a_cluster_that_stays(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Every object of stage 3 is named with the command that deletes it, for `kubectl apply` deletes nothing; what another file has now is not."""
    mesh = workdir(tokens=True)
    shutil.copy(TOP / "examples/seed/base.yaml", mesh / "base.yaml")
    assert run("render", cwd=mesh).code == 0
    east = yaml.safe_load_all(
        "---\n".join(
            p.read_text()
            for p in (mesh / "out/context-east-1/3-mesh").glob("*.yaml")
            if p.name[0] in "ce"
        )
    )
    gateways = {(o["kind"].lower(), o["metadata"]["name"]) for o in east}
    assert len(gateways) == 4
    # The same object in a file of another name has not left.
    (mesh / "out/context-east-1/3-mesh/reader-token.yaml").rename(
        mesh / "out/context-east-1/3-mesh/another.yaml"
    )
    lock = mesh / "out/context-east-1/mesh.lock"
    lock.write_text(lock.read_text().replace("3-mesh/reader-token.yaml", "3-mesh/another.yaml"))
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    for words in (("render", "--dry-run"), ("render",)):
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, ran.err
        commands = [
            line.strip()
            for line in ran.out.splitlines()
            if line.startswith("    kubectl --context=context-east-")
        ]
        assert len(commands) == len(set(commands)) == 2 * (1 + len(gateways))
        for context in ("context-east-1", "context-east-2"):
            head = f"kubectl --context={context} -n istio-system delete "
            mine = [
                c.removeprefix(head).removesuffix(" --ignore-not-found")
                for c in commands
                if c.startswith(head)
            ]
            assert {(c.partition(" ")[0].partition(".")[0], c.partition(" ")[2]) for c in mine} == {
                *gateways,
                ("secret", "istio-remote-secret-context-west-1"),
            }
    assert "    kubectl " not in run("render", cwd=mesh).out


@pytest.mark.parametrize("words", [("--help",), ("check",), ("render", "--check"), ("describe",)])
def test_nobody_reads_what_is_said(words: tuple[str, ...], workdir: Make, run: Run) -> None:
    """1 is an answer, and nobody has had one: it is 2, in silence."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [BIN / "kubectl-mesh", *words],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            cwd=mesh.path,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 2
    assert not [
        line for line in done.stderr.splitlines() if not line.startswith(("warning: ", "  fix: "))
    ]


def test_a_shell_that_asks_for_completions_is_told_that_it_went_well() -> None:
    """What `completion` prints calls the program itself for them."""
    asked = {
        **os.environ,
        "_KUBECTL_MESH_COMPLETE": "bash_complete",
        "COMP_WORDS": "kubectl-mesh re",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [BIN / "kubectl-mesh"], env=asked, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["plain,remove", "plain,render"]
    script = 'eval "$(kubectl-mesh completion bash)"; COMP_WORDS=(kubectl-mesh re); COMP_CWORD=1; _kubectl_mesh_completion kubectl-mesh; echo "${COMPREPLY[@]}"'
    bash = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bash.stdout == "remove render\n"


def test_what_was_done_is_said_although_the_rest_failed(
    workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full while certificates are written: .gitignore was written, and it is said before the error."""
    made = workdir("mesh", tokens=True)
    (made / ".gitignore").unlink(missing_ok=True)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kubectl_mesh.operations.render.write_certificates", fail)
    ran = run("render", cwd=made)
    assert ran.code == 2
    assert ran.err.index(".gitignore") < ran.err.index("error: No space left on device")
    assert (made / ".gitignore").exists()
