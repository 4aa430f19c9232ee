"""The package itself: layers, what a wheel holds, what a checkout must not hold, what --help costs."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from kubectl_mesh.checks.check import StageCheck
from kubectl_mesh.checks.table import CHECKS, check_ids
from tests.conftest import TOP

PACKAGE = TOP / "kubectl_mesh"
IDS = check_ids()


def test_layers() -> None:
    """A module imports only what stands below it, and libraries only where they belong: the contracts of import-linter, and no top level is forgotten."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    tops = {
        f"kubectl_mesh.{name.removesuffix('.py')}"
        for name in os.listdir(PACKAGE)
        if not name.startswith("__") and name != "py.typed"
    }
    libraries = [
        c
        for c in tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"][
            "contracts"
        ]
        if c["type"] == "forbidden"
    ]
    assert len(libraries) == 5
    for contract in libraries:
        assert set(contract["source_modules"]) <= tops
        assert len(tops - set(contract["source_modules"])) <= 5, contract["name"]


def test_the_core_has_no_clock_streams_or_environment() -> None:
    """Only the shell prints, exits, or reads clock and environment."""
    bad = re.compile(
        r"\bprint\(|sys\.(exit|stdout|stderr|argv)|os\.environ|datetime\.now|time\.time|import click"
    )
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py"):
            assert not bad.search(path.read_text()), path


def test_ids_in_the_code_are_those_in_the_table() -> None:
    """Every problem's id is a check's, and every check's id is given to some problem."""
    used = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "checks":
            used |= set(re.findall(r'"([a-z]+(?:-[a-z-]+)?)"', path.read_text())) & IDS
    found_by_checks = {c.id for c in CHECKS if not isinstance(c, StageCheck)}
    assert used | found_by_checks == IDS
    for path in PACKAGE.rglob("*.py"):
        for found in re.findall(r'\bid="([^"]+)"', path.read_text()):
            assert found in IDS, (path, found)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, TOP]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_what_the_checkout_has(wheel: Path) -> None:
    """Modules, templates and schemas: all of them, and nothing else but the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    wanted = {p.relative_to(TOP).as_posix() for p in PACKAGE.rglob("*.py")} | {
        "kubectl_mesh/istio/releases.json",
        "kubectl_mesh/py.typed",
    }
    for folder in ("templates", "schemas"):
        wanted |= {
            f"kubectl_mesh/{p.relative_to(TOP).as_posix()}"
            for p in (TOP / folder).rglob("*")
            if p.is_file()
        }
    assert names == wanted


def test_the_wheel_renders_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, it finds its templates and schemas inside itself."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for name in ("topology.yaml", "kubeconfig.yaml"):
        (tmp_path / name).write_bytes((TOP / "examples/page" / name).read_bytes())
    (tmp_path / "topology.yaml").write_text(
        (tmp_path / "topology.yaml").read_text() + "certificates: {keyType: ec-p256}\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import kubectl_mesh; from kubectl_mesh.cli import main; sys.stderr.write(kubectl_mesh.__file__); main(['render'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stderr
    assert (tmp_path / "out/context-east-1/mesh.lock").is_file()


def test_help_imports_click_and_little_else() -> None:
    """What --help costs is what it imports: none of the heavy libraries."""
    code = "import sys; from kubectl_mesh.cli import run_command as run; run(['--help']); print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert "click" in loaded
    assert not loaded & {
        "yaml",
        "jinja2",
        "jsonschema",
        "cryptography",
        "difflib",
        "dataclasses",
        "pathlib",
        "subprocess",
        "ctypes",
    }


def test_own_schema_for_editors_describes_every_field() -> None:
    """The topology's schema is the reference: closed everywhere, each field with a description."""

    def walk(node: dict[str, object], path: str) -> None:
        if node.get("type") == "object" and "properties" in node:
            assert node.get("additionalProperties") is False, path
        for name, inner in node.get("properties", {}).items():  # type: ignore[attr-defined]
            assert inner.get("description") or path.endswith("#/$defs/gateways"), f"{path}.{name}"
            walk(inner, f"{path}.{name}")
        for key in ("items", "additionalProperties"):
            inner = node.get(key)
            if isinstance(inner, dict):
                walk(inner, f"{path}.{key}")

    schema = json.loads((TOP / "schemas/topology.schema.json").read_text())
    walk(schema, "")
    walk(schema["$defs"]["gateways"], "#/$defs/gateways")


