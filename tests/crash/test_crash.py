"""Crash safety, at every system call that writes: killed there, or told that the disk is full, a run leaves old or new and the next one repairs.

strace does the harm. Its `when=N` counts the calls of each process for itself, so one strace serves many runs: it holds a process that
has everything imported and forks a child for each run, and a child that is to fail at its K-th call makes N - K empty ones first.
`test_a_whole_process_*` does a few of the same in processes of their own.
"""

import base64
import fcntl
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kubectl_mesh
from kubectl_mesh.fs.owned_files import SYNC_THREADS

STAGE, LOCK_FILE = ".kubectl-mesh-stage", ".kubectl-mesh-lock"
PYTHON = [sys.executable, "-B", "-s", "-P", "-c"]
MAIN = "import os; os.umask(0); from kubectl_mesh.cli import main; main({args!r})"
KILL, FULL = "signal=KILL", "error=ENOSPC"
PARTS = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]
CALLS = [
    *(
        "openat",
        "open",
        "creat",
        "mkdir",
        "mkdirat",
        "write",
        "pwrite64",
        "ftruncate",
        "truncate",
        "fsync",
        "fdatasync",
        "flock",
        "close",
    ),
    *(
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "unlink",
        "unlinkat",
        "rmdir",
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
    ),
    *("chown", "lchown", "fchown", "fchownat", "setxattr", "fsetxattr"),
]
"""What is traced and harmed; on some machines some of them do not exist."""
MANY, FEW = 1400, 200
"""The number of the call that fails: above what the imports of the holding process make of `openat` and `close`, and of the others."""
OFTEN = ("openat", "close")


def _unable() -> str:
    """Why nothing can be traced here, or nothing."""
    if shutil.which("strace") is None:
        return "strace is not installed here; the injection of faults needs it (Debian: apt install strace)"
    done = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    return (
        f"strace may not trace processes here: {done.stderr.strip()[:200]}"
        if done.returncode
        else ""
    )


UNABLE = _unable()
traced = pytest.mark.skipif(bool(UNABLE), reason=UNABLE)


