"""The documentation: what is generated is up to date, every link leads somewhere, every command in it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SEED, TOP, Golden, Run

from kubectl_mesh.checks import CHECKS
from kubectl_mesh.cli import VERBS
from kubectl_mesh.cli.schema import names
from kubectl_mesh.versions import CHANGES

PAGES = ("README.md", "REFERENCE.md", "CHANGELOG.md", "docs/kubectl.md", "docs/argocd.md", "docs/flux.md", "docs/certificates.md")


def topology_table() -> str:
    """The keys of topology.yaml, from its schema."""
    schema = json.loads((TOP / "schemas/topology.schema.json").read_text())
    rows = ["| key | meaning | default |", "|---|---|---|"]

    def resolve(node: dict[str, object]) -> dict[str, object]:
        reference = node.get("$ref")
        return {**schema["$defs"][reference.split("/")[-1]], **node} if isinstance(reference, str) else node

    def walk(node: dict[str, object], path: str) -> None:
        required = set(node.get("required", ()))  # type: ignore[call-overload]
        for name, given in node.get("properties", {}).items():  # type: ignore[attr-defined]
            inner = resolve(given)
            key = f"{path}{name}"
            default = "required" if name in required else f"`{json.dumps(inner['default']).strip(chr(34))}`" if "default" in inner else ""
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
    """What --help prints, of every verb."""
    return "\n\n".join([f"### {verb}\n```\n{run(verb, '--help').out.rstrip()}\n```" for verb in VERBS])


def checks_table() -> str:
    """The checks, from their table."""
    rows = ["| id | category | severity | asks that | prevents |", "|---|---|---|---|---|"]
    rows += [f"| `{c.id}` | {c.category} | {c.severity} | {c.sentence} | {c.prevents} |" for c in CHECKS]
    return "\n".join(rows)


def versions_table() -> str:
    """What each version of Istio changes for a mesh."""
    return "\n".join(["| since | what |", "|---|---|", *(f"| 1.{minor} | {what} |" for minor, what in CHANGES)])


def schemas_list() -> str:
    """The schemas of reports and of rendered kinds, by name."""
    described = {name: json.loads((TOP / "schemas" / path).read_text())["description"] for name, path in names().items()}
    return "\n".join(["| name | what |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in described.items())])


def test_generated_parts(run: Run, golden: Golden) -> None:
    """The parts between the marks are what the code says now; `make docs` writes them."""
    page = TOP / "REFERENCE.md"
    text = page.read_text()
    parts = {"topology": topology_table(), "verbs": verbs_text(run), "checks": checks_table(), "schemas": schemas_list(), "versions": versions_table()}
    for name, body in parts.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        assert len(re.findall(pattern, text, re.DOTALL)) == 1, name
        text = re.sub(pattern, lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
    golden(page, text)


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Links to files and headings lead to what is there."""
    text = (TOP / page).read_text()
    headings = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert ((TOP / page).parent / target).exists(), target


