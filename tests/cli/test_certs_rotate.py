"""`kubectl mesh certs rotate-root`: each step of each sequence, what is refused, and what a render by hand may not do."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography import x509

from kubectl_mesh.errors import MeshError
from kubectl_mesh.istio.workload_certificates import max_ttl
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.plan import KnownClusters
from kubectl_mesh.plan import build_plan as make_plan
from kubectl_mesh.safety.roots import cut_reason, find_cuts
from kubectl_mesh.targets import KINDS, values
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document
from tests.conftest import Ages, Controller, Golden, Run, WorkDir
from tests.support.clocks import START, Clock
from tests.support.goldens import copy_case
from tests.support.rotations import (
    ISTIO,
    NAMES,
    ROTATE,
    TEXTS,
    Make,
    advance,
    certificates,
    mark,
    render_sail_mesh,
    rendered,
)


@pytest.fixture
def mesh(workdir: Make, run: Run, clock: Clock) -> WorkDir:
    """The mesh of each test."""
    return render_sail_mesh(workdir, run)


def status(mesh: WorkDir, run: Run) -> dict[str, Any]:
    """Where the rotation stands, for programs."""
    ran = run(*ROTATE, "status", "-o", "json", cwd=mesh)
    assert ran.code == 0, ran.err
    value: dict[str, Any] = json.loads(ran.out)
    jsonschema.Draft202012Validator(
        assets.load_schema("output/certs-rotation.schema.json")
    ).validate(value)
    return value


def strictly(mesh: WorkDir, at: datetime) -> None:
    """OpenSSL accepts every chain by the letter of RFC 5280, under the bundle that the cluster gets."""
    for name in NAMES:
        base = mesh / f"certs/intermediate-{name}"
        words = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            "any",
            "-attime",
            str(int(at.timestamp())),
        ]
        done = subprocess.run(
            [
                *words,
                "-CAfile",
                base / "root-cert.pem",
                "-untrusted",
                base / "cert-chain.pem",
                base / "ca-cert.pem",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def signers(mesh: WorkDir) -> set[str]:
    """The common names of the roots that signed the intermediates."""
    found = [
        certificates((mesh / f"certs/intermediate-{name}/cert-chain.pem").read_bytes())
        for name in NAMES
    ]
    assert all(chain[0].issuer == chain[1].subject for chain in found)
    return {chain[1].subject.rfc4514_string().split(",")[0] for chain in found}


# The three steps


def test_a_rotation(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """Trust both, sign with the new, drop the old: what is in certs/ and in the tree after each, and that no key is lost."""
    old = (mesh / "certs/root-cert.pem").read_bytes()
    old_key = (mesh / "certs/root-key.pem").read_bytes()
    first = {name: (mesh / f"certs/intermediate-{name}/ca-cert.pem").read_bytes() for name in NAMES}
    assert status(mesh, run)["next"] == "begin"
    ran = run(*ROTATE, "begin", cwd=mesh)
    assert ran.code == 0, ran.err

    bundle = (mesh / "certs/root-cert.pem").read_bytes()
    assert bundle.startswith(old)
    roots = certificates(bundle)
    assert [r.subject.rfc4514_string() for r in roots] == [
        "CN=Root CA,O=mymeshname",
        "CN=Root CA 2,O=mymeshname",
    ]
    assert (mesh / "certs/root-key.pem").read_bytes() == old_key
    assert stat_of(mesh / "certs/next-root-key.pem") == 0o600
    assert {
        name: (mesh / f"certs/intermediate-{name}/ca-cert.pem").read_bytes() for name in NAMES
    } == first
    assert all(
        (mesh / f"certs/intermediate-{name}/root-cert.pem").read_bytes() == bundle for name in NAMES
    )
    shown = run("certs", "status", cwd=mesh).out
    assert "rotation      trust-both; " in shown
    assert "CN=Root CA 2\n  state       is trusted, does not sign; its key is here\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    value = status(mesh, run)
    assert (value["step"], value["next"], value["abort"], value["waitSeconds"]) == (
        "trust-both",
        "sign-new",
        "drop-new",
        86400,
    )
    assert (value["old"], value["new"]) == ([mark(roots[0])], mark(roots[1]))
    assert [d["rendered"] for d in value["directories"]] == [False] * 3
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml", "2-control-plane/istio.yaml"}
    assert [d["rendered"] for d in status(mesh, run)["directories"]] == [True] * 3
    plane = yaml.safe_load((mesh / "out/context-east-1/2-control-plane/istio.yaml").read_text())[
        "spec"
    ]["values"]
    assert plane["pilot"]["env"]["ISTIO_MULTIROOT_MESH"] == "true"
    assert plane["meshConfig"]["defaultConfig"]["proxyMetadata"]["PROXY_CONFIG_XDS_AGENT"] == "true"
    strictly(mesh, clock.now)
    assert signers(mesh) == {"CN=Root CA"}

    advance(mesh, run, clock)
    assert (mesh / "certs/root-cert.pem").read_bytes() == bundle
    assert not (mesh / "certs/next-root-key.pem").exists()
    assert (mesh / f"certs/archive/root-{mark(roots[0])[:8]}/root-key.pem").read_bytes() == old_key
    for name in NAMES:
        short = mark(certificates(first[name])[0])[:8]
        assert (
            mesh / f"certs/archive/intermediate-{name}-{short}/ca-cert.pem"
        ).read_bytes() == first[name]
    strictly(mesh, clock.now)
    assert signers(mesh) == {"CN=Root CA 2"}
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml"}
    assert status(mesh, run)["next"] == "drop-old"

    advance(mesh, run, clock)
    new = (mesh / "certs/root-cert.pem").read_bytes()
    assert bundle == old + new
    assert all(
        (mesh / f"certs/intermediate-{name}/root-cert.pem").read_bytes() == new for name in NAMES
    )
    strictly(mesh, clock.now)
    value = status(mesh, run)
    assert (value["step"], value["next"], value["abort"], value["waitSeconds"]) == (
        "drop-old",
        "end",
        None,
        0,
    )
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml"}
    assert run(*ROTATE, "begin", cwd=mesh).code == 2

    assert (
        "cannot be told from here\n  fix: look, and give 0h\n"
        in run(*ROTATE, "advance", cwd=mesh).err
    )
    advance(mesh, run, clock, "0h")
    assert status(mesh, run)["step"] is None
    assert not (mesh / "certs/rotation.json").exists()
    assert rendered(mesh, run) == {"2-control-plane/istio.yaml"}
    assert (
        "ISTIO_MULTIROOT_MESH"
        not in (mesh / "out/context-east-1/2-control-plane/istio.yaml").read_text()
    )
    assert run("check", cwd=mesh).code == 0
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    assert b"CN=Root CA 3" in subject((mesh / "certs/root-cert.pem").read_bytes())


def stat_of(path: Path) -> int:
    """The mode of a file."""
    return path.stat().st_mode & 0o777


def subject(body: bytes) -> bytes:
    """The name of the last root of a bundle."""
    return certificates(body)[-1].subject.rfc4514_string().encode()


def test_what_each_step_says(tmp_path: Path, run: Run, clock: Clock, golden: Golden) -> None:
    """The texts of every step, by version: what to apply, what to restart, what to see, how long to wait, how to go back."""
    for case, base, topology, words in (
        ("modern", ISTIO, {}, ()),
        (
            "1.17",
            "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n",
            {"istio": {"version": "1.17.8"}},
            ("--with-restarts",),
        ),
        (
            "1.4",
            "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nspec: {}\n",
            {},
            ("--with-restarts",),
        ),
        ("ambient", ISTIO, {"istio": {"dataPlane": "ambient"}}, ("--with-restarts",)),
    ):
        mesh = WorkDir(copy_case("first-day", tmp_path / case))
        mesh.write("base.yaml", base)
        mesh.topology({"certificates": {"keyType": "ec-p256"}, **topology})
        if case == "ambient":
            mesh.topology({"contexts": {"context-east-2": None}})
        assert run("render", cwd=mesh).code == 0
        ran = run(*ROTATE, "begin", *words, cwd=mesh)
        assert ran.code == 0, ran.err
        said = [ran.out]
        for time in ("90d", "90d", "0h"):
            assert run("render", cwd=mesh).code == 0
            clock.pass_(days=91)
            ran = run(*ROTATE, "advance", "--seen-for", time, cwd=mesh)
            assert ran.code == 0, ran.err
            said.append(ran.out)
        golden(TEXTS / f"rotate-{case}.txt", "\n".join(said))
        assert run(*ROTATE, "status", cwd=mesh).out == "no rotation is on\n"


# Going back


def test_abort_before_the_new_root_signs(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """The new root goes, at once; its key is in the archive, and the old bundle is there byte for byte."""
    before = mesh.snapshot()
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    key = (mesh / "certs/next-root-key.pem").read_bytes()
    new = mark(certificates((mesh / "certs/root-cert.pem").read_bytes())[1])
    assert run(*ROTATE, "abort", cwd=mesh).code == 0
    assert (mesh / f"certs/archive/root-{new[:8]}/root-key.pem").read_bytes() == key
    kept = {
        p: v
        for p, v in mesh.snapshot().items()
        if p.startswith("certs/") and not p.startswith(("certs/archive", "certs/rotation"))
    }
    assert kept == {p: v for p, v in before.items() if p.startswith("certs/")}
    assert status(mesh, run)["step"] == "drop-new"
    assert run(*ROTATE, "begin", cwd=mesh).code == 2, (
        "a cluster may still hold both: a third root would be ignored there"
    )
    assert run(*ROTATE, "abort", cwd=mesh).code == 2
    rendered(mesh, run)
    advance(mesh, run, clock, "0h")
    rendered(mesh, run)
    assert {p: v for p, v in mesh.snapshot().items() if p.startswith("out/")} == {
        p: v for p, v in before.items() if p.startswith("out/")
    }
    assert run(*ROTATE, "begin", cwd=mesh).code == 0


def test_abort_while_the_new_root_signs(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """The old root signs again at once; the new one is trusted until nothing that it signed can live."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    advance(mesh, run, clock)
    rendered(mesh, run)
    new_key, bundle = (
        (mesh / "certs/root-key.pem").read_bytes(),
        (mesh / "certs/root-cert.pem").read_bytes(),
    )
    assert run(*ROTATE, "abort", cwd=mesh).code == 0
    assert (mesh / "certs/next-root-key.pem").read_bytes() == new_key
    assert (mesh / "certs/root-cert.pem").read_bytes() == bundle
    assert signers(mesh) == {"CN=Root CA"}
    assert (status(mesh, run)["step"], status(mesh, run)["waitSeconds"]) == ("sign-old", 86400)
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml"}
    clock.pass_(hours=23)
    assert run(*ROTATE, "advance", "--seen-for", "23h", cwd=mesh).code == 2
    advance(mesh, run, clock)
    assert bundle.startswith((mesh / "certs/root-cert.pem").read_bytes())
    strictly(mesh, clock.now)
    rendered(mesh, run)
    advance(mesh, run, clock, "0h")
    rendered(mesh, run)
    assert run("check", cwd=mesh).code == 0