def environment(home: Path) -> dict[str, str]:
    """What every process is started with: this checkout's package, no writing of bytecode, the same hashes each time."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(Path(kubectl_mesh.__file__).parent.parent),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


# ---------------------------------------------------------------- processes

DRIVER = r"""
import ctypes, gc, importlib, json, os, pkgutil, sys
os.umask(0)
import kubectl_mesh
from kubectl_mesh import cli
for module in pkgutil.walk_packages(kubectl_mesh.__path__, "kubectl_mesh."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import fcntl
libc = ctypes.CDLL(None)
empty = {
    "openat": lambda: os.open("", os.O_RDONLY), "mkdir": lambda: os.mkdir(""), "mkdirat": lambda: os.mkdir("", dir_fd=0),
    "write": lambda: os.write(-1, b""), "pwrite64": lambda: os.pwrite(-1, b"", 0), "ftruncate": lambda: os.ftruncate(-1, 0),
    "fsync": lambda: libc.fsync(-1), "rename": lambda: os.rename("", ""), "renameat": lambda: os.rename("", "", src_dir_fd=0, dst_dir_fd=0),
    "renameat2": lambda: libc.renameat2(-1, b"", -1, b"", 1), "link": lambda: os.link("", ""), "linkat": lambda: os.link("", "", src_dir_fd=0, dst_dir_fd=0),
    "unlink": lambda: os.unlink(""), "unlinkat": lambda: os.unlink("", dir_fd=0), "rmdir": lambda: os.rmdir(""), "flock": lambda: libc.flock(-1, 0),
    "chmod": lambda: os.chmod("", 0), "fchmod": lambda: os.fchmod(-1, 0), "fchmodat": lambda: os.chmod("", 0, dir_fd=0), "close": lambda: os.close(-1),
    "fchown": lambda: os.fchown(-1, 0, 0), "fchownat": lambda: os.chown("", 0, 0, dir_fd=0), "symlinkat": lambda: os.symlink("", "", dir_fd=0),
}
def say(value):
    os.writev(1, [json.dumps(value).encode() + b"\n"])
def child(job):
    os.chdir(job["directory"])
    for number, name in ((1, job["out"]), (2, job["err"])):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for _ in range(job["before"]):
        try:
            empty[job["call"]]()
        except OSError:
            pass
    code = 99
    try:
        cli.main(job["args"])
    except SystemExit as end:
        code = end.code
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    return code
warm = json.loads(sys.stdin.readline())
if warm:
    os.dup2(2, 9)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(1, 8), os.dup2(quiet, 1), os.dup2(quiet, 2)
    code = cli.run_command(["render", "-C", warm])
    sys.stdout.flush(), sys.stderr.flush()
    os.dup2(8, 1), os.dup2(9, 2)
    assert code == 0, code
gc.collect()
gc.freeze()
# A file system may list a folder in any order; this is the worst, for the lock tells what the rest is.
listdir = os.listdir
os.listdir = lambda *args: sorted(listdir(*args), key=lambda name: (name != "mesh.lock", name))
say("ready")
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 98
        try:
            code = child(json.loads(line))
        finally:
            os._exit(code)
    say([pid, os.waitpid(pid, 0)[1]])
"""


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    pid: int
    code: int
    out: str
    err: str


class Runner:
    """Runs kubectl mesh in forks of one warm process; with `harm`, that process is held by strace."""

    def __init__(self, scratch: Path, warm: Path, harm: str = "", *extra: str) -> None:
        self.scratch = scratch
        scratch.mkdir()
        before: list[str] = []
        if harm:
            trace = [f"?{call}" for call in CALLS]
            before = [
                "strace",
                "-q",
                "-ff",
                "-o",
                str(scratch / "log"),
                "-e",
                "trace=" + ",".join(trace),
            ]
            # A signal is not delivered from the stops that --seccomp-bpf makes, so only errors can go the quick way.
            before += ["--seccomp-bpf"] if harm != KILL else []
            many = [f"?{call}" for call in CALLS if call in OFTEN]
            few = [
                call
                for call in trace
                if call not in many and not any(f"inject={call[1:]}:" in e for e in extra)
            ]
            before += [
                "-e",
                f"inject={','.join(many)}:{harm}:when={MANY}",
                "-e",
                f"inject={','.join(few)}:{harm}:when={FEW}",
                *extra,
            ]
        self.process = subprocess.Popen(
            [*before, *PYTHON, DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(scratch),
            cwd=scratch,
        )
        copy = scratch / "warm"
        shutil.copytree(warm, copy, symlinks=True)
        assert self._ask(str(copy)) == "ready"

    def _ask(self, value: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        assert ready, "no answer for a minute"
        line = self.process.stdout.readline()
        assert line, "the process that holds the runs has died"
        return json.loads(line)

    def run(self, directory: Path, *args: str, call: str = "", number: int = 0) -> Ran:
        """One run; its `number`-th system call `call` is the one that is harmed."""
        before = (MANY if call in OFTEN else FEW) - number if call else 0
        assert before >= 0, f"{number} calls of {call} are more than the counting allows"
        out, err = self.scratch / "out", self.scratch / "err"
        job = {
            "directory": str(directory),
            "args": args,
            "call": call,
            "before": before,
            "out": str(out),
            "err": str(err),
        }
        pid, status = self._ask(job)
        return Ran(pid, os.waitstatus_to_exitcode(status), out.read_text(), err.read_text())

    def log(self, pid: int) -> list[str]:
        """The traced calls of a run, in order."""
        path = self.scratch / f"log.{pid}"
        for _ in range(2000):
            text = path.read_text() if path.exists() else ""
            if text.endswith("+++\n"):
                path.unlink()
                return [line for line in text.splitlines() if re.match(r"\w+\(", line)]
            select.select([], [], [], 0.005)
        raise AssertionError(f"strace has not ended its log: {text[-200:]}")

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


Start = Callable[..., Runner]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Iterator[Start]:
    """Makes runners, each kind once per module."""
    running: dict[tuple[str, ...], Runner] = {}

    def runner(harm: str = "", *extra: str) -> Runner:
        key = (harm, *extra)
        if key not in running:
            running[key] = Runner(tmp_path_factory.mktemp("runner") / "r", warm, harm, *extra)
        return running[key]

    yield runner
    for each in running.values():
        each.close()


def whole(
    directory: Path, *args: str, strace: tuple[str, ...] = (), before: str = ""
) -> subprocess.CompletedProcess[str]:
    """A run in a process of its own."""
    command = [*strace, *PYTHON, before + MAIN.format(args=list(args))]
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# ---------------------------------------------------------------- working directories

CA = base64.b64decode(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJWakNCL2FBREFnRUNBaFJBUUVCYU55TUM2QVF0djcxUW9wcldXYkN5aERBS0JnZ3Foa2pPUFFRREFqQVoKTVJjd0ZRWURWUVFE"
    "REE1amJIVnpkR1Z5TFdWaGMzUXRNVEFlRncweU5qQXhNREV3TURBd01EQmFGdzB6TmpBeApNREV3TURBd01EQmFNQmt4RnpBVkJnTlZCQU1NRG1Oc2RYTjBaWEl0WldGemRDMHhNRmt3"
    "RXdZSEtvWkl6ajBDCkFRWUlLb1pJemowREFRY0RRZ0FFdVRaRm5BNVdJRHEySmVtbnpyRkRpV3cwVzFLaUNyY3RBaWlvNlpKYlk3eTMKczcwY0pXQkc4a3FsR3ptK0hoY3pPdnUyOGR0"
    "aEFHZGJ4cVZGbFRtOHE2TWpNQ0V3RHdZRFZSMFRBUUgvQkFVdwpBd0VCL3pBT0JnTlZIUThCQWY4RUJBTUNBUVl3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUloQUkvSzlnQTNDSWlWCjNI"
    "bkV1clp6UHVVdlBpck5XWU83SERJVmtVN2NrYkJsQWlCYmc4dFUxN2VzcGVZRG1VQWV4T3RmbEo4YTZHeWcKMmRTSTdLMVZXUm1FUlE9PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0t"
    "Cg=="
)
"""The made-up CA of examples/page."""


def token(name: str, turn: int = 1) -> str:
    """A made-up token."""
    body = (
        base64.urlsafe_b64encode(f'{{"made":"{f"up for {name}, {turn}; " * 4}"}}'.encode())
        .rstrip(b"=")
        .decode()
    )
    # The signature of a key of 2,048 bits has 256 bytes.
    return f"eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.{body}.{'c2ln' * 85}cw"


def put_token(directory: Path, name: str, turn: int = 1) -> None:
    """Writes a token as a user would, for the owner only."""
    path = directory / "credentials" / f"{name}.token"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(token(name, turn) + "\n")


def topology(*names: str) -> str:
    """A topology of some clusters, each on a network of its own."""
    lines = [
        "mesh_id: crash  # a comment that stays",
        "certificates: {keyType: ec-p256}",
        "contexts:",
    ]
    lines += [
        f'  {name}: {{network: net-{name}, server: "https://203.0.113.{ord(name[0])}:6443"}}'
        for name in names
    ]
    return "\n".join(lines) + "\n"


def make(directory: Path, *names: str) -> Path:
    """A working directory in which nothing was rendered yet."""
    (directory / "clusters").mkdir(parents=True)
    for name in names:
        (directory / "clusters" / f"{name}.crt").write_bytes(CA)
        put_token(directory, name)
    (directory / "topology.yaml").write_text(topology(*names))
    return directory


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clusters before their first render."""
    return make(tmp_path_factory.mktemp("first") / "w", "east", "west")


Shot = dict[str, tuple[str, int, bytes]]


def shot(top: Path) -> Shot:
    """Everything below a folder: path -> kind, mode, bytes."""
    found: Shot = {}
    stack = [(str(top), "")]
    while stack:
        folder, prefix = stack.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if entry.is_symlink():
                    found[prefix + entry.name] = ("link", 0, os.fsencode(os.readlink(entry.path)))
                elif entry.is_dir(follow_symlinks=False):
                    found[prefix + entry.name] = ("folder", mode, b"")
                    stack.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    with open(entry.path, "rb") as file:
                        found[prefix + entry.name] = ("file", mode, file.read())
    return found


def below(found: Shot, path: str) -> Shot:
    """What a snapshot holds below one of its folders."""
    return {
        name.removeprefix(path + "/"): value
        for name, value in found.items()
        if name.startswith(path + "/")
    }


@dataclass(frozen=True)
class Case:
    """A run to harm: what is there before, what it leads to undisturbed, and which files are not its own."""

    before: Path
    after: Path
    old: Shot
    new: Shot
    args: tuple[str, ...]
    foreign: frozenset[str]
    clusters: tuple[str, ...]


FOREIGN = {
    "west": ("notes.txt", "3-mesh/remote-secrets/mine.yaml", "elsewhere"),
    "south": ("2-control-plane/notes.txt",),
}


def case(scratch: Path, before: Path, plain: Runner, *args: str) -> Case:
    """Runs a case undisturbed, so that what it leads to is known."""
    after = scratch / "after"
    shutil.copytree(before, after, symlinks=True)
    ran = plain.run(after, *args)
    assert ran.code == 0, ran
    old, new = shot(before), shot(after)
    clusters = tuple(sorted({p.split("/")[1] for p in (*old, *new) if p.startswith("out/")}))
    foreign = frozenset(
        f"out/{name}/{path}" for name, paths in FOREIGN.items() for path in paths
    ) & set(old)
    assert all(new[path] == old[path] for path in foreign)
    return Case(before, after, old, new, args, foreign, clusters)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, warm: Path, start: Start) -> Case:
    """The first render: certificates and tree are made."""
    found = case(tmp_path_factory.mktemp("first"), warm, start(), "render")
    assert found.clusters == ("east", "west")
    return found


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Case:
    """A render that changes every directory: a token is new, a cluster came, two went; foreign files lie in two directories."""
    scratch = tmp_path_factory.mktemp("update")
    before = make(scratch / "w", "east", "west", "south", "lost")
    assert start().run(before, "render").code == 0
    for name, paths in FOREIGN.items():
        for path in paths:
            full = before / "out" / name / path
            if path == "elsewhere":
                full.symlink_to("/nowhere/at/all")
            else:
                full.write_text(f"{path} of somebody else\n")
                full.chmod(0o640)
    (before / "certs" / "intermediate-west" / "cert-chain.pem").unlink()
    (before / "certs" / "intermediate-north").mkdir()
    for folder in ("certs", "certs/intermediate-north"):
        (before / folder).chmod(
            0o755
        )  # As git makes them: a key in them is guarded by its own mode alone.
    put_token(before, "east", 2)
    put_token(before, "north")
    (before / "clusters" / "north.crt").write_bytes(CA)
    (before / "topology.yaml").write_text(topology("east", "west", "north"))
    found = case(scratch, before, start(), "render")
    assert found.clusters == ("east", "lost", "north", "south", "west")
    assert len(found.foreign) == 4
    assert below(found.new, "out/south").keys() == {"2-control-plane", "2-control-plane/notes.txt"}
    assert "out/lost" not in found.new
    assert all(
        below(found.old, f"out/{name}") != below(found.new, f"out/{name}")
        for name in found.clusters
    )
    return found