def commands(page: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", (TOP / page).read_text(), re.MULTILINE | re.DOTALL)


STUB = """#!/usr/bin/env bash
# Stands for a cluster: what would go there is built by the real kubectl, what would come from there is made up.
set -eu
case "$(basename "$0") $*" in
  "kubectl mesh "*) exec {kubectl} "$@" ;;
  *"apply -k "*) {kubectl} kustomize "${{@: -1}}" > /dev/null; echo "applied ${{@: -1}}" >> {log} ;;
  *"manifest apply -f "*) test -s "${{@: -1}}"; echo "applied ${{@: -1}}" >> {log} ;;
  *"wait --for="*) ;;
  *"install -y -f "*) test -s "${{@: -1}}"; echo "applied ${{@: -1}}" >> {log} ;;
  *"apply -f "*) test -s "${{@: -1}}"; echo "applied ${{@: -1}}" >> {log} ;;
  *"patch configmap "*) cat > {log}.patch ;;
  "argocd cluster add "*) ;;
  *"get secret "*) printf made-up-token-of-%s "${{1#--context=}}" ;;
  *"get service "*) printf 192.0.2.11 ;;
  *) echo "not foreseen: $0 $*" >&2; exit 1 ;;
esac
"""


def test_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """Every command of the README in order, in one shell, as a reader would type it; clusters are stood in for."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log, clone = tmp_path / "bin", tmp_path / "log", tmp_path / "clone"
    stubs.mkdir()
    for name in ("kubectl", "istioctl"):
        (stubs / name).write_text(STUB.format(kubectl=kubectl, log=log))
        (stubs / name).chmod(0o755)
    shutil.copytree(TOP, clone, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "tests", ".hypothesis"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    for name in ("kubeconform",):
        found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert found is not None
        (tmp_path / "venv/bin" / name).symlink_to(found)
    subprocess.run(["git", "init", "-q", clone], check=True, capture_output=True)
    blocks = commands("README.md")
    assert len(blocks) >= 8
    script = "set -eu\n" + "".join(f"echo '== block {i}'\n{block}" for i, block in enumerate(blocks))
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "MESH_ID", "ORG_NAME")},
        "PATH": f"{stubs}{os.pathsep}{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run([bash, "-c", script], cwd=clone, capture_output=True, text=True, env=environment, check=False)
    # A cluster is taken out and put back without a render between, so the tree is as it was, and --check says so.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout
    applied = log.read_text().splitlines()
    assert len(applied) == 9 + 3
    assert (tmp_path / "mesh/out/context-west-1/3-mesh/remote-secrets/context-east-1.yaml").is_file()


@pytest.mark.parametrize("page", ["docs/kubectl.md", "docs/argocd.md", "docs/flux.md"])
def test_a_page_of_a_delivery_runs(page: str, tmp_path: Path) -> None:
    """Every command of the page in order, in one shell; clusters, Argo CD and the git server are stood in for, and what would be applied is built."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log = tmp_path / "bin", tmp_path / "log"
    stubs.mkdir()
    for name in ("kubectl", "istioctl", "argocd"):
        (stubs / name).write_text(STUB.format(kubectl=kubectl, log=log))
        (stubs / name).chmod(0o755)
    for name in ("kubectl-mesh",):
        (stubs / name).symlink_to(Path(sys.executable).parent / name)
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
    }
    script = "set -eu\n" + "\n".join(commands(page))
    done = subprocess.run([bash, "-c", script], cwd=tmp_path / "work", capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    applied = log.read_text().splitlines()
    if page == "docs/kubectl.md":
        assert len(applied) == 2 * (3 + 1 + 4 + 3)
        assert "profile: remote" in (tmp_path / "work/mesh/out/context-west-1/2-control-plane/istio.yaml").read_text()
        assert (tmp_path / "work/mesh-canary/out/context-east-1/2-control-plane/istio-1-30-3.yaml").is_file()
        return
    pushed = subprocess.run(["git", "-C", tmp_path / "server.git", "ls-tree", "-r", "--name-only", "main"], capture_output=True, text=True, check=True).stdout
    assert "out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml" in pushed
    assert ".token" not in pushed
    assert "ca-key.pem" not in pushed
    if page == "docs/argocd.md":
        assert applied == ["applied out/_argocd/mesh.yaml"]
        assert set(yaml.safe_load(Path(f"{log}.patch").read_text())["data"]) == {
            "resource.customizations.health.argoproj.io_Application",
            "resource.customizations.health.sailoperator.io_Istio",
        }
    else:
        assert applied == [f"applied out/_flux/{name}" for name in ("context-east-1", "context-west-1")]


LATER = """#!/usr/bin/env bash
# Stands for the days that pass before the next step of a rotation.
if [[ "$*" == *"rotate-root advance"* ]]; then
  sed -i 's/"since": .*/"since": "2026-01-01T00:00:00Z"/' certs/rotation.json
fi
exec {program} "$@"
"""


def test_the_page_of_certificates_runs(tmp_path: Path) -> None:
    """Every command of the page in order, in one shell; clusters are stood in for, and so is the time between the steps."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log = tmp_path / "bin", tmp_path / "log"
    stubs.mkdir()
    (stubs / "kubectl").write_text(STUB.format(kubectl=kubectl, log=log))
    (stubs / "kubectl-mesh").write_text(LATER.format(program=Path(sys.executable).parent / "kubectl-mesh"))
    for name in ("kubectl", "kubectl-mesh"):
        (stubs / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("MESH_ID", "ORG_NAME")},
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
    }
    blocks = commands("docs/certificates.md")
    script = "set -eu\n" + "".join(f"echo '== block {i}'\n{block}" for i, block in enumerate(blocks))
    done = subprocess.run([bash, "-c", script], cwd=tmp_path / "work", capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(log.read_text().splitlines()) == 1 + 4 + 2 + 2 + 2
    said = done.stdout.split("== block ")
    assert [re.findall(r"^(trust-both|sign-new|drop-old|drop-new): ", text, re.MULTILINE) for text in said[1:]] == [
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


def test_demo_runs(tmp_path: Path) -> None:
    """What `make demo` runs: first day, then with tokens, validated; it leaves nothing behind."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash", TOP / "examples/demo.sh"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Invalid: 0, Errors: 0, Skipped: 0") == 2
    assert "remote-secrets/context-west-1.yaml" in done.stdout
    assert "made up for this demo" in done.stdout
    assert not list(tmp_path.iterdir())