def test_nothing_of_this_machine_is_committed() -> None:
    """No absolute path of a workplace, and no private key outside the tests that made it."""
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        path = TOP / name
        if not name or not path.is_file():
            continue
        body = path.read_bytes()
        assert b"-----BEGIN PRIVATE" + b" KEY-----\n" not in body or name.startswith("tests/"), name
        for folder in (TOP.parent, Path.home()):
            assert len(folder.parts) < 2 or not re.search(
                rb"(?<![A-Za-z0-9_])" + re.escape(f"{folder}/".encode()), body
            ), (name, folder)


def test_interrupted_before_it_listens(tmp_path: Path) -> None:
    """Ctrl-C while libraries are loaded ends the process by the signal, and another one while the first is told ends it quietly."""
    early = (
        "import builtins, os, signal\nload = builtins.__import__\n"
        "def loading(name, *rest, **more):\n  if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n  return load(name, *rest, **more)\n"
        "builtins.__import__ = loading\nimport kubectl_mesh.__main__"
    )
    late = "from kubectl_mesh import __main__\nfrom kubectl_mesh import cli\ndef main(): raise KeyboardInterrupt\ncli.main = main\n__main__.mesh()"
    for code, status in ((early, -signal.SIGINT), (late, 2)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TOP)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_tests_run_in_any_surroundings(tmp_path: Path) -> None:
    """As `nohup make test &` starts them, with a umask, a locale and a time zone that somebody may have."""
    chosen = [
        "tests/test_package.py::test_interrupted_before_it_listens",
        "tests/test_package.py::test_surroundings",
    ]
    code = (
        "import os, signal, sys\nfor number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nos.umask(0o777)\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    words = [
        sys.executable,
        "-c",
        code,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'tests'}",
        *chosen,
    ]
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "LANG": "de_DE",
        "TZ": "Asia/Kathmandu",
        "GIT_DIR": "/nowhere",
    }
    done = subprocess.run(
        words, cwd=TOP, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_surroundings(tmp_path: Path) -> None:
    """What conftest sets up is what a process of a test gets."""
    code = (
        "import os, signal, time\nprint([signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)],"
        " signal.pthread_sigmask(signal.SIG_BLOCK, []), oct(os.umask(0)), time.tzname, os.environ['LC_ALL'], 'GIT_DIR' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[False, False, False] set() 0o22 ('UTC', 'UTC') C.UTF-8 False\n"


LAZY = {
    "__init__.py": "the library interface is loaded when a name of it is asked for: the command line starts without it",
    **dict.fromkeys(
        ("stores/age.py", "stores/sealed.py", "stores/sops.py"),
        "`teardown` asks what a store is like, and starts faster without the library that encrypts",
    ),
}
"""Where modules besides those of `cli`, which load the operation of a command, are loaded inside of a function, and why."""


def test_imports_are_at_the_top() -> None:
    """What a module needs is seen in its first lines; every exception has its reason, and there are no others."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        functions = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef)
        ]
        if not name.startswith("cli/") and any(
            isinstance(inner, ast.Import | ast.ImportFrom)
            for node in functions
            for inner in ast.walk(node)
        ):
            found.add(name)
    assert found == LAZY.keys()
    assert len(LAZY) <= 5


def test_teardown_loads_no_cryptography(tmp_path: Path) -> None:
    """What lists commands reads no key and no certificate."""
    (tmp_path / "topology.yaml").write_text(
        "mesh_id: acme\ncontexts: {east: {network: a}, west: {network: b}}\n"
    )
    code = (
        "import sys\nfrom kubectl_mesh import cli; code = cli.run_command(['teardown'])\n"
        "print(code, *sorted(m for m in sys.modules if m.startswith('cryptography')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"


def test_completing_a_context_loads_little(tmp_path: Path) -> None:
    """A shell waits for it: only what reads topology.yaml is loaded."""
    (tmp_path / "topology.yaml").write_text(
        "mesh_id: acme\ncontexts: {east: {network: a}, west: {network: b}}\n"
    )
    code = (
        "import sys; sys.argv = ['kubectl_complete-mesh', 'remove', 'e']\nfrom kubectl_mesh import cli\ncli.complete()\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('cryptography', 'jsonschema', 'jinja2', 'kubectl_mesh.'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    names, loaded = done.stdout.rsplit("\n", 2)[0], done.stdout.splitlines()[-1].split()
    assert names.splitlines()[0] == "east"
    assert "kubectl_mesh.workdir.topology_document" in loaded
    assert [
        m
        for m in loaded
        if m.startswith(
            (
                "cryptography",
                "jsonschema",
                "jinja2",
                "kubectl_mesh.operations",
                "kubectl_mesh.targets",
            )
        )
    ] == []