# ---------------------------------------------------------------- what must hold


def keys(found: Shot) -> dict[str, bytes]:
    """The private keys that have their names."""
    return {
        p: v[2]
        for p, v in found.items()
        if re.fullmatch(r"certs/(intermediate-[a-z]+/ca-key|root-key)\.pem", p)
    }


def listed(found: Shot, name: str) -> bool:
    """Whether a directory is what its lock says, all of it and nothing else, with the key that is in certs/."""
    tree = below(found, f"out/{name}")
    lock = json.loads(tree["mesh.lock"][2])["files"]
    foreign = {"mesh.lock", *FOREIGN.get(name, ())}
    digests = {
        path: hashlib.sha256(body).hexdigest()
        for path, (kind, _, body) in tree.items()
        if kind == "file" and path not in foreign
    }
    secret = re.search(rb'ca-key\.pem: "?([A-Za-z0-9+/=]+)', tree["1-trust/cacerts.yaml"][2])
    key = found.get(f"certs/intermediate-{name}/ca-key.pem", ("", 0, b""))[2]
    return digests == lock and secret is not None and base64.b64decode(secret[1]) == key


def is_new(found: Shot, known: Case, name: str) -> bool:
    """Whether a directory is the complete new one; what depends on a key may differ from run to run."""
    tree, new = below(found, f"out/{name}"), below(known.new, f"out/{name}")
    varies = {"mesh.lock", "1-trust/cacerts.yaml"}
    if {p: v[:2] for p, v in tree.items()} != {p: v[:2] for p, v in new.items()} or any(
        tree[p] != new[p] for p in tree if p not in varies
    ):
        return False
    return "mesh.lock" not in tree or listed(found, name)


PRIVATE_NAME = re.compile(r"key\.pem$|cacerts\.yaml$|(^|/)remote-secrets/[^/]*$|\.token$")
PRIVATE_BODY = re.compile(
    rb"PRIVATE KEY|UFJJVkFURSBLRVk|BSSVZBVEUgS0VZ|QUklWQVRFIEtFW|eyJhbGciOiJSUz|ZXlKaGJHY2lPaUpTVXpJMU"
)


def private(found: Shot, foreign: frozenset[str] = frozenset()) -> Iterator[str]:
    """The private files, known by name or by what they hold, that others can read."""
    for path, (kind, mode, body) in found.items():
        if (
            kind != "file"
            or path in foreign
            or not (PRIVATE_NAME.search(path) or PRIVATE_BODY.search(body))
        ):
            continue
        above = itertools.accumulate(path.split("/")[:-1], lambda a, b: f"{a}/{b}")
        if mode & 0o077 and all(found[folder][1] & 0o077 for folder in above):
            yield f"{path} {mode:o}"


def secrets(*shots: Shot) -> set[str]:
    """What must never be shown: every line of every key, every token, and how they look in base64."""
    lines: set[bytes] = set()
    for found in shots:
        for path, value in found.items():
            if path.endswith("key.pem"):
                lines |= {
                    line for line in value[2].splitlines() if line and b"-----" not in line
                } | {base64.b64encode(value[2])}
            elif path.endswith(".token"):
                lines |= {value[2].strip(), base64.b64encode(value[2].strip())}
    return {line.decode() for line in lines if len(line) > 20}


def tells_nothing(text: str, *shots: Shot) -> None:
    """Asserts that a text shows no secret."""
    assert "PRIVATE KEY" not in text
    assert not [s for s in secrets(*shots) if s in text]


def holds(found: Shot, known: Case, *, without_exchange: bool = False) -> None:
    """Asserts what must be true of a working directory at any moment, whatever ended the run."""
    for name in known.clusters:
        old, new = f"out/{name}" in known.old, f"out/{name}" in known.new
        if f"out/{name}" not in found:
            staged = below(found, f"out/{STAGE}/{name}.old") == below(known.old, f"out/{name}")
            assert not old or not new or (without_exchange and staged), f"out/{name} is gone"
        elif not (old and below(found, f"out/{name}") == below(known.old, f"out/{name}")):
            assert new, f"out/{name} is neither there as it was nor gone"
            assert is_new(found, known, name), f"out/{name} is a mixture"
    beside = {p.split("/")[1] for p in found if p.startswith("out/")} - {*known.clusters, STAGE}
    assert not beside, "something lies in out/ that does not belong there"
    if not without_exchange:
        assert all(found.get(path) == known.old[path] for path in known.foreign), (
            "a foreign file is lost or changed"
        )
    assert keys(known.old).items() <= keys(found).items(), "a key is lost or changed"
    assert "certs/root-cert.pem" not in found or "certs/root-key.pem" in found, (
        "a root certificate without its key"
    )
    for folder in {p for p in found if re.fullmatch(r"certs/intermediate-[a-z]+", p)}:
        there = {name for name in below(found, folder) if not name.startswith(STAGE)}
        was = {name for name in PARTS if f"{folder}/{name}" in known.old}
        assert there == set(PARTS) or (folder in known.old and was <= there < set(PARTS)), (
            f"{folder} holds {there}"
        )
        assert "ca-key.pem" in there or not there, f"{folder} holds a certificate without its key"
        if "root-cert.pem" in there:
            assert found[f"{folder}/root-cert.pem"][2] == found["certs/root-cert.pem"][2], (
                f"{folder} is of another root"
            )
    assert not list(private(found, known.foreign))
    assert not [path for path in keys(found) if found[path][1] != 0o600], (
        "a key that only its folder guards"
    )
    for path in known.old:
        if path.startswith(("clusters/", "credentials/", "topology.yaml")):
            assert found[path] == known.old[path], f"{path} is an input"


