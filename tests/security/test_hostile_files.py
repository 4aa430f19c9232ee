"""What an enemy, a mistake or a bad merge puts in the place of a file: links that leave, gigabytes, devices, certificates that nothing reads."""

import base64
import datetime as dt
import json
import os
import random
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs import read
from kubectl_mesh.stores import sops
from kubectl_mesh.x509 import parse
from tests.conftest import CLUSTERS, SEED, TOP, Ages, Run, WorkDir

Make = Callable[..., WorkDir]
ASKING = (
    ("render",),
    ("render", "--dry-run"),
    ("check",),
    ("diff",),
    ("describe",),
    ("graph",),
    ("explain", "Unauthorized"),
    ("tokens", "status"),
)
MIB = 2**20


def limited(
    *words: str,
    cwd: "Path | WorkDir",
    memory: int = 700 * MIB,
    seconds: int = 20,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """A command in a process that may have this much memory, and this many seconds of the processor."""
    line = ("-m", "kubectl_mesh", *words)
    return limited_python(*line, cwd=cwd, memory=memory, seconds=seconds, stdin=stdin)


def limited_python(
    *words: str,
    cwd: "Path | WorkDir",
    memory: int = 700 * MIB,
    seconds: int = 20,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Python with these arguments, limited likewise."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    line = (sys.executable, *words)
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        line, cwd=str(cwd), input=stdin, capture_output=True, check=False, preexec_fn=limit, env=env
    )
    assert ran.returncode in (0, 1, 2), (words, ran.returncode, ran.stderr[-2000:])
    assert b"fault of its own" not in ran.stderr, (words, ran.stderr[-2000:])
    assert b"Traceback" not in ran.stderr, (words, ran.stderr[-2000:])
    return ran


EACH = """
import json, sys
from kubectl_mesh import cli
for words in json.loads(sys.argv[1]):
    code = cli.run_command(words)
    for stream in (sys.stdout, sys.stderr):
        print(f"\\n== {code}", file=stream, flush=True)
"""


def limited_each(*commands: tuple[str, ...], cwd: "Path | WorkDir") -> list[tuple[int, str]]:
    """The exit code and the output of each command, all in one process that `limited` limits."""
    line = ("-c", EACH, json.dumps(commands))
    ran = limited_python(*line, cwd=cwd, seconds=20 * len(commands))
    assert ran.returncode == 0, ran.stderr[-2000:]
    out, err = (re.split(r"\n== (\d)\n", text.decode()) for text in (ran.stdout, ran.stderr))
    assert len(out) == len(err) == 2 * len(commands) + 1
    return [(int(err[i + 1]), out[i] + err[i]) for i in range(0, len(err) - 1, 2)]


def sparse(path: Path, size: int = 3 * 2**30) -> None:
    """A file that says that it is large, and takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)


# Links


def names(mesh: WorkDir) -> dict[str, bytes]:
    """Every file that a topology names, with a right body for it."""
    kubeconfig = (SEED / "kubeconfig.yaml").read_bytes()
    authority = base64.b64decode(kubeconfig.split(b"certificate-authority-data: ")[1].split()[0])
    found = {
        "kubeconfig.yaml": kubeconfig,
        "base.yaml": b"apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.30.3}\n",
    }
    found |= {
        "topology.yaml": (mesh / "topology.yaml").read_bytes(),
        "credentials/context-east-1.token": b"Hunter2",
    }
    return {**found, "clusters/context-east-1.crt": authority}


@pytest.mark.parametrize(
    "name",
    [
        "topology.yaml",
        "base.yaml",
        "kubeconfig.yaml",
        "clusters/context-east-1.crt",
        "credentials/context-east-1.token",
    ],
)
def test_a_link_that_leaves_is_refused(name: str, workdir: Make, run: Run, tmp_path: Path) -> None:
    """By every command; nothing of the file is shown or written, and the fix that is printed works."""
    mesh = workdir(tokens=True)
    body = names(mesh)[name]
    outside = tmp_path / "outside" / "one word"
    outside.parent.mkdir()
    outside.write_bytes(body)
    path = mesh / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    for target in (outside, Path(os.path.relpath(outside, path.parent))):
        path.unlink(missing_ok=True)
        os.symlink(target, path)
        for words in ASKING:
            ran = run(*words, cwd=mesh)
            assert ran.code in (0, 1, 2)
            assert "Hunter2" not in ran.out + ran.err
            if words[0] not in ("graph", "explain", "check"):
                assert (
                    f"{name}: is a symbolic link, or lies behind one, that leaves the working directory"
                    in ran.err
                ), (words, ran.err)
        assert (
            "leaves the working directory" in "".join(run("check", cwd=mesh).out.split("\n  "))
            or "leaves the working directory" in run("check", cwd=mesh).err
        )
        assert not (mesh / "out").exists()
    mode = "600" if name.startswith(("credentials", "kubeconfig")) else "644"
    fix = f"install -m {mode} {shlex.quote(str(outside))} {name}"
    assert fix in run("render", cwd=mesh).err
    subprocess.run(fix, shell=True, cwd=mesh.path, check=True)
    assert not path.is_symlink()
    assert path.read_bytes() == body
    assert outside.read_bytes() == body
    assert "symbolic link" not in run("render", cwd=mesh).err


def test_a_folder_that_is_a_link_and_leaves(workdir: Make, run: Run, tmp_path: Path) -> None:
    """A file behind it is no better than the link itself; a way out and back is a way out."""
    mesh = workdir(tokens=True)
    (mesh / "credentials").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", mesh / "credentials")
    assert "leaves the working directory" in run("render", cwd=mesh).err
    (mesh / "credentials").unlink()
    (tmp_path / "elsewhere").rename(mesh / "real")
    os.symlink(f"../{mesh.path.name}/real", mesh / "credentials")
    assert "leaves the working directory" in run("render", cwd=mesh).err
    (mesh / "credentials").unlink()
    os.symlink("real", mesh / "credentials")
    assert run("render", cwd=mesh).code == 0


def test_links_that_stay_are_followed(workdir: Make, run: Run) -> None:
    """As Kubernetes mounts a Secret: the file is a link into `..data`, which is a link to a folder with a date."""
    mesh = workdir(tokens=True)
    plain = run("render", cwd=mesh)
    before = {k: v for k, v in mesh.snapshot().items() if k.startswith("out/")}
    folder = mesh / "credentials" / "..2026_11_30"
    folder.mkdir()
    os.symlink("..2026_11_30", mesh / "credentials" / "..data")
    for name in CLUSTERS:
        (mesh / "credentials" / f"{name}.token").rename(folder / f"{name}.token")
        os.symlink(f"..data/{name}.token", mesh / "credentials" / f"{name}.token")
    (mesh / "kubeconfig.yaml").rename(mesh / "real.yaml")
    os.symlink(mesh / "real.yaml", mesh / "kubeconfig.yaml")
    ran = run("render", cwd=mesh)
    assert (plain.code, ran.code) == (0, 0), ran.err
    assert {k: v for k, v in mesh.snapshot().items() if k.startswith("out/")} == before
    assert run("render", "--kubeconfig", mesh / "kubeconfig.yaml", cwd=mesh).code == 0


def test_no_step_of_a_path_is_taken_twice(tmp_path: Path) -> None:
    """What is opened is what was looked at: a path is resolved by descriptors."""
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/x").write_text("inside")
    (tmp_path / "x").write_text("outside")
    os.symlink("a/../a/./x", tmp_path / "in/link")
    os.symlink("../x", tmp_path / "in/out")
    os.symlink("loop", tmp_path / "in/loop")
    top = str(tmp_path / "in")
    assert read.read_inside(top, "link", "state") == b"inside"
    assert read.read_inside(top, "a/none", "state") is None
    assert read.read_inside(top, "a/x/none", "state") is None
    for name, said in (
        ("out", "leaves the working directory"),
        ("loop", "circle"),
        ("../x", "leaves"),
        ("a", "is a folder"),
        ("a/../../x", "leaves"),
    ):
        with pytest.raises(MeshError, match=said):
            read.read_inside(top, name, "state")


# Sizes


@pytest.mark.parametrize(
    "name",
    [
        *(
            "topology.yaml",
            "base.yaml",
            "kubeconfig.yaml",
            "clusters/context-east-1.crt",
            "credentials/context-east-1.token",
            "certs/root-cert.pem",
        ),
        *(
            "certs/root-key.pem",
            "certs/rotation.json",
            "certs/intermediate-context-east-1/ca-key.pem",
            "certs/ca-crl.pem",
        ),
    ],
)
def test_an_input_of_gigabytes(name: str, workdir: Make, run: Run) -> None:
    """Told by its place, whatever is asked, with little memory."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    sparse(mesh / name)
    for _, text in limited_each(("render", "--dry-run"), ("check",), ("describe",), cwd=mesh):
        assert f"{name}: is larger than" in text.replace("\n  ", ""), text[-500:]
    sparse(mesh / name, max(read.LIMITS.values()) + 1)
    assert "is larger than" in run("render", cwd=mesh).err


def test_gigabytes_in_the_tree(workdir: Make, run: Run) -> None:
    """A foreign file is only looked at; one of ours is rewritten; a lock is refused, for guards ask it, and is written again where it is gone."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    good = {k: v for k, v in mesh.snapshot().items() if k.startswith("out/")}
    foreign = [
        "out/context-east-1/dump.bin",
        "out/context-east-1/3-mesh/dump.yaml",
        "out/dump.yaml",
        "out/alone/dump.yaml",
    ]
    for name in foreign:
        sparse(mesh / name)
    first, *_, last = limited_each(
        ("render", "--dry-run"),
        ("check",),
        ("diff", "--against", "out"),
        ("describe",),
        ("graph",),
        ("tokens", "status"),
        ("render",),
        cwd=mesh,
    )
    assert (first[0], last[0]) == (0, 0), (first, last)
    (plane,) = (mesh / "out/context-east-1/2-control-plane").glob("istio*.yaml")
    sparse(plane)
    *_, (code, text) = limited_each(("check",), ("describe",), ("render",), cwd=mesh)
    assert code == 0, text
    sparse(mesh / "out/context-east-1/mesh.lock")
    *_, (code, text) = limited_each(("check",), ("describe",), ("render",), cwd=mesh)
    assert code == 2
    assert text.startswith("error: out/context-east-1/mesh.lock: is larger than 64 MiB"), text
    (mesh / "out/context-east-1/mesh.lock").unlink()
    assert limited("render", cwd=mesh).returncode == 0
    for name in foreign:
        assert (mesh / name).stat().st_size == 3 * 2**30
        (mesh / name).unlink()
    assert {k: v for k, v in mesh.snapshot().items() if k in good} == good


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_file(kind: str, workdir: Make) -> None:
    """In the place of an input: refused, and nobody waits."""
    mesh = workdir(tokens=True)
    for name in ("topology.yaml", "kubeconfig.yaml", "credentials/context-east-1.token"):
        path, kept = mesh / name, (mesh / name).read_bytes()
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            os.symlink("/dev/zero", path)
        ran = limited("render", cwd=mesh)
        assert ran.returncode == 2
        assert ran.stderr.startswith(f"error: {name}: is ".encode()), ran.stderr
        path.rmdir() if kind == "folder" else path.unlink()
        mesh.write(name, kept, 0o600)


def test_a_dump_is_read_object_by_object(tmp_path: Path) -> None:
    """A list of 60 MB of Pods and releases, and the mesh among them, with little memory; one object that is too large is refused."""
    large = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"x": "y" * 100_000},
    }
    secret = {
        "kind": "Secret",
        "apiVersion": "v1",
        "type": "helm.sh/release.v1",
        "metadata": {"name": "s"},
        "data": {"release": "eHh4" * 30_000},
    }
    text = json.dumps(large) + "," + json.dumps(secret)
    with (tmp_path / "dump.json").open("w") as file:
        file.write(
            '{"kind": "List", "apiVersion": "v1", "items": [' + ",".join([text] * 300) + "]}"
        )
    assert (tmp_path / "dump.json").stat().st_size > 60_000_000
    ran = limited(
        "adopt", "ctx=dump.json", "-C", "mesh", cwd=tmp_path, memory=400 * MIB, seconds=60
    )
    assert ran.returncode == 2
    assert b"larger than" not in ran.stderr
    assert b"MiB" not in ran.stderr
    with (tmp_path / "dump.json").open("w") as file:
        file.write(
            '{"kind": "List", "items": [' + '{"kind": "Pod", "x": "' + "y" * (17 * MIB) + '"}]}'
        )
    ran = limited(
        "adopt", "ctx=dump.json", "-C", "mesh", cwd=tmp_path, memory=400 * MIB, seconds=60
    )
    assert b"is larger than 16 MiB" in ran.stderr, ran.stderr


# Certificates that nothing reads


def broken_certificates() -> dict[str, bytes]:
    """Certificates that a library refuses in its own ways: an X.509 version that is none, a serial, a key, a date."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 5, at, at.replace(year=2036), []
    )
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    version = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109"), 1)
    assert version != der
    changed = {
        "version": version,
        "date": der.replace(b"260101", b"269901", 1),
        "curve": der.replace(
            bytes.fromhex("2a8648ce3d030107"), b"\x2a\x86\x48\xce\x3d\x03\x01\x7f"
        ),
    }
    changed |= {"cut": der[:-20], "nothing": b"", "tag": b"\x31" + der[1:]}
    found = {}
    for what, body in changed.items():
        text = base64.encodebytes(body).decode()
        found[what] = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n".encode()
    return found