def test_no_way_back_once_the_old_root_is_dropped(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """One sentence, and nothing changes."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    advance(mesh, run, clock)
    rendered(mesh, run)
    advance(mesh, run, clock)
    before = mesh.snapshot()
    ran = run(*ROTATE, "abort", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        "error: certs/rotation.json: says drop-old: the old root is dropped\n  fix: finish with advance, and rotate to a new root\n",
    )
    again = "error: certs/rotation.json: says that a rotation is on (drop-old), and a second one waits for it\n  fix: finish it with advance\n"
    assert run(*ROTATE, "begin", cwd=mesh).err == again
    assert mesh.snapshot() == before


# What advance refuses


def test_advance_skips_nothing(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """Not rendered, not seen, not for long enough, for longer than the step is old, not committed: refused, and nothing changes."""
    assert run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).err.startswith(
        "error: certs: has no rotation that is on\n"
    )
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    clock.pass_(days=2)

    def refused(*words: str) -> str:
        before = mesh.snapshot()
        ran = run(*ROTATE, "advance", *words, cwd=mesh)
        assert ran.code == 2
        assert mesh.snapshot() == before
        return ran.err

    assert (
        refused("--seen-for", "24h").count(
            "has other roots than certs/ has\n  fix: run `kubectl mesh render`"
        )
        == 3
    )
    assert (
        run("render", "--cluster", "context-east-1", "--cluster", "context-east-2", cwd=mesh).code
        == 0
    )
    assert refused("--seen-for", "24h").startswith(
        "error: out/context-west-1: has other roots than certs/ has\n"
    )
    rendered(mesh, run)
    assert refused().startswith(
        "error: --seen-for: is missing: whether every cluster holds trust-both cannot be told from here\n"
    )
    assert refused("--seen-for", "23h").startswith(
        "error: --seen-for: is 23h; until 24h have passed in every cluster, workloads may hold what is older"
    )
    assert refused("--seen-for", "3d").startswith(
        "error: --seen-for: is longer than the step is old: trust-both was made on 2026-12-01 12:00 UTC\n"
    )
    shutil.rmtree(mesh / "out/context-west-1")
    assert refused("--seen-for", "24h").startswith(
        "error: out/context-west-1: is not rendered yet\n"
    )
    rendered(mesh, run)
    advance(mesh, run, clock)


def test_advance_looks_at_the_last_commit(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """What is rendered and not committed is not in the clusters that git feeds."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    mesh.topology({"secrets": {"store": "plain"}})
    git = ["git", "-C", str(mesh), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)

    def commit() -> None:
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "a step"], check=True)

    rendered(mesh, run)
    commit()
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    clock.pass_(days=2)
    ran = run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh)
    assert ran.code == 2
    assert ran.err.count("error: HEAD:out/context-") == 3
    assert "has other roots than certs/ has\n  fix: commit what was rendered" in ran.err
    commit()
    advance(mesh, run, clock)
    tracked = subprocess.run(
        [*git, "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "certs/rotation.json" in tracked
    assert not [p for p in tracked if p.endswith("key.pem") or "archive" in p]


def test_the_wait_is_that_of_the_values(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """Where base.yaml lets certificates live longer, the wait is longer; what is no duration is refused."""
    mesh.write(
        "base.yaml", ISTIO.replace("}", ", values: {pilot: {env: {MAX_WORKLOAD_CERT_TTL: 72h}}}}")
    )
    rendered(mesh, run)
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    assert status(mesh, run)["waitSeconds"] == 72 * 3600
    clock.pass_(days=2)
    assert "until 72h have passed" in run(*ROTATE, "advance", "--seen-for", "2d", cwd=mesh).err
    clock.pass_(days=1)
    assert run(*ROTATE, "advance", "--seen-for", "3d", cwd=mesh).code == 0
    mesh.write(
        "base.yaml", ISTIO.replace("}", ", values: {pilot: {env: {MAX_WORKLOAD_CERT_TTL: a day}}}}")
    )
    ran = run(*ROTATE, "status", cwd=mesh)
    assert ran.code == 2
    sentence = r'"a day" is no duration of Go\'s, such as 24h or 1h30m, so nobody knows how long certificates live'
    assert re.match(
        rf"error: base\.yaml:3:\d+: spec\.values\.pilot\.env\.MAX_WORKLOAD_CERT_TTL: {sentence}\n",
        ran.err,
    ), ran.err


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("{}", 24),
        ("{a: {SECRET_TTL: 1h30m}}", 24),
        ("{a: {SECRET_TTL: 36h0m0s}}", 36),
        ("{env: [{name: DEFAULT_WORKLOAD_CERT_TTL, value: 48h}, {name: OTHER, value: x}]}", 48),
        ("{a: [{MAX_WORKLOAD_CERT_TTL: 2160h}], SECRET_TTL: 30h}", 2160),
        ("{security: {workloadCertTtl: 1.5h}}", 24),
    ],
)
def test_longest_leaf(text: str, hours: int) -> None:
    """Wherever it stands in base.yaml, and never less than without it."""
    base = {"x": load_document("base.yaml", text.encode())}
    assert max_ttl(base, citadel=False) == timedelta(hours=hours)
    assert max_ttl(base, citadel=True) == timedelta(hours=2160)


@pytest.mark.parametrize(
    "text",
    ["a day", "1h30", "h", "1.5.5h", "3000000h", "9" * 400 + "h", "1" * 100_000, "-1h"],
    ids=lambda text: text[:9],
)
def test_no_duration(text: str) -> None:
    """What Go does not read, or not count in nanoseconds with 64 bits, is an error with a place."""
    with pytest.raises(MeshError, match="is no duration of Go's"):
        max_ttl(
            {"x": load_document("base.yaml", f"{{SECRET_TTL: '{text}'}}".encode())}, citadel=False
        )


# What begin refuses

BEGIN = {
    "1.25.1": (
        {"istio": {"version": "1.25.1"}},
        "runs Istio 1.25.1, and 1.25.1 gives the proxies one root of a bundle only",
    ),
    "1.25": (
        {"istio": {"version": "1.25"}},
        "runs Istio 1.25, and 1.25.1 gives the proxies one root of a bundle only",
    ),
    "ambient": (
        {"istio": {"dataPlane": "ambient"}, "contexts": {"context-east-2": None}},
        "says dataPlane: ambient: ztunnel takes other roots only when",
    ),
    "cert-manager": (
        {"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "ca"}}},
        "says issuer: cert-manager, which makes and renews",
    ),
    "csr": (
        {"certificates": {"issuer": "csr"}},
        "says issuer: csr: the new root is made by whoever holds it",
    ),
}


@pytest.mark.parametrize("case", list(BEGIN))
def test_begin_refuses(mesh: WorkDir, run: Run, case: str) -> None:
    """What running clusters cannot do, or not without restarts that somebody agrees to; nothing changes."""
    over, sentence = BEGIN[case]
    if "istio" in over and "version" in over["istio"]:
        mesh.write("base.yaml", "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {}\n")
    mesh.topology(over)
    before = mesh.snapshot()
    ran = run(*ROTATE, "begin", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith("error: topology.yaml")
    assert sentence in ran.err
    assert mesh.snapshot() == before


def test_begin_asks_first_whether_a_render_may_follow(mesh: WorkDir, run: Run) -> None:
    """In a git work tree that would take the tree in clear, no key is made for a render that is refused; where the tree lies elsewhere, it is."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    assert run("render", "--check", cwd=mesh).code == 2
    before = mesh.snapshot()
    ran = run(*ROTATE, "begin", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith(
        "error: out: lies in a git work tree, and the store `plain` would put private keys there in clear\n"
    )
    assert mesh.snapshot() == before
    ran = run(*ROTATE, "begin", "--out", mesh.path.parent / "elsewhere", cwd=mesh)
    assert ran.code == 0, ran.err


def test_begin_by_restarts(mesh: WorkDir, run: Run) -> None:
    """Before Istio 1.20 nothing is rendered that it does not know; what is to be restarted is told."""
    mesh.write(
        "base.yaml", "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n"
    )
    mesh.topology({"istio": {"version": "1.17.8"}})
    assert (
        "before Istio 1.20 (context-east-1, context-east-2, context-west-1)"
        in run(*ROTATE, "begin", cwd=mesh).err
    )
    # Another kind of control plane takes the gateways along; no cluster runs them here.
    assert run("render", *[w for name in NAMES for w in ("--unapplied", name)], cwd=mesh).code == 0
    ran = run(*ROTATE, "begin", "--with-restarts", cwd=mesh)
    assert ran.code == 0
    assert (
        "     kubectl --context=context-east-1 -n istio-system rollout restart deployment -l app=istiod\n"
        in ran.out
    )
    assert "MULTIROOT" not in ran.out
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml"}


def test_a_file_that_says_nothing(mesh: WorkDir, run: Run) -> None:
    """A damaged rotation.json is told, and nothing is guessed."""
    for text in (
        "",
        "{}",
        '{"step": "x"}',
        "[" * 5000,
        '{"step": "trust-both", "old": [], "new": "", "since": "2026-12-01T00:00:00Z"}',
    ):
        mesh.write("certs/rotation.json", text)
        ran = run(*ROTATE, "status", cwd=mesh)
        assert (ran.code, ran.err) == (
            2,
            "error: certs/rotation.json: does not say where the rotation of the root stands\n  fix: put it back as git has it\n",
        )


# Other stores and issuers


@pytest.mark.parametrize("store", ["sops", "sealed", "external"])
def test_other_stores(workdir: Make, run: Run, clock: Clock, ages: Ages, store: str) -> None:
    """What is sealed, or stands elsewhere, goes through the same steps."""
    external = {
        "secrets": {
            "store": "external",
            "secretStore": {"kind": "ClusterSecretStore", "name": "vault"},
        }
    }
    mesh = workdir(
        over={
            "sops": ages.over(),
            "sealed": {"secrets": {"store": "sealed"}},
            "external": external,
        }[store],
        tokens=store != "external",
    )
    for name in NAMES if store == "sealed" else ():
        mesh.write(
            f"clusters/{name}.sealing.crt", Controller(START - timedelta(days=1)).certificate
        )
    mesh.write("base.yaml", ISTIO)
    assert run("render", cwd=mesh).code == 0
    began = run(*ROTATE, "begin", cwd=mesh)
    assert began.code == 0
    assert ("and put it into the store: `kubectl mesh certs export --to FOLDER`" in began.out) == (
        store == "external"
    )
    assert rendered(mesh, run) == {
        "2-control-plane/istio.yaml",
        *(["1-trust/cacerts.yaml"] if store != "external" else []),
    }
    for time in ("24h", "24h", "0h"):
        advance(mesh, run, clock, time)
        rendered(mesh, run)
        strictly(mesh, clock.now)
    assert run("check", cwd=mesh).code == 0
    assert signers(mesh) == {"CN=Root CA 2"}


def test_a_rotation_by_requests(mesh: WorkDir, run: Run, clock: Clock, workdir: Make) -> None:
    """With `issuer: csr` the new root comes as a file, and each intermediate by a request; the other root's certificates are refused."""
    holders = {}
    for name in ("old", "new"):
        holders[name] = workdir(name)
        (holders[name] / "topology.yaml").unlink()
        assert run("init", "--mesh-id", name, cwd=holders[name]).code == 0
    shutil.rmtree(holders["old"] / "certs")
    shutil.copytree(mesh / "certs", holders["old"] / "certs")
    (mesh / "certs/root-key.pem").unlink()
    mesh.topology({"certificates": {"issuer": "csr"}})
    wrong = run(*ROTATE, "begin", "--root", mesh / "certs/root-cert.pem", cwd=mesh)
    assert "has the key of a root that is trusted already" in wrong.err
    assert (
        "is signed by another: it is no root"
        in run(
            *ROTATE,
            "begin",
            "--root",
            mesh / "certs/intermediate-context-east-1/ca-cert.pem",
            cwd=mesh,
        ).err
    )
    assert (
        run(*ROTATE, "begin", "--root", holders["new"] / "certs/root-cert.pem", cwd=mesh).code == 0
    )
    rendered(mesh, run)

    def sign(holder: str, *names: str) -> None:
        shutil.rmtree(holders[holder] / "signed", ignore_errors=True)
        requests = [mesh / f"certs/next-intermediate-{name}/ca.csr" for name in names]
        ran = run(
            "certs", "sign", "-C", holders[holder], "--to", holders[holder] / "signed", *requests
        )
        assert ran.code == 0, ran.err

    assert run("certs", "renew", "context-east-1", cwd=mesh).code == 0
    sign("new", "context-east-1")
    early = run(
        "certs", "import", "context-east-1", holders["new"] / "signed/context-east-1.pem", cwd=mesh
    )
    assert early.code == 2
    assert (
        "is signed by the new root, and the rotation of the root is at trust-both\n  fix: have it signed by the old root"
        in early.err
    )
    advance(mesh, run, clock)
    assert (
        "0. kubectl mesh certs renew --all; have the new root sign the requests"
        in run(*ROTATE, "status", cwd=mesh).out
    )
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    sign("new", *NAMES)
    clock.pass_(days=2)
    assert (
        "has intermediates that the new root did not sign: context-east-1, context-east-2, context-west-1"
        in (run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).err)
    )
    for name in NAMES:
        ran = run("certs", "import", name, holders["new"] / f"signed/{name}.pem", cwd=mesh)
        assert ran.code == 0, ran.err
        assert "old and new ones lead to roots that all trust." in ran.out + ran.err
        late = " ".join(NAMES[NAMES.index(name) + 1 :])
        said = run(*ROTATE, "status", cwd=mesh).out
        assert (
            f"0. kubectl mesh certs renew {late}; have the new root sign the requests" in said
            if late
            else "0. " not in said
        )
    rendered(mesh, run)
    advance(mesh, run, clock)
    assert (mesh / "certs/root-cert.pem").read_bytes() == (
        holders["new"] / "certs/root-cert.pem"
    ).read_bytes()
    rendered(mesh, run)
    advance(mesh, run, clock, "0h")
    strictly(mesh, clock.now)


# Clusters that come and go meanwhile


def test_a_cluster_joins_and_one_leaves(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """Who joins gets what the step says; the folder of who left goes to the archive, since its root is about to go."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    topology = yaml.safe_load((mesh / "topology.yaml").read_text())
    mesh.topology({"contexts": {"context-east-2": None}})
    rendered(mesh, run)
    advance(mesh, run, clock)
    assert not (mesh / "certs/intermediate-context-east-2").exists()
    assert len(list((mesh / "certs/archive").glob("intermediate-context-east-2-*"))) == 1
    mesh.topology({"contexts": {"context-east-2": topology["contexts"]["context-east-2"]}})
    rendered(mesh, run)
    assert signers(mesh) == {"CN=Root CA 2"}
    advance(mesh, run, clock)
    rendered(mesh, run)
    strictly(mesh, clock.now)


# Before it is rendered


def test_a_step_that_is_not_rendered_yet_is_no_fault(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """`check` and `graph` say that the tree waits for a render; roots that somebody put into a file by hand are a fault all the same."""

    def told() -> dict[str, set[str]]:
        return {
            r["id"]: {p["file"] for p in r["findings"]}
            for r in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
            if r["status"] == "error"
        }

    def waits() -> None:
        assert set(told()) == {"tree-current"}
        assert "does not have the roots of certs/ yet" in run("check", cwd=mesh).out
        drawn = run("graph", cwd=mesh).out
        assert drawn.count("out of date") == 3
        assert "broken" not in drawn

    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    waits()
    for _ in range(2):
        rendered(mesh, run)
        assert not told()
        advance(mesh, run, clock)
    waits()
    path = mesh / "out/context-east-1/1-trust/cacerts.yaml"
    path.write_text(path.read_text().replace("kind:", "kind: "))
    assert told()["tree-root"] == {"out/context-east-1/1-trust/cacerts.yaml"}


# What a render by hand may not do


def test_another_root_is_refused(mesh: WorkDir, run: Run, workdir: Make) -> None:
    """A root that is neither part nor whole of the one in the tree would cut traffic, or be ignored; nothing is written."""
    shutil.move(mesh / "certs", mesh / "old-certs")
    before = mesh.snapshot()
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith(
        "error: certs/root-cert.pem: is missing, and a new root would take the place of the one by which the rendered clusters trust"
    )
    assert mesh.snapshot() == before
    shutil.rmtree(mesh / "out")
    assert run("render", cwd=mesh).code == 0


def test_another_root_is_refused_where_only_a_new_directory_is_rendered(
    mesh: WorkDir, run: Run
) -> None:
    """The directories that are not rendered count too: a cluster that comes alone comes to those that are there."""
    shutil.move(mesh / "certs", mesh / "old-certs")
    shutil.rmtree(mesh / "out/context-west-1")
    before = mesh.snapshot()
    for words in (
        ("render", "--cluster", "context-west-1"),
        ("render", "--check", "--cluster", "context-west-1"),
        ("render",),
    ):
        ran = run(*words, cwd=mesh)
        assert ran.code == 2, words
        assert ran.err.startswith(
            "error: certs/root-cert.pem: is missing, and a new root would take the place of the one by which the rendered clusters"
        )
    assert mesh.snapshot() == before


A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Trust((A,), A), Trust((A,), A), None),
        (Trust((A,), A), Trust((A, B), A), None),
        (Trust((A,), A), Trust((B, A), A), None),
        (Trust((A, B), A), Trust((A, B), B), None),
        (Trust((A, B), B), Trust((B,), B), None),
        (Trust((A,), A), Trust((B,), B), "trusts other roots"),
        (Trust((A, B), B), Trust((B, C), B), "trusts other roots"),
        (Trust((A, B, C), A), Trust((A, C), A), "trusts other roots"),
        (Trust((A, B), A), Trust((B, A), A), "has the same roots in another order"),
        (
            Trust((A,), A),
            Trust((A, B), B),
            "would get another bundle of roots and another root that signs in one render",
        ),
        (
            Trust((A, B), A),
            Trust((B,), B),
            "would get another bundle of roots and another root that signs in one render",
        ),
        (Trust((A, B)), Trust((B,), B), None),
    ],
)
def test_root_change(before: Trust, after: Trust, said: str | None) -> None:
    """One cluster by itself."""
    why = cut_reason(before, after)
    assert (why is None) if said is None else (why or "").startswith(said)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"e": Trust((A, B), B), "w": Trust((A, B), B)}, {"e": Trust((B,), B)}, []),
        (
            {"e": Trust((A, B), B), "w": Trust((A, B), A)},
            {"e": Trust((B,), B)},
            ["e would no longer trust the root by which the tree of w is signed"],
        ),
        (
            {"e": Trust((A, B), A), "w": Trust((A,), A)},
            {"e": Trust((A, B), B)},
            ["e would be signed by a root that the tree of w does not trust yet"],
        ),
        (
            {"e": Trust((A, B), A), "w": Trust((A, B), A)},
            {"e": Trust((A, B), B), "w": Trust((A, B), B)},
            [],
        ),
        ({"w": Trust((A,), A)}, {"n": Trust((A,), A)}, []),
        (
            {"w": Trust((A,), A)},
            {"n": Trust((A, B), B)},
            ["n would be signed by a root that the tree of w does not trust yet"],
        ),
        (
            {"w": Trust((A, B), A)},
            {"n": Trust((B,), B)},
            ["n would no longer trust the root by which the tree of w is signed"],
        ),
        ({"w": Trust((), "")}, {"w": Trust((A,), A), "n": Trust((A,), A)}, []),
        ({}, {"w": Trust((A,), A)}, []),
    ],
)
def test_mesh_change(before: dict[str, Trust], after: dict[str, Trust], said: list[str]) -> None:
    """A cluster among others that lag."""
    assert [f"{name} {why}" for name, why in find_cuts(before, after)] == said


def test_help_of_the_steps(run: Run) -> None:
    """--help fits a terminal, and no sentence in the list of the steps is cut off."""
    assert not [
        line
        for line in run(*ROTATE, "--help").out.splitlines()
        if line.startswith("  ") and line.endswith("...")
    ]
    for verb in ((), ("begin",), ("advance",), ("abort",), ("status",)):
        ran = run(*ROTATE, *verb, "--help")
        assert ran.code == 0
        assert max(map(len, ran.out.splitlines())) <= 80, ran.out


def test_the_report_of_a_rotation_is_no_secret(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """No line of a key is in any text."""
    said = run(*ROTATE, "begin", cwd=mesh)
    rendered(mesh, run)
    clock.pass_(days=2)
    more = run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh)
    text = said.out + said.err + more.out + more.err + json.dumps(status(mesh, run))
    for path in (mesh / "certs").rglob("*key.pem"):
        assert not [
            line
            for line in path.read_text().splitlines()
            if "-----" not in line and re.search(re.escape(line), text)
        ]


@pytest.mark.parametrize(
    ("release", "asked"),
    [
        ({"version": "1.19.3"}, False),
        ({"version": "1.20.0"}, True),
        ({"revision": "stable"}, True),
        ({"version": "1.20.0", "canary": {"version": "1.19.3", "revision": "old"}}, False),
    ],
)
def test_the_values_of_a_rotation(release: dict[str, Any], asked: bool) -> None:
    """Asked for where every istiod of the cluster reads them, only while a rotation is on, and not of a cluster that has no istiod."""
    text = yaml.safe_dump(
        {
            "mesh_id": "m",
            "contexts": {
                "a": {"network": "net-a", "istio": release},
                "b": {"network": "net-b", "controlPlane": "c"},
                "c": {"network": "net-c"},
            },
        }
    )
    topology = validate_document(
        load_document("topology.yaml", text.encode()), assets.load_schema("topology.schema.json")
    )
    plan = make_plan(topology, KINDS["Istio"].plan_traits(topology), KnownClusters({}, {}))
    env, proxies = {values.MULTIROOT: "true"}, {"proxyMetadata": {values.XDS_AGENT: "true"}}
    for rotating in (False, True):
        made = values.Values(replace(plan, is_rotating_root=rotating))
        found = {name: made.build_overlay(member, {}) for name, member in plan.members.items()}
        assert (found["a"].get("pilot") == {"env": env}) == (rotating and asked)
        assert (found["a"].get("meshConfig") == {"defaultConfig": proxies}) == (rotating and asked)
        assert "pilot" not in found["b"]
        assert ("pilot" in found["c"]) == rotating


def test_a_renewal_during_a_rotation(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """The root that signs at that step signs it, and the bundle stays."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    assert signers(mesh) == {"CN=Root CA"}
    strictly(mesh, clock.now)
    rendered(mesh, run)
    advance(mesh, run, clock)
    rendered(mesh, run)
    assert run("certs", "renew", "context-east-1", cwd=mesh).code == 0
    assert signers(mesh) == {"CN=Root CA 2"}
    assert rendered(mesh, run) == {"1-trust/cacerts.yaml"}
    strictly(mesh, clock.now)


def test_a_step_without_its_key(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """A key that somebody keeps elsewhere is asked for, by the name that it should have here; nothing changes."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    key = mesh / "certs/next-root-key.pem"
    clock.pass_(days=2)
    for body, said in (
        (None, "is not here, and no intermediate can be signed without it"),
        (mesh / "certs/root-key.pem", "belongs to none of the roots"),
    ):
        kept = key.read_bytes()
        key.unlink()
        if body is not None:
            mesh.write("certs/next-root-key.pem", body.read_bytes(), 0o600)
        before = mesh.snapshot()
        ran = run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh)
        assert ran.code == 2
        assert ran.err.startswith(f"error: certs/next-root-key.pem: {said}")
        assert mesh.snapshot() == before
        mesh.write("certs/next-root-key.pem", kept, 0o600)
    advance(mesh, run, clock)
    shutil.rmtree(next((mesh / "certs/archive").glob("root-*")))
    before = mesh.snapshot()
    ran = run(*ROTATE, "abort", cwd=mesh)
    assert ran.code == 2
    assert re.match(
        r"error: certs/archive/root-[0-9a-f]{8}/root-key\.pem: is not here, and no intermediate can be signed without it\n",
        ran.err,
    )
    assert mesh.snapshot() == before


def test_no_step_asks_a_proxy_for_a_crl_that_it_lacks(
    mesh: WorkDir, run: Run, clock: Clock
) -> None:
    """Where something is revoked, each step's chains are covered by the CRLs of the step before, so any order of applying is safe."""
    west = NAMES[2]
    for words in (("remove", west), ("certs", "revoke", west), ("render",)):
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, ran.err
    steps = (
        ("begin",),
        ("advance", "--seen-for", "24h"),
        ("abort",),
        ("advance", "--seen-for", "24h"),
    )
    for step in steps:
        before = x509_crls(mesh)
        if step[0] == "advance":
            clock.pass_(days=2)
        ran = run(*ROTATE, *step, cwd=mesh)
        assert ran.code == 0, ran.err
        for name in NAMES[:2]:
            for ca in certificates(
                (mesh / f"certs/intermediate-{name}/cert-chain.pem").read_bytes()
            ):
                assert any(
                    crl.issuer == ca.subject and crl.is_signature_valid(ca.public_key())
                    for crl in before
                )  # type: ignore[arg-type]
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        assert "has a CRL of" not in ran.err
    assert sum(len(crl) for crl in x509_crls(mesh)) == 1


def x509_crls(mesh: WorkDir) -> list[x509.CertificateRevocationList]:
    """What certs/ca-crl.pem holds."""
    blocks = (mesh / "certs/ca-crl.pem").read_bytes().split(b"-----END X509 CRL-----\n")[:-1]
    return [x509.load_pem_x509_crl(block + b"-----END X509 CRL-----\n") for block in blocks]


def test_the_first_crls_are_of_what_late_clusters_sign_with_too(
    mesh: WorkDir, run: Run, clock: Clock, tmp_path: Path
) -> None:
    """A rotation made new keys, and a cluster is late; then something is revoked for the first time: under the old root, too."""
    assert run("certs", "renew", NAMES[0], cwd=mesh).code == 0
    shutil.copytree(mesh / "certs", tmp_path / "late")
    lost = (mesh / f"certs/intermediate-{NAMES[2]}/ca-cert.pem").read_bytes()
    assert run("render", cwd=mesh).code == 0
    assert run("remove", NAMES[2], cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    for step in (("begin",), ("advance", "--seen-for", "24h")):
        clock.pass_(days=2)
        assert run(*ROTATE, *step, cwd=mesh).code == 0
        assert run("render", cwd=mesh).code == 0
    mesh.write("lost.pem", lost)
    ran = run("certs", "revoke", "--certificate", str(mesh / "lost.pem"), cwd=mesh)
    assert (ran.code, "has no CRL" in ran.err) == (0, False), ran.err
    assert f"revoked {x509.load_pem_x509_certificate(lost).serial_number:x}" in ran.out
    crls = x509_crls(mesh)
    both = x509.load_pem_x509_certificates((mesh / "certs/root-cert.pem").read_bytes())
    late = [
        x509.load_pem_x509_certificate(p.read_bytes())
        for p in sorted((tmp_path / "late").glob("intermediate-*/ca-cert.pem"))
    ]
    for ca in (*both, *late[:2]):
        assert [
            c for c in crls if c.issuer == ca.subject and c.is_signature_valid(ca.public_key())
        ], ca.subject  # type: ignore[arg-type]
    # They stay, and live as long as the others.
    clock.pass_(days=300)
    assert run("certs", "crl", cwd=mesh).code == 0
    assert len(x509_crls(mesh)) == len(crls)
    assert {c.next_update_utc for c in x509_crls(mesh)} == {
        clock.now.replace(microsecond=0) + timedelta(days=365)
    }
    # Without the key nothing can be promised, and that is said.
    (mesh / "certs/ca-crl.pem").unlink()
    for key in (mesh / "certs/archive").glob(f"intermediate-{NAMES[0]}-*/ca-key.pem"):
        key.unlink()
    ran = run("certs", "revoke", "--certificate", str(mesh / "lost.pem"), cwd=mesh)
    assert ran.code == 0
    assert ran.err.count("which was in use before: proxies refuse what is still signed by it") == 2


def test_the_crl_of_a_root_that_does_not_sign_lives_as_long_as_the_others(
    mesh: WorkDir, run: Run, clock: Clock
) -> None:
    """One that ends soon, of an intermediate that was replaced, does not give its end to that of the new root; and the end of an old root's is told."""

    def done(*words: str) -> str:
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, ran.err
        return ran.out + ran.err

    for words in (("remove", NAMES[2]), ("certs", "revoke", NAMES[2]), ("render",)):
        done(*words)
    first = clock.now
    (mesh / f"certs/intermediate-{NAMES[0]}").rename(mesh / "aside")
    done("render")
    clock.pass_(days=330)
    done("certs", "crl")
    second = clock.now
    assert {c.next_update_utc for c in x509_crls(mesh)} == {
        first + timedelta(days=365),
        second + timedelta(days=365),
    }
    done(*ROTATE, "begin")
    (new,) = (
        c
        for c in certificates((mesh / "certs/root-cert.pem").read_bytes())
        if "2" in c.subject.rfc4514_string()
    )
    assert [c.next_update_utc for c in x509_crls(mesh) if c.issuer == new.subject] == [
        second + timedelta(days=365)
    ]
    done("render")
    clock.pass_(days=2)
    done(*ROTATE, "advance", "--seen-for", "24h")
    done("render")
    # Without its key the CRL of the old root cannot be signed anew, and late clusters are still signed by that root.
    (key,) = (mesh / "certs/archive").glob("root-*/root-key.pem")
    key.rename(mesh / "away.pem")
    clock.pass_(days=10)
    assert f"valid until {second + timedelta(days=365):%Y-%m-%d}" in done("certs", "crl")
    (mesh / "away.pem").rename(key)
    assert f"valid until {clock.now + timedelta(days=365):%Y-%m-%d}" in done("certs", "crl")