def repaired(
    directory: Path, known: Case, before: Shot, plain: Runner, *, check: bool = True
) -> None:
    """Asserts that the same command, run again, makes everything complete, keeps every key, and leaves nothing of the run that failed.

    `check` asks `render --check` too; that takes as long as all the rest.
    """
    ran = plain.run(directory, "render")
    assert ran.code == 0, ran
    found = shot(directory)
    holds(found, known)
    assert {p for p in found if re.fullmatch("out/[^/]+", p)} == {
        p for p in known.new if re.fullmatch("out/[^/]+", p)
    }
    assert all(is_new(found, known, name) for name in known.clusters)
    assert {p: v[:2] for p, v in found.items() if p.startswith("certs")} == {
        p: v[:2] for p, v in known.new.items() if p.startswith("certs")
    }
    assert keys(before).items() <= keys(found).items(), "the repair lost a key"
    assert not [
        p for p in found if ".kubectl-mesh-" in p and p.startswith(("certs/", "out/", LOCK_FILE))
    ]
    tells_nothing(ran.out + ran.err, found)
    if check:
        assert plain.run(directory, "render", "--check").code == 0
        assert shot(directory) == found, "--check wrote something"


def sentence(ran: Ran) -> None:
    """Asserts that a run that could not do it said so in a line."""
    assert ran.code == 2, ran
    lines = [
        line
        for line in ran.err.splitlines()
        if not line.startswith(
            (
                "warning: ",
                "  fix: ",
                "wrote .gitignore",
                "next: ",
                "then: ",
                "  kubectl ",
                "  istioctl ",
            )
        )
    ]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: "), ran.err
    assert "No space left on device" in lines[0], ran.err
    assert "Traceback" not in ran.out + ran.err


Point = tuple[str, int, str]


def points(log: list[str], *, closing: bool) -> list[Point]:
    """The calls of a run that write, from the lock on: name, number among its like, and the line of the trace.

    With `closing`, the closes of what was written to are among them: some file systems tell only then that they are full.
    """
    counts: dict[str, int] = {}
    found: list[Point] = []
    written: set[str] = set()
    begun = False
    for line in log:
        call, _, rest = line.partition("(")
        counts[call] = counts.get(call, 0) + 1
        begun = begun or LOCK_FILE in line
        held = rest.split(")")[0].split(",")[0]
        if call in ("write", "fsync", "pwrite64"):
            written.add(held)
        reads = call == "openat" and "O_CREAT" not in line
        if begun and not reads and (call != "close" or (closing and held in written)):
            found.append((call, counts[call], line))
        if call == "close":
            written.discard(held)
    return found


def harmed(runner: Runner, directory: Path, args: tuple[str, ...], point: Point, harm: str) -> Ran:
    """A run that is harmed at a point, for certain."""
    call, number, line = point
    ran = runner.run(directory, *args, call=call, number=number)
    log = runner.log(ran.pid)
    if harm == KILL:
        assert ran.code == -9, f"not killed at {line}: {ran}"
        assert log[-1].startswith(f"{call}("), f"killed at {log[-1]}, not at {line}"
    else:
        hit = [text for text in log if text.endswith("(INJECTED)")]
        assert len(hit) == 1, f"{len(hit)} calls failed, not {line}"
        assert hit[0].startswith(f"{call}("), hit
        same = [re.sub(r"\d+", "N", text.split(" = ")[0]).rstrip() for text in (hit[0], line)]
        assert call in ("unlinkat", "close", "rmdir", "write") or same[0] == same[1], (
            f"{same[0]} failed, not {same[1]}"
        )
    return ran


def listing(runner: Runner, scratch: Path, known: Case, *, closing: bool) -> list[Point]:
    """The points of a case, from a run that nothing happens to."""
    shutil.copytree(known.before, scratch, symlinks=True)
    ran = runner.run(scratch, *known.args)
    assert ran.code == 0, ran
    return points(runner.log(ran.pid), closing=closing)


def watched(
    known: Case,
    ran: Ran,
    left: Shot,
    harm: str,
    directory: Path,
    plain: Runner,
    *,
    without_exchange: bool = False,
    check: bool = True,
) -> None:
    """Asserts all that must be true after a run that was harmed, then repairs it."""
    holds(left, known, without_exchange=without_exchange)
    tells_nothing(ran.out + ran.err, left, known.old)
    if harm == FULL and ran.code != 0:
        sentence(ran)
    elif harm == FULL:
        assert all(is_new(left, known, cluster) for cluster in known.clusters), (
            "the run claims to be done"
        )
    repaired(directory, known, left, plain, check=check)


EVERY = os.environ.get("CRASH_POINTS") == "every"
"""Whether a run is harmed at every point, as `make crash` asks for; else at one in SHARE of them."""
CHUNKS = 3
SHARE = 1 if EVERY else 8


def chosen(found: list[Point], harm: str) -> list[Point]:
    """The points to try: all, or one in SHARE; a full disk and a kill take different ones."""
    return found[(1 if harm == FULL else 0) :: SHARE] if not EVERY else found


def chunks() -> list[int]:
    """The chunks of points that are tried, where a test is cut in CHUNKS."""
    return list(range(CHUNKS)) if EVERY else [0]


class Faults:
    """Gathers what went wrong at which point, so that one wrong point does not hide the others."""

    def __init__(self) -> None:
        self.tried = 0
        self.found: list[str] = []

    def attempt(self, what: str, check: Callable[[], None]) -> None:
        """Runs one check."""
        self.tried += 1
        try:
            check()
        except AssertionError as error:
            self.found.append(f"{what}: {str(error).splitlines()[0][:500]}")

    def none(self, name: str, least: int) -> None:
        """Asserts that enough was tried, of all points or of the chosen ones, and that nothing went wrong."""
        print(f"{name}: {self.tried} points")
        assert self.tried >= least // SHARE
        assert not self.found, f"{len(self.found)} of {self.tried} points:\n" + "\n".join(
            self.found[:10]
        )


