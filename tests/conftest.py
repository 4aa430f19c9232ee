"""What tests share: golden files, working directories made from the examples, and the command line run in-process."""

import base64
import difflib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyrage
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from hypothesis import settings

from kubectl_mesh import cli
from kubectl_mesh.text import plain_text

# The same examples in every run, so that a green run stays green; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def _settle() -> None:
    """Gives the tests, and the processes that they start, the surroundings that they need, whatever started them.

    `nohup make test &` leaves SIGINT and SIGHUP ignored, which children inherit. A handler that does nothing is not inherited.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for name in [
        n for n in os.environ if n.startswith(("LC_", "GIT_")) or n in ("LANG", "LANGUAGE")
    ]:
        del os.environ[name]
    os.environ |= {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
    time.tzset()


_settle()
pytest_plugins = ["tests.support.clocks"]
TOP = Path(__file__).resolve().parent.parent
SEED = TOP / "examples" / "page"
SPELT_OUT = [
    "y",
    "Y",
    "n",
    "N",
    "yes",
    "Yes",
    "YES",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "Off",
    "OFF",
]
"""Booleans to YAML 1.1, texts to YAML 1.2."""
QUICK = {"certificates": {"keyType": "ec-p256"}}
"""What makes a render quick: RSA keys, the default of Istio 1.4, take seconds to make."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that rewrites golden files."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files that differ (read the diff before you commit it)",
    )


class Golden:
    """Compares what a test got with golden files, or rewrites those under `--update-golden`."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def __call__(self, path: Path, got: "str | bytes") -> None:
        """Compares one file; fails with a diff that names it."""
        self._fail(self._difference(path, got))

    def tree(self, folder: Path, got: "Mapping[str, str | bytes]") -> None:
        """Compares all files below a folder (path -> what it holds); fails with the diffs of all, and with those too many."""
        there = (
            {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
            if folder.is_dir()
            else set()
        )
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
        before, after = (
            text.decode("utf-8", "backslashreplace").splitlines(keepends=True)
            for text in (wanted, body)
        )
        return "".join(
            line if line.endswith("\n") else line + "\n"
            for line in difflib.unified_diff(before, after, name, f"{name} (now)")
        )

    def _fail(self, differences: str) -> None:
        __tracebackhide__ = True
        if differences:
            pytest.fail(
                "golden files differ; --update-golden rewrites them\n" + differences, pytrace=False
            )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)` for one golden file, `golden.tree(folder, files)` for a folder of them."""
    return Golden(bool(request.config.getoption("--update-golden")))


def merged(base: object, over: object) -> object:
    """The mapping `over` laid over `base`, mapping by mapping; None takes a key away."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    value = {k: merged(base[k], over[k]) if k in over else base[k] for k in base} | {
        k: v for k, v in over.items() if k not in base
    }
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
        path = self.write(
            f"credentials/{cluster}.token", f"token-of-{cluster}" if text is None else text, 0o600
        )
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
        names = (
            ("context-east-1", "context-east-2", "context-west-1")
            if tokens is True
            else tokens or ()
        )
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

    def call(
        *args: "str | os.PathLike[str]",
        cwd: "str | os.PathLike[str] | None" = None,
        env: "Mapping[str, str] | None" = None,
    ) -> Ran:
        with monkeypatch.context() as patch:
            # To fork a process as large as this one costs more than it saves; processes of their own make certificates beside.
            for name in ("KUBECONFIG", "MESH_ID", "ORG_NAME"):
                patch.delenv(name, raising=False)
            patch.setenv("HOME", os.devnull)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            if cwd is not None:
                patch.chdir(cwd)
            capfd.readouterr()
            code = cli.run_command([os.fspath(a) for a in args])
        out, err = capfd.readouterr()
        assert plain_text(out + err) == out + err, "a value of a text was not rendered"
        return Ran(code, out, err)

    return call


CLUSTERS = ("context-east-1", "context-east-2", "context-west-1")
"""The clusters of examples/seed."""


class Ages:
    """An age identity for each cluster and one for all, as files."""

    def __init__(self, folder: Path) -> None:
        self.identities = {
            name: pyrage.x25519.Identity.generate() for name in (*CLUSTERS, "admin", "new")
        }
        self.files = {}
        for name, identity in self.identities.items():
            self.files[name] = folder / f"{name}.agekey"
            self.files[name].write_text(f"# made by a test, for nothing else\n{identity}\n")
            self.files[name].chmod(0o600)

    def recipient(self, name: str) -> str:
        """The public half."""
        return str(self.identities[name].to_public())

    def over(self) -> dict[str, Any]:
        """What a topology says for them."""
        return {
            "secrets": {"store": "sops", "recipients": [self.recipient("admin")]},
            "contexts": {name: {"recipients": [self.recipient(name)]} for name in CLUSTERS},
        }


@pytest.fixture
def ages(tmp_path: Path) -> Ages:
    """Identities of this test."""
    return Ages(tmp_path)


@pytest.fixture
def sealed_mesh(workdir: Callable[..., WorkDir], run: Run, ages: Ages) -> WorkDir:
    """The three clusters, sealed by SOPS."""
    mesh = workdir(over=ages.over(), tokens=True)
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    return mesh


class Controller:
    """A Sealed Secrets controller: its key and its certificate, made by a test for nothing else."""

    def __init__(self, begins: datetime | None = None, days: int = 3650) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        begins = begins or datetime.now(UTC) - timedelta(days=1)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealed-secret")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
        )
        builder = (
            builder.serial_number(1)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=days))
        )
        self.certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM
        )

    def pem(self) -> bytes:
        """The private key."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def open(self, manifest: dict[str, Any]) -> dict[str, bytes]:
        """What the controller does (pkg/crypto/crypto.go): the values of a SealedSecret."""
        place = manifest["metadata"]
        found = {}
        for name, text in manifest["spec"]["encryptedData"].items():
            blob = base64.b64decode(text)
            size = int.from_bytes(blob[:2], "big")
            label = f"{place['namespace']}/{place['name']}".encode()
            session = self.key.decrypt(
                blob[2 : 2 + size],
                padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label),
            )
            found[name] = AESGCM(session).decrypt(bytes(12), blob[2 + size :], None)
        return found


@pytest.fixture
def controllers(workdir: Callable[..., WorkDir], run: Run) -> tuple[WorkDir, dict[str, Controller]]:
    """The three clusters, sealed for their controllers."""
    mesh = workdir(over={"secrets": {"store": "sealed"}}, tokens=True)
    made = {name: Controller() for name in CLUSTERS}
    for name, controller in made.items():
        mesh.write(f"clusters/{name}.sealing.crt", controller.certificate)
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    return mesh, made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures that tests record as `printed`, wherever they ran."""
    for report in (r for key in ("passed", "failed") for r in terminalreporter.stats.get(key, ())):
        for name, text in report.user_properties:
            if name == "printed":
                terminalreporter.write_line(text)