BROKEN = broken_certificates()


@pytest.mark.parametrize("what", [w for w in BROKEN if w != "curve"])
@pytest.mark.parametrize(
    "name",
    [
        "clusters/context-east-1.crt",
        "certs/root-cert.pem",
        "certs/intermediate-context-east-1/cert-chain.pem",
    ],
)
def test_a_certificate_that_nothing_reads(what: str, name: str, workdir: Make, run: Run) -> None:
    """An error with its place, in every command."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    mesh.write("clusters/context-east-1.crt", names(mesh)["clusters/context-east-1.crt"])
    mesh.topology(
        {
            "contexts": {
                "context-east-1": {
                    "server": "https://east.example:6443",
                    "certificateAuthority": "clusters/context-east-1.crt",
                }
            }
        }
    )
    mesh.write(name, BROKEN[what])
    for words in (*ASKING, ("certs", "status")):
        ran = run(*words, cwd=mesh)
        assert "fault of its own" not in ran.err, (words, ran.err)
        if words[0] in ("render", "describe", "tokens"):
            assert ran.code == (1 if words[0] == "describe" else 2)
            assert f"error: {name}: " in ran.err
    assert name in run("check", cwd=mesh).out


def test_what_panics_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rust's panic is no Exception of Python's; everything else that is none stays what it is."""
    panic = type("PanicException", (BaseException,), {})
    for error, expected in (
        (panic("x"), parse.PemError),
        (OverflowError(), parse.PemError),
        (x509.InvalidVersion("x", 9), parse.PemError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        monkeypatch.setattr(
            x509, "load_pem_x509_certificates", lambda _, error=error: (_ for _ in ()).throw(error)
        )
        with pytest.raises(expected):
            parse.parse_certificates(b"")


def test_blocks_are_those_of_go() -> None:
    """Both lines begin a line and hold nothing else; the end is the next one of the same label."""
    text = b"x\n-----BEGIN A-----\n1\n-----END B-----\n-----BEGIN B-----\n-----END A----- \r\nrest\n -----BEGIN A-----\n-----END A-----\n-----BEGIN C-----\n-----END C-----"
    found = parse.find_blocks(text)
    assert [(b.label, text[b.start : b.end].count(b"\n")) for b in found] == [(b"A", 5), (b"C", 1)]
    assert parse.text_outside(text, found) == b"x\nrest\n -----BEGIN A-----\n-----END A-----\n"


@pytest.mark.parametrize(
    "name",
    [
        "certs/root-cert.pem",
        "certs/root-key.pem",
        "clusters/context-east-1.crt",
        "certs/ca-crl.pem",
    ],
)
def test_a_million_first_lines(name: str, workdir: Make, run: Run) -> None:
    """0.9 MB of BEGIN lines are refused in seconds."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    for label in (b"CERTIFICATE", b"X509 CRL", b"PRIVATE KEY"):
        mesh.write(name, b"-----BEGIN %s-----\n" % label * (900_000 // (len(label) + 17)), 0o600)
        for words in (("check",), ("certs", "status"), ("certs", "renew", "--all", "--dry-run")):
            limited(*words, cwd=mesh, seconds=8)


# SOPS


def test_stanzas_are_read_by_lines() -> None:
    """Either order, either indent, an end that is missing, bytes that are no text."""
    block = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"
    ours = b'  age:\n  - recipient: "age1aa"\n    enc: |\n' + b"".join(
        b"      " + line + b"\n" for line in block.splitlines()
    )
    theirs = (
        b"    age:\n        - enc: |\n"
        + b"".join(b"            " + line + b"\n" for line in block.splitlines())
        + b"          recipient: age1bb\n"
    )
    assert sops._stanzas(ours) == [(b"age1aa", block)]
    assert sops._stanzas(theirs) == [(b"age1bb", block)]
    broken = ours.replace(b"-----END", b"-----AND")
    assert sops._stanzas(broken + ours) == [(b"age1aa", block)]
    assert sops._stanzas(broken.replace(b"YWdl", b"\xff\xfe")) == []


def test_a_bad_merge_of_a_sealed_file(workdir: Make, run: Run, ages: Ages) -> None:
    """The last line of a block is gone, or its bytes are no text: `verify` and `render` end, and say so."""
    mesh = workdir(over=ages.over(), tokens=True)
    assert run("render", cwd=mesh).code == 0
    (identity, *_) = ages.files.values()
    for path in sorted((mesh / "out").rglob("cacerts.yaml")):
        good = path.read_bytes()
        lines = [line for line in good.split(b"\n") if b"END AGE" not in line]
        at = next(n for n, line in enumerate(lines) if b"BEGIN AGE" in line)
        lines[at + 1 : at + 1] = [b"      " + b"A" * 64] * 2000
        for body in (
            b"\n".join(lines),
            good.replace(b"BEGIN AGE", b"BEGIN \xff\xfe", 1),
            good.replace(b"      Y", b"      \xff", 1),
        ):
            path.write_bytes(body)
            for words in (
                ("verify", "--identity", str(identity)),
                ("render", "--dry-run"),
                ("check",),
                ("describe",),
            ):
                limited(*words, cwd=mesh, seconds=10)
        path.write_bytes(good)
        break


def test_an_identity_of_another_kind(workdir: Make, run: Run, ages: Ages, tmp_path: Path) -> None:
    """A key that the library does not take, a plugin's, SSH's, nothing: a sentence."""
    mesh = workdir(over=ages.over(), tokens=True)
    assert run("render", cwd=mesh).code == 0
    odd = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"
    for body in (
        b"AGE-PLUGIN-YUBIKEY-1QQQQ\n",
        b"\xff\xfe",
        b"",
        odd,
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ):
        (tmp_path / "identity").write_bytes(body)
        ran = run("verify", "--identity", tmp_path / "identity", cwd=mesh)
        assert ran.code == 2
        assert "fault" not in ran.err
    from kubectl_mesh.stores import sealed

    with pytest.raises(MeshError):
        sealed.load_private_keys("key", odd)


# Words


def test_explain_of_a_closed_stdin(workdir: Make) -> None:
    """A sentence."""
    line = f"{shlex.quote(sys.executable)} -m kubectl_mesh explain - <&-"
    ran = subprocess.run(
        line, shell=True, capture_output=True, text=True, check=False, cwd=workdir().path
    )
    assert (ran.returncode, ran.stderr) == (
        2,
        "error: -: stdin is closed, so there is no text to read\n  fix: pipe the text in, or give it in quotes\n",
    )


@pytest.mark.parametrize("word", ["NC ", "x"])
def test_explain_of_one_long_line(word: str, tmp_path: Path) -> None:
    """1 MB without a newline."""
    limited(
        "explain", "-", cwd=tmp_path, seconds=12, stdin=word.encode() * (1_000_000 // len(word))
    )


@pytest.mark.parametrize("year", [1, 1900, 1949, 9990, 9999])
def test_a_clock_that_is_centuries_off(
    year: int, workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence, in whatever needs the date."""

    class Then(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Then":
            return cls(year, 1, 2, tzinfo=tz)

    mesh = workdir(tokens=True)
    monkeypatch.setattr(shell, "datetime", Then)
    for words in (
        ("render",),
        ("check",),
        ("describe",),
        ("certs", "status"),
        ("certs", "renew", "--all"),
        ("tokens", "status"),
    ):
        ran = run(*words, cwd=mesh)
        assert "fault of its own" not in ran.err, (words, ran.err)
        assert "clock: this machine says that it is" in ran.err + ran.out, (words, ran.err)
    assert not (mesh / "out").exists()


MANY = {
    "unknown keys": "mesh_id: m\n"
    + "".join(f"organisation{n}: 1\n" for n in range(40_000))
    + "contexts: {a: {network: net}}\n",
    "peers": "mesh_id: m\ncontexts:\n"
    + "".join(
        f"  context-east-{n}: {{network: net, peers: [contxt-east-{n}]}}\n" for n in range(3000)
    ),
    "networks": "mesh_id: m\nnetworks:\n"
    + "".join(f"  netwrk-{n}: {{gateways: []}}\n" for n in range(3000))
    + "contexts:\n"
    + "".join(f"  context-east-{n}: {{network: network-{n}}}\n" for n in range(3000)),
}


@pytest.mark.parametrize("what", MANY)
def test_thousands_of_mistakes(what: str, tmp_path: Path) -> None:
    """All are told, the first with a suggestion; the processor is busy for seconds, not for a minute."""
    (tmp_path / "topology.yaml").write_text(MANY[what])
    ran = limited("render", cwd=tmp_path, seconds=6)
    assert ran.returncode == 2
    assert ran.stderr.count(b"error: ") >= 3000
    assert 1 <= ran.stderr.count(b"did you mean") <= 100


# Mutations


SECRET = "Hunter2-is-a-token"


def mutated(body: bytes, chance: random.Random) -> bytes:
    """A file with one thing changed: bytes, lines, a piece repeated or cut, nothing left, or something that leads astray."""
    lines = body.split(b"\n")
    at = chance.randrange(len(lines))
    way = chance.randrange(9)
    if way == 0:
        return body[: chance.randrange(len(body) + 1)]
    if way == 1:
        del lines[at]
    elif way == 2:
        lines[at:at] = lines[at : at + 3] * chance.choice((1, 50))
    elif way == 3:
        spot = chance.randrange(len(body) + 1)
        return body[:spot] + bytes(chance.randrange(256) for _ in range(3)) + body[spot:]
    elif way == 4:
        lines[at] = lines[at][: len(lines[at]) // 2]
    elif way == 5:
        other = chance.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif way == 6:
        lines[at] = chance.choice(
            (
                b"- [",
                b"{}",
                b"\xff",
                b"&a [*a]",
                b"? !!python/object:x",
                b"\t:",
                b"null",
                b"\x00",
                b"-----BEGIN CERTIFICATE-----",
                b"9" * 500,
            )
        )
    elif way == 7:
        return (
            body.replace(b": ", b":\n", 1) if chance.random() < 0.5 else body.replace(b'"', b"", 1)
        )
    else:
        number = chance.randrange(len(body) or 1)
        return (
            body[:number] + bytes([body[number] ^ (1 << chance.randrange(8))]) + body[number + 1 :]
            if body
            else b"x"
        )
    return b"\n".join(lines)


TARGETS = {
    "plain": (
        *(
            "topology.yaml",
            "base.yaml",
            "kubeconfig.yaml",
            "certs/root-cert.pem",
            "certs/root-key.pem",
            "certs/rotation.json",
        ),
        *(
            "certs/intermediate-context-east-1/ca-cert.pem",
            "certs/intermediate-context-east-1/ca-key.pem",
            "credentials/context-west-1.token",
        ),
        *(
            "out/context-east-1/mesh.lock",
            "out/context-east-1/1-trust/cacerts.yaml",
            "out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml",
        ),
    ),
    "sops": (
        "certs/seal-key",
        "out/context-east-1/1-trust/cacerts.yaml",
        "out/context-east-1/mesh.lock",
        "topology.yaml",
    ),
}


@pytest.mark.parametrize("store", TARGETS)
def test_mutated_files(store: str, workdir: Make, run: Run, ages: Ages) -> None:
    """A file is changed at random (of a fixed seed), and commands are asked: no fault, no secret shown, no key lost; it is put back each time."""
    chance = random.Random(f"kubectl mesh {store}")
    mesh = workdir(over=ages.over() if store == "sops" else None, tokens=True)
    mesh.write(
        "base.yaml", "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.30.3}\n"
    )
    for name in CLUSTERS:
        mesh.token(name, f"{SECRET}-{name}")
    if store == "plain":
        assert run("certs", "rotate-root", "begin", cwd=mesh).code in (0, 2)
    assert run("render", cwd=mesh).code == 0
    if store == "plain" and not (mesh / "certs/rotation.json").exists():
        assert run("certs", "rotate-root", "begin", cwd=mesh).code == 0
        assert run("render", cwd=mesh).code == 0
    good = {name: (mesh / name).read_bytes() for name in TARGETS[store]}
    keys = {p: p.read_bytes() for p in (mesh / "certs").rglob("*key.pem")}
    inside = [line for body in keys.values() for line in body.decode().splitlines()[1:3]]
    commands = (
        ("check",),
        ("describe",),
        ("diff",),
        ("render", "--dry-run"),
        ("graph",),
        ("tokens", "status"),
        ("certs", "status"),
        ("explain", "Unauthorized"),
    )
    for number in range(60 if store == "plain" else 20):
        name = TARGETS[store][number % len(TARGETS[store])]
        mesh.write(name, mutated(good[name], chance), 0o600)
        for words in chance.sample(commands, 2):
            ran = run(*words, cwd=mesh)
            assert ran.code in (0, 1, 2)
            assert "fault of its own" not in ran.err, (number, name, words, ran.err)
            assert SECRET not in ran.out + ran.err, (number, name, words)
            assert not [line for line in inside if line in ran.out + ran.err], (number, name, words)
        assert [
            p.name for p, body in keys.items() if mesh.path / name != p and p.read_bytes() != body
        ] == []
        mesh.write(name, good[name], 0o600)


def test_mutated_dumps(run: Run, tmp_path: Path) -> None:
    """The same for what `adopt` reads."""
    chance = random.Random("kubectl mesh dumps")
    folder = next(
        p for p in sorted((TOP / "tests/adopt").iterdir()) if p.is_dir() and list(p.rglob("*.yaml"))
    )
    dumps = sorted(p for p in folder.rglob("*.yaml") if b"kind: " in p.read_bytes())[:8]
    for number in range(24):
        source = dumps[number % len(dumps)]
        (tmp_path / "dump.yaml").write_bytes(mutated(source.read_bytes(), chance))
        ran = run("adopt", "ctx=dump.yaml", "-C", f"mesh-{number}", cwd=tmp_path)
        assert ran.code in (0, 2)
        assert "fault of its own" not in ran.err, (number, source, ran.err)