@traced
@pytest.mark.slow
@pytest.mark.parametrize("which", chunks())
@pytest.mark.parametrize("harm", [KILL, FULL])
@pytest.mark.parametrize(("name", "least"), [("first", 110), ("update", 180)])
def test_every_writing_call(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    start: Start,
    name: str,
    least: int,
    harm: str,
    which: int,
) -> None:
    """A render that is killed, or finds the disk full, at any call that writes leaves old or new, and the next one repairs."""
    known: Case = request.getfixturevalue(name)
    runner, plain, faults = start(harm), start(), Faults()
    found = listing(runner, tmp_path / "listing", known, closing=harm == FULL)
    for point in found[which::CHUNKS] if EVERY else chosen(found, harm):
        directory = tmp_path / "w"
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, harm)
        left = shot(directory)
        faults.attempt(
            f"{harm} at {point}",
            lambda r=ran, x=left, d=directory: watched(
                known, r, x, harm, d, plain, check=faults.tried % 6 == 0
            ),
        )  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"{name}, {harm}", least // CHUNKS if EVERY else least)


NO_EXCHANGE = ("-e", "inject=renameat2:error=ENOSYS")


@traced
@pytest.mark.slow
def test_without_an_exchange(tmp_path: Path, start: Start, update: Case) -> None:
    """Where renameat2 is missing, a killed run may take a name away for a moment; what had it is kept, and the next run gives it back."""
    runner, plain, faults = start(KILL, *NO_EXCHANGE), start(), Faults()
    found = [
        point
        for point in listing(runner, tmp_path / "listing", update, closing=False)
        if point[0] in ("renameat", "rename", "unlinkat", "linkat")
    ]
    renames = [point for point in found if point[0].startswith("rename")]
    assert len(renames) >= 10
    away = 0
    for point in [*renames, *[p for p in found if p not in renames][:: 3 * SHARE]]:
        directory = tmp_path / "w"
        shutil.copytree(update.before, directory, symlinks=True)
        ran = harmed(runner, directory, update.args, point, KILL)
        left = shot(directory)
        away += any(
            path.endswith(".old")
            and path.removeprefix(f"out/{STAGE}/").removesuffix(".old") in update.clusters
            for path in left
        )
        faults.attempt(
            f"killed at {point}",
            lambda r=ran, x=left, d=directory: watched(
                update, r, x, KILL, d, plain, without_exchange=True
            ),
        )  # type: ignore[misc]
        shutil.rmtree(directory)
    assert away >= 6
    faults.none("without an exchange", 30)


def broken(scratch: Path, runner: Runner, known: Case, at: str) -> tuple[Path, list[Point]]:
    """A directory left by a run that was killed in the middle of out/west, and the points of the run that puts it right."""
    calls = listing(runner, scratch / "listing", known, closing=False)
    if at == "between":
        first = next(
            i
            for i, point in enumerate(calls)
            if point[0] == "renameat" and '"west.old"' in point[2]
        )
        point = next(point for point in calls[first + 1 :] if point[0] == "renameat")
    else:
        first = next(
            i
            for i, point in enumerate(calls)
            if "RENAME_EXCHANGE" in point[2] and '"west"' in point[2]
        )
        point = (
            calls[first] if at == "built" else next(p for p in calls[first:] if p[0] == "unlinkat")
        )
    left = scratch / "left"
    shutil.copytree(known.before, left, symlinks=True)
    harmed(runner, left, known.args, point, KILL)
    assert f"out/{STAGE}/west" in shot(left)
    again = scratch / "again"
    shutil.copytree(left, again, symlinks=True)
    repair = points(runner.log(runner.run(again, "render").pid), closing=False)
    end = next(
        (i for i, p in enumerate(repair) if p[0] == "mkdirat" and f'"{STAGE}"' in p[2]), len(repair)
    )
    return left, repair[: end + 1]


@traced
@pytest.mark.slow
@pytest.mark.parametrize("at", ["built", "exchanged", "between"])
def test_a_repair_is_killed_too(tmp_path: Path, start: Start, update: Case, at: str) -> None:
    """A run that is killed while it puts right what a killed one left does no harm either."""
    runner, plain, faults = (
        start(KILL, *(NO_EXCHANGE if at == "between" else ())),
        start(),
        Faults(),
    )
    left, repair = broken(tmp_path, runner, update, at)
    for point in chosen(repair, KILL):
        directory = tmp_path / "w"
        shutil.copytree(left, directory, symlinks=True)
        ran = harmed(runner, directory, update.args, point, KILL)
        found = shot(directory)
        faults.attempt(
            f"killed at {point}",
            lambda r=ran, x=found, d=directory: watched(
                update, r, x, KILL, d, plain, without_exchange=True
            ),
        )  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"a repair, {at}", 15)


@traced
@pytest.mark.slow
@pytest.mark.parametrize("at", ["exchanged", "between"])
def test_what_came_meanwhile_is_kept(tmp_path: Path, start: Start, update: Case, at: str) -> None:
    """What somebody put into a directory just before it was exchanged lies with the old one; it comes back, however often the repair is killed."""
    runner, plain, faults = (
        start(KILL, *(NO_EXCHANGE if at == "between" else ())),
        start(),
        Faults(),
    )
    left, repair = broken(tmp_path, runner, update, at)
    old = left / "out" / STAGE / ("west.old" if at == "between" else "west")
    (old / "late.txt").write_text("came late\n")
    (old / "new folder").mkdir()
    (old / "new folder" / "late.txt").write_text("came late\n")

    def check(directory: Path) -> None:
        assert plain.run(directory, "render").code == 0
        found = shot(directory)
        assert {p for p in found if "late.txt" in p} == {
            "out/west/late.txt",
            "out/west/new folder/late.txt",
        }
        assert {found[p][2] for p in found if "late.txt" in p} == {b"came late\n"}
        assert {p for p in found if "late.txt" not in p and p != "out/west/new folder"} == set(
            update.new
        )

    for point in chosen(
        [p for p in repair if p[0] in ("openat", "renameat", "unlinkat", "mkdirat")], KILL
    ):
        directory = tmp_path / "w"
        shutil.copytree(left, directory, symlinks=True)
        harmed(runner, directory, update.args, point, KILL)
        faults.attempt(f"killed at {point}", lambda d=directory: check(d))  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"what came meanwhile, {at}", 15)


