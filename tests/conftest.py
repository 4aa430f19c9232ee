"""What tests share: golden files, working directories made from the examples, and the command line run in-process."""

import difflib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import settings

from kubectl_mesh import cli

# The same examples in every run, so that a green run stays green; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

TOP = Path(__file__).resolve().parent.parent
SEED = TOP / "examples" / "page"
SPELT_OUT = ["y", "Y", "n", "N", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"]
"""Booleans to YAML 1.1, texts to YAML 1.2."""
QUICK = {"certificates": {"keyType": "ec-p256"}}
"""What makes a render quick: RSA keys, the default of Istio 1.4, take seconds to make."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that rewrites golden files."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files that differ (read the diff before you commit it)")


class Golden:
    """Compares what a test got with golden files, or rewrites those under `--update-golden`."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def __call__(self, path: Path, got: "str | bytes") -> None:
        """Compares one file; fails with a diff that names it."""
        self._fail(self._difference(path, got))

    def tree(self, folder: Path, got: "Mapping[str, str | bytes]") -> None:
        """Compares all files below a folder (path -> what it holds); fails with the diffs of all, and with those too many."""
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} if folder.is_dir() else set()
        differences = [self._difference(folder / name, got[name]) for name in sorted(got)]
        for name in sorted(there - set(got)):
            if self.update:
                (folder / name).unlink()
            else:
                differences.append(f"{os.path.relpath(folder / name, TOP)}: is no longer made\n")
        self._fail("".join(differences))

    def _difference(self, path: Path, got: "str | bytes") -> str:
        body = got.encode() if isinstance(got, str) else got
        wanted = path.read_bytes() if path.is_file() else None
        if body == wanted:
            return ""
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            return ""
        name = os.path.relpath(path, TOP)
        if wanted is None:
            return f"{name}: is not there yet; it would hold\n{body.decode('utf-8', 'backslashreplace')}\n"
        before, after = (text.decode("utf-8", "backslashreplace").splitlines(keepends=True) for text in (wanted, body))
        return "".join(line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(before, after, name, f"{name} (now)"))

    def _fail(self, differences: str) -> None:
        __tracebackhide__ = True
        if differences:
            pytest.fail("golden files differ; --update-golden rewrites them\n" + differences, pytrace=False)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)` for one golden file, `golden.tree(folder, files)` for a folder of them."""
    return Golden(bool(request.config.getoption("--update-golden")))


def merged(base: object, over: object) -> object:
    """The mapping `over` laid over `base`, mapping by mapping; None takes a key away."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    value = {k: merged(base[k], over[k]) if k in over else base[k] for k in base} | {k: v for k, v in over.items() if k not in base}
    return {k: v for k, v in value.items() if v is not None or k not in over}


class WorkDir:
    """A working directory of a test: where it is, and short ways to write into it and to look at it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, body: "str | bytes", mode: int = 0o644) -> Path:
        """Writes a file, with the folders above it."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        path.chmod(mode)
        return path

    def token(self, cluster: str, text: str | None = None) -> Path:
        """Writes the token of a cluster as the printed command does: 0600, in a folder 0700."""
        path = self.write(f"credentials/{cluster}.token", f"token-of-{cluster}" if text is None else text, 0o600)
        path.parent.chmod(0o700)
        return path

    def topology(self, over: "Mapping[str, object] | None" = None) -> None:
        """Lays `over` on the topology that is there and writes it anew (comments go)."""
        value = merged(yaml.safe_load((self.path / "topology.yaml").read_text()), over or {})
        self.write("topology.yaml", yaml.safe_dump(value, sort_keys=False))

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Every file, folder and link below: its mode, and its bytes (a link's target)."""
        return snapshot(self.path)


def snapshot(top: Path) -> dict[str, tuple[int, bytes]]:
    """Every file, folder and link below a folder: its mode, and its bytes (a link's target)."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(top.rglob("*")):
        mode = path.lstat().st_mode
        body = path.read_bytes() if stat.S_ISREG(mode) else b""
        if stat.S_ISLNK(mode):
            body = os.fsencode(os.readlink(path))
        found[path.relative_to(top).as_posix()] = (mode, body)
    return found


@pytest.fixture
def workdir(tmp_path: Path) -> Callable[..., WorkDir]:
    """Makes working directories from examples/page.

    `name` is the folder's, `over` is laid over the topology (None takes a key away), `kubeconfig` copies the example's,
    `tokens` names the clusters that get a token (True: all three), `quick` asks for EC keys.
    """

    def make(
        name: str = "mesh",
        *,
        over: "Mapping[str, object] | None" = None,
        kubeconfig: bool = True,
        tokens: "bool | Iterable[str]" = False,
        quick: bool = True,
    ) -> WorkDir:
        made = WorkDir(tmp_path / name)
        made.path.mkdir()
        text = (SEED / "topology.yaml").read_text()
        made.write("topology.yaml", text)
        if quick or over:
            made.topology(merged(QUICK if quick else {}, over or {}))  # type: ignore[arg-type]
        if kubeconfig:
            made.write("kubeconfig.yaml", (SEED / "kubeconfig.yaml").read_bytes(), 0o600)
        names = ("context-east-1", "context-east-2", "context-west-1") if tokens is True else tokens or ()
        for cluster in names:
            made.token(cluster)
        return made

    return make


class Ran(NamedTuple):
    """What a run of the command line gave."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `kubectl mesh ARGS` in this process, in the folder `cwd`, and gives (exit code, stdout, stderr).

    The environment's own kubeconfig, MESH_ID, ORG_NAME are out of sight; `env` sets variables for the run.
    """

    def call(*args: "str | os.PathLike[str]", cwd: "str | os.PathLike[str] | None" = None, env: "Mapping[str, str] | None" = None) -> Ran:
        with monkeypatch.context() as patch:
            for name in ("KUBECONFIG", "MESH_ID", "ORG_NAME"):
                patch.delenv(name, raising=False)
            patch.setenv("HOME", os.devnull)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            if cwd is not None:
                patch.chdir(cwd)
            capfd.readouterr()
            code = cli.run([os.fspath(a) for a in args])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return call