@traced
def test_a_whole_process(tmp_path: Path, update: Case, start: Start) -> None:
    """A process of its own, harmed at an exchange or a removal, leaves what a fork of the warm one leaves."""
    names = ("renameat2", "unlinkat")
    strace = ("strace", "-f", "-qq", "-o", str(tmp_path / "log"), "-e", f"trace={','.join(names)}")
    quiet = tmp_path / "quiet"
    shutil.copytree(update.before, quiet, symlinks=True)
    assert whole(quiet, "render", strace=strace).returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    count = {name: sum(f" {name}(" in line for line in lines) for name in names}
    assert count["renameat2"] >= 4
    assert count["unlinkat"] >= 30
    for call, number, harm in (
        ("renameat2", 2, KILL),
        ("renameat2", 3, FULL),
        ("unlinkat", 2, KILL),
        ("unlinkat", count["unlinkat"], FULL),
    ):
        directory = tmp_path / f"{call}-{number}"
        shutil.copytree(update.before, directory, symlinks=True)
        done = whole(
            directory, "render", strace=(*strace, "-e", f"inject={call}:{harm}:when={number}")
        )
        assert done.returncode == (-9 if harm == KILL else 2)
        watched(
            update,
            Ran(0, done.returncode, done.stdout, done.stderr),
            shot(directory),
            harm,
            directory,
            start(),
        )


# ---------------------------------------------------------------- edits of the topology

EDITS = {
    "add": (
        "add",
        "north",
        "--network",
        "net-north",
        "--server",
        "https://203.0.113.110:6443",
        "--ca",
        "new.crt",
    ),
    "remove": ("remove", "west"),
}


@traced
@pytest.mark.parametrize("harm", [KILL, FULL])
@pytest.mark.parametrize("verb", list(EDITS))
def test_edits(tmp_path: Path, start: Start, first: Case, verb: str, harm: str) -> None:
    """An edit that is killed, or finds the disk full, leaves the old text or the new one, and can be made again."""
    before = tmp_path / "before"
    shutil.copytree(first.after, before, symlinks=True)
    (before / "new.crt").write_bytes(CA)
    (before / "topology.yaml").chmod(0o640)
    runner, plain, faults = start(harm), start(), Faults()
    known = case(tmp_path, before, plain, *EDITS[verb])
    assert known.new["topology.yaml"] != known.old["topology.yaml"]
    assert known.new["topology.yaml"][1] == 0o640

    def check(ran: Ran, left: Shot, directory: Path) -> None:
        text = left["topology.yaml"]
        assert text in (known.old["topology.yaml"], known.new["topology.yaml"]), "a mixture"
        assert left.get("clusters/north.crt") in (None, known.new.get("clusters/north.crt")), (
            "a part of a CA"
        )
        assert all(
            left[path] == value for path, value in known.old.items() if path != "topology.yaml"
        )
        assert not list(private(left))
        beside = [
            p
            for p in left
            if p not in known.new and not os.path.basename(p).startswith((STAGE, LOCK_FILE))
        ]
        assert not beside
        tells_nothing(ran.out + ran.err, left)
        if harm == FULL and ran.code != 0:
            sentence(ran)
        else:
            assert harm == KILL or text == known.new["topology.yaml"]
        if verb == "add" or text == known.old["topology.yaml"]:
            assert plain.run(directory, *known.args).code == 0
        assert plain.run(directory, "render").code == 0
        end = shot(directory)
        assert all(
            end[path] == value for path, value in known.new.items() if not path.startswith("out/")
        )
        assert not [p for p in end if STAGE in p and not p.startswith("clusters/")]
        assert LOCK_FILE not in end

    for point in chosen(listing(runner, tmp_path / "listing", known, closing=False), harm):
        directory = tmp_path / "w"
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, harm)
        faults.attempt(f"{harm} at {point}", lambda r=ran, d=directory: check(r, shot(d), d))  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"{verb}, {harm}", {"add": 18, "remove": 10}[verb])


# ---------------------------------------------------------------- what is on the disk when a name is given

SYNCED = re.compile(r"certs(/|$)|topology\.yaml$|clusters/")


class Sync:
    """Follows a trace and tells which names were given, or left, to something that the disk may not have."""

    def __init__(self, top: Path, log: str) -> None:
        self.top = str(top)
        self.dirty: set[str] = set()
        self.entries: dict[str, set[str]] = {}
        self.folders: set[str] = set()
        self.named: list[str] = []
        self.wrong: list[str] = []
        for line in log.splitlines():
            found = re.match(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)", line)
            if found and not found[3].startswith("-"):
                self._call(found[1], found[2], line)

    def _call(self, call: str, text: str, line: str) -> None:
        opened = re.search(r" = \d+<(.*?)>$", line)
        held = re.match(r"\d+<(.*?)(?: \(deleted\))?>", text)
        paths = self._paths(text)
        if call == "openat" and "O_CREAT" in text and opened:
            self._made(opened[1])
            self.dirty.add(opened[1])
        elif call in ("write", "pwrite64", "ftruncate") and held:
            self.dirty.add(held[1])
        elif call in ("fsync", "fdatasync") and held:
            self.dirty.discard(held[1])
            self.entries.pop(held[1], None)
        elif call in ("mkdir", "mkdirat"):
            self._made(paths[0])
            self.folders.add(paths[0])
        elif call.startswith(("rename", "link")):
            self._named(*paths, kept=call.startswith("link"))
        elif call in ("unlink", "unlinkat", "rmdir"):
            self.dirty.discard(paths[0])
            self.entries.get(os.path.dirname(paths[0]), set()).discard(paths[0])

    def _paths(self, text: str) -> list[str]:
        return [
            os.path.normpath(os.path.join(self.top, folder, name))
            for folder, name in re.findall(r'(?:[\w-]+<([^>]*)>, )?"([^"]*)"', text)
        ]

    def _made(self, path: str) -> None:
        self.entries.setdefault(os.path.dirname(path), set()).add(path)

    def _named(self, source: str, target: str, *, kept: bool) -> None:
        inside = {path for path in self.dirty if path == source or path.startswith(source + "/")}
        lacking = inside | {
            e
            for folder, names in self.entries.items()
            if folder == source or folder.startswith(source + "/")
            for e in names
        }
        name = os.path.relpath(target, self.top)
        if SYNCED.match(name):
            self.named.append(name)
            self.wrong += [
                f"{name} got its name before {os.path.relpath(path, self.top)} was on the disk"
                for path in sorted(lacking)
            ]
        self.dirty = (self.dirty - (set() if kept else inside)) | {
            target + path[len(source) :] for path in inside
        }
        if not kept:
            self.entries.get(os.path.dirname(source), set()).discard(source)
        self._made(target)

    def unsaid(self) -> list[str]:
        """Names that were given, and that the folder which holds them may not have on the disk."""
        left = {
            os.path.relpath(path, self.top) for names in self.entries.values() for path in names
        }
        return sorted(name for name in self.named if name in left)

    def new_folders(self) -> list[str]:
        """Folders that were made, and that the folder above may not have on the disk."""
        made = {os.path.relpath(path, self.top) for path in self.folders}
        left = {
            os.path.relpath(path, self.top) for names in self.entries.values() for path in names
        }
        return sorted(name for name in made & left if name in ("certs", "clusters", "credentials"))


def synced(directory: Path, log: Path, *args: str, before: str = "") -> Sync:
    """Follows a run in a process of its own."""
    calls = ",".join(f"?{call}" for call in CALLS if call not in ("close", "flock"))
    done = whole(
        directory,
        *args,
        strace=(
            "strace",
            "-f",
            "--seccomp-bpf",
            "-y",
            "-qq",
            "-s",
            "0",
            "-o",
            str(log),
            "-e",
            f"trace={calls}",
        ),
        before=before,
    )
    assert done.returncode == 0, done
    return Sync(directory, re.sub(r'""\.\.\.', '"..."', joined(log.read_text())))


def joined(log: str) -> str:
    """A log of strace in which a call that another thread ran into stands whole, where it ended."""
    begun: dict[str, str] = {}
    lines = []
    for line in log.splitlines():
        process, _, rest = line.partition(" ")
        if rest.endswith(" <unfinished ...>"):
            begun[process] = rest.removesuffix(" <unfinished ...>")
        elif found := re.match(r" *<\.\.\. \w+ resumed>(.*)", rest):
            lines.append(f"{process} {begun.pop(process)}{found[1]}")
        else:
            lines.append(line)
    return "\n".join(lines)


MUTANTS = {
    "": "",
    "nothing is synced": "import os; os.fsync = lambda fd: None\n",
    "no file is synced": "import os, stat; f = os.fsync; os.fsync = lambda fd: f(fd) if stat.S_ISDIR(os.fstat(fd).st_mode) else None\n",
    "no folder is synced": "import os, stat; f = os.fsync; os.fsync = lambda fd: f(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None\n",
}
NAMED = {
    "first": {
        "certs/root-key.pem",
        "certs/root-cert.pem",
        "certs/intermediate-east",
        "certs/intermediate-west",
    },
    "update": {
        "certs/intermediate-west/cert-chain.pem",
        *(f"certs/intermediate-north/{part}" for part in PARTS),
    },
    "add": {"clusters/north.crt", "topology.yaml"},
}


@traced
@pytest.mark.parametrize("mutant", list(MUTANTS))
@pytest.mark.parametrize("name", list(NAMED))
def test_the_disk_has_what_gets_a_name(
    request: pytest.FixtureRequest, tmp_path: Path, first: Case, name: str, mutant: str
) -> None:
    """Certificates, keys and the topology are on the disk before they get their names, and so are the names; were they not, this would tell."""
    known: Case = first if name == "add" else request.getfixturevalue(name)
    directory = tmp_path / "w"
    shutil.copytree(known.after if name == "add" else known.before, directory, symlinks=True)
    (directory / "new.crt").write_bytes(CA)
    found = synced(
        directory,
        tmp_path / "log",
        *(EDITS["add"] if name == "add" else known.args),
        before=MUTANTS[mutant],
    )
    assert set(found.named) == NAMED[name]
    if mutant:
        assert len(found.wrong + found.unsaid()) >= 2
    else:
        assert not found.wrong
        assert not found.unsaid()


TEN = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett")
"""More clusters than folders are synced at the same time."""


@traced
@pytest.mark.parametrize("mutant", list(MUTANTS))
def test_the_disk_has_what_is_synced_side_by_side(tmp_path: Path, mutant: str) -> None:
    """The same of many clusters, which are synced by several threads; that there are any is seen as well."""
    directory = make(tmp_path / "w", *TEN)
    found = synced(directory, tmp_path / "log", "render", before=MUTANTS[mutant])
    assert set(found.named) == {
        "certs/root-key.pem",
        "certs/root-cert.pem",
        *(f"certs/intermediate-{name}" for name in TEN),
    }
    if mutant:
        assert len(found.wrong + found.unsaid()) >= 2
    else:
        assert (
            len(
                {
                    line.split()[0]
                    for line in (tmp_path / "log").read_text().splitlines()
                    if " fsync(" in line
                }
            )
            > SYNC_THREADS
        )
        assert not found.wrong
        assert not found.unsaid()


@traced
@pytest.mark.parametrize("mutant", ["", MUTANTS["no file is synced"]])
def test_the_disk_has_it_where_no_thread_can_be_started(tmp_path: Path, mutant: str) -> None:
    """As under a limit of processes: all is synced by the one thread that there is."""
    directory = make(tmp_path / "w", *TEN)
    none = 'import threading\ndef refused(self): raise RuntimeError("can\'t start new thread")\nthreading.Thread.start = refused\n'
    found = synced(directory, tmp_path / "log", "render", before=none + mutant)
    assert len(found.named) == 2 + len(TEN)
    assert bool(found.wrong) is bool(mutant)
    assert not found.unsaid()


@traced
@pytest.mark.parametrize("harm", [KILL, FULL])
def test_a_sync_side_by_side_fails(tmp_path: Path, harm: str) -> None:
    """One thread fails, or all are killed: no certificate has its name, it is said, and the next render makes all."""
    directory = make(tmp_path / "w", *TEN)
    strace = (
        "strace",
        "-f",
        "-qq",
        "-o",
        str(tmp_path / "log"),
        "-e",
        "trace=fsync",
        "-e",
        f"inject=fsync:{harm}:when=10",
    )
    done = whole(directory, "render", strace=strace)
    calls = Counter(
        line.split()[0] for line in (tmp_path / "log").read_text().splitlines() if " fsync(" in line
    )
    assert max(calls.values()) == 10 > calls[next(iter(calls))], "it was no thread that was harmed"
    left = shot(directory)
    assert not [path for path in left if re.fullmatch(r"certs/intermediate-[a-z]+", path)]
    assert "out" not in left or not below(left, "out")
    if harm == KILL:
        assert done.returncode in (-9, 137)
    else:
        assert done.returncode == 2
        assert "\nerror: No space left on device\n  fix: make room, and run it again" in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(private(left))
    assert whole(directory, "render").returncode == 0
    assert not [path for path in shot(directory) if STAGE in path]


@traced
def test_the_disk_has_the_folder_of_the_keys(tmp_path: Path, first: Case) -> None:
    """The folder certs/ itself is on the disk too when a first render is done: without it, what lies in it would be lost."""
    directory = tmp_path / "w"
    shutil.copytree(first.before, directory, symlinks=True)
    assert not synced(directory, tmp_path / "log", "render").new_folders()


# ---------------------------------------------------------------- two at once


def test_the_lock_is_held_by_another(tmp_path: Path, start: Start, first: Case) -> None:
    """A run that finds the lock held changes nothing, names the process that holds it, and goes ahead once that one was killed."""
    directory = tmp_path / "w"
    shutil.copytree(first.before, directory, symlinks=True)
    hold = "from kubectl_mesh.fs.locking import hold_lock\nwith hold_lock('.'):\n print('held', flush=True)\n input()"
    with subprocess.Popen(
        [*PYTHON, hold],
        cwd=directory,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        before = shot(directory)
        for args in (("render",), EDITS["remove"], ("render", "--cluster", "east")):
            ran = start().run(directory, *args)
            assert ran.code == 2
            assert re.search(rf"^error: .*\bprocess {holder.pid}\b", ran.err), ran.err
            assert shot(directory) == before
        holder.kill()
    assert (directory / LOCK_FILE).exists()
    repaired(directory, first, before, start())


def test_a_lock_whose_file_was_removed(tmp_path: Path, start: Start, first: Case) -> None:
    """A lock that is held on a file which is no longer there keeps nobody out."""
    directory = tmp_path / "w"
    shutil.copytree(first.before, directory, symlinks=True)
    with (directory / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert start().run(directory, "render").code == 2
        (directory / LOCK_FILE).unlink()
        assert start().run(directory, "render").code == 0


def test_two_renders_at_once(tmp_path: Path, first: Case, warm: Path) -> None:
    """Of two renders at once each is done, or says who was in its way; the tree and the certificates are of one piece."""
    runners = [Runner(tmp_path / name, warm) for name in ("a", "b")]
    done = refused = 0
    for turn in range(25):
        directory = tmp_path / "w"
        shutil.copytree(first.before, directory, symlinks=True)
        with ThreadPoolExecutor(2) as pool:
            for ran in pool.map(lambda runner, d=directory: runner.run(d, "render"), runners):
                assert ran.code == 0 or re.match(
                    r"error: .*(\bprocess \d+|another process)\b", ran.err
                ), (turn, ran)
                done, refused = done + (ran.code == 0), refused + (ran.code == 2)
        found = shot(directory)
        holds(found, first)
        assert all(is_new(found, first, cluster) for cluster in first.clusters)
        shutil.rmtree(directory)
    for runner in runners:
        runner.close()
    assert done >= 25
    assert refused >= 1


# ---------------------------------------------------------------- symbolic links

LINKED = [
    ("out", "render"),
    ("out/east", "render"),
    ("out/east/3-mesh", "render"),
    ("out/east/3-mesh/remote-secrets", "render"),
    ("out/east/3-mesh/remote-secrets/west.yaml", "render"),
    ("out/east/1-trust/cacerts.yaml", "render"),
    ("out/east/mesh.lock", "render"),
    (f"out/{STAGE}", "render"),
    ("certs", "render"),
    ("certs/intermediate-east", "render"),
    ("certs/intermediate-east/ca-key.pem", "render"),
    ("certs/root-key.pem", "render"),
    ("certs/root-cert.pem", "render"),
    (f"certs/{STAGE}-root-key.pem", "render"),
    (f"certs/{STAGE}-intermediate-north", "render"),
    (LOCK_FILE, "render"),
    ("topology.yaml", "add"),
    ("topology.yaml", "remove"),
    (f"{STAGE}-topology.yaml", "remove"),
    ("clusters", "add"),
    ("clusters/north.crt", "add"),
]
REPLACED = {
    *("out/east/3-mesh/remote-secrets/west.yaml", "out/east/1-trust/cacerts.yaml"),
    *(f"certs/{STAGE}-root-key.pem", f"certs/{STAGE}-intermediate-north", f"{STAGE}-topology.yaml"),
}
"""Files of ours, and names that only a killed run leaves: a link in their place makes room."""


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
@pytest.mark.parametrize(("path", "verb"), LINKED)
def test_symbolic_links(
    tmp_path: Path, start: Start, first: Case, path: str, verb: str, there: bool
) -> None:
    """Through a symbolic link nothing is written: what it leads to stays as it is, and the run says what is in its way."""
    directory, outside = tmp_path / "w", tmp_path / "outside"
    shutil.copytree(first.after, directory, symlinks=True)
    outside.mkdir()
    put_token(directory, "west", 2)
    put_token(directory, "north")
    (directory / "new.crt").write_bytes(CA)
    if verb == "render":
        (directory / "clusters" / "north.crt").write_bytes(CA)
        (directory / "topology.yaml").write_text(topology("east", "west", "north"))
    inner, target = directory / path, outside / "thing"
    if inner.exists():
        inner.rename(target)
    elif path.endswith((".pem", ".yaml", LOCK_FILE, ".crt")):
        target.write_text("of somebody else\n")
    else:
        (target / "folder").mkdir(parents=True)
        (target / "folder" / "file").write_text("of somebody else\n")
    if not there:
        target.rename(tmp_path / "moved")
    inner.symlink_to(target)
    before = shot(outside), shot(directory)
    ran = start().run(directory, *EDITS.get(verb, (verb,)))
    assert shot(outside) == before[0]
    assert "fault of its own" not in ran.err
    tells_nothing(ran.out + ran.err, before[0], before[1])
    assert ran.code == (0 if path in REPLACED else 2), ran
    if path in REPLACED:
        assert not inner.is_symlink()
    else:
        assert re.match(r"error: \S+: ", ran.err), ran.err
        assert inner.is_symlink()
        assert below(shot(directory), "out") == below(before[1], "out")


# ---------------------------------------------------------------- what other processes see


@traced
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
def test_no_socket_and_no_secret_in_arguments(tmp_path: Path, first: Case) -> None:
    """A render opens no socket, and neither arguments nor environment of a process that it starts hold a secret."""
    directory = tmp_path / "w"
    shutil.copytree(first.before, directory, symlinks=True)
    subprocess.run(
        ["git", "init", "-q", str(directory)],
        check=True,
        env=environment(tmp_path),
        capture_output=True,
    )
    with (directory / "topology.yaml").open("a") as file:
        file.write("secrets: {store: plain}\n")
    log = tmp_path / "log"
    strace = (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-v",
        "-qq",
        "-s",
        "100000",
        "-o",
        str(log),
        "-e",
        "trace=execve,?execveat,socket,connect,sendto,sendmsg,bind,socketpair",
    )
    asked = 0
    for args in (("render",), ("render",), ("render", "--check"), EDITS["remove"]):
        done = whole(directory, *args, strace=strace)
        assert done.returncode == 0, done
        text = log.read_text()
        calls = re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE)
        assert set(calls) <= {"execve", "execveat"}
        asked += "check-ignore" in text
        tells_nothing(text + done.stdout + done.stderr, shot(directory))
    assert asked >= 1
    assert len(secrets(shot(directory))) >= 12
