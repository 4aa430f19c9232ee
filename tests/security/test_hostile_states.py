"""States that hands, clocks and other commits of git leave `certs/`, topology and tree in: each is told, with a way out of it, and nothing is lost."""

import errno
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Ran, Run, WorkDir
from tests.support.clocks import Clock
from tests.support.rotations import (
    ISTIO,
    ROTATE,
    Make,
    advance,
    certificates,
    mark,
    render_sail_mesh,
    rendered,
)

VERBS = (
    (*ROTATE, "status"),
    (*ROTATE, "advance", "--seen-for", "24h"),
    (*ROTATE, "abort"),
    (*ROTATE, "begin"),
    ("certs", "renew", "--all"),
    ("certs", "revoke", "context-east-1"),
    ("render",),
    ("render", "--dry-run"),
    ("diff",),
)
"""Whatever goes by where a rotation stands."""


@pytest.fixture
def mesh(workdir: Make, run: Run, clock: Clock) -> WorkDir:
    """The mesh of each test."""
    return render_sail_mesh(workdir, run)


def edited(mesh: WorkDir, **over: object) -> dict[str, Any]:
    """Writes into rotation.json as a hand would."""
    path = mesh / "certs/rotation.json"
    value: dict[str, Any] = json.loads(path.read_text()) | over
    path.write_text(json.dumps(value))
    return value


def told(ran: Ran, said: str) -> None:
    """The verb could not answer, and says this."""
    assert (ran.code, ran.err) == (2, said)


def refused(mesh: WorkDir, run: Run, said: str) -> None:
    """Every verb says the same, changes nothing, and `check` finds it."""
    before = mesh.snapshot()
    for verb in VERBS:
        ran = run(*verb, cwd=mesh)
        assert (ran.code, ran.err) == (2, said), verb
    assert {**mesh.snapshot(), ".kubectl-mesh.lock": None} == {**before, ".kubectl-mesh.lock": None}
    ran = run("check", "-o", "short", cwd=mesh)
    assert ran.code == 1
    assert said.partition("\n")[0].removeprefix("error: ") in ran.out


# Where a rotation stands, and what is in certs/


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "old as a text": lambda v: v | {"old": v["old"][0]},
    "old as nothing": lambda v: v | {"old": [None]},
    "a path": lambda v: v | {"old": ["../../.."]},
    "the same root twice": lambda v: v | {"old": [v["new"]]},
    "new as a number": lambda v: v | {"new": 5},
    "an escape": lambda v: v | {"new": "\x1b[31m"},
    "a step as a list": lambda v: v | {"step": ["sign-new"]},
    "no such day": lambda v: v | {"since": "2026-13-41T00:00:00Z"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_rotation_that_says_nothing(mesh: WorkDir, run: Run, form: str) -> None:
    """Fingerprints that are none, steps that are none: nothing is guessed from them."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    path = mesh / "certs/rotation.json"
    path.write_text(json.dumps(FORMS[form](json.loads(path.read_text()))))
    refused(
        mesh,
        run,
        "error: certs/rotation.json: does not say where the rotation of the root stands\n  fix: put it back as git has it\n",
    )


def test_a_rotation_of_a_later_version(mesh: WorkDir, run: Run) -> None:
    """What this version does not know may mean anything."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    edited(mesh, plan="x")
    fix = "use the version that wrote it, or put it back as git has it"
    refused(
        mesh,
        run,
        f'error: certs/rotation.json: has "plan", which this version of kubectl mesh does not know\n  fix: {fix}\n',
    )


def test_a_rotation_of_other_roots(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """A step that is ahead of, or behind, what is in certs/: no root is dropped by it, and none is kept for good."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    clock.pass_(days=2)
    old, new = map(mark, certificates((mesh / "certs/root-cert.pem").read_bytes()))
    kept = (mesh / "certs/rotation.json").read_text()
    fix = "put both back, with all of certs/, as one commit of git has them"

    def other(step: str, what: str, **over: object) -> None:
        edited(mesh, step=step, **over)
        refused(
            mesh,
            run,
            f"error: certs/rotation.json: says {step}, but certs/root-cert.pem {what}\n  fix: {fix}\n",
        )
        mesh.write("certs/rotation.json", kept)

    other("drop-old", f"holds the old root (sha256 {old[:16]}…)")
    other("drop-new", f"holds the new root (sha256 {new[:16]}…)")
    other(
        "trust-both",
        f"lacks the new root (sha256 {'a' * 16}…), and holds the unknown root (sha256 {new[:16]}…)",
        new="a" * 64,
    )
    other(
        "sign-old",
        f"lacks the old root (sha256 {'b' * 16}…), and holds the unknown root (sha256 {old[:16]}…)",
        old=["b" * 64],
    )
    bundle = (mesh / "certs/root-cert.pem").read_bytes()
    alone = bundle[: bundle.index(b"-----END CERTIFICATE-----\n") + 26]
    for path in (mesh / "certs").rglob("root-cert.pem"):
        path.write_bytes(alone)
    other("trust-both", f"lacks the new root (sha256 {new[:16]}…)")


def test_the_key_of_the_wrong_root(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """A step taken by hand, keys only: a cluster that joined now would be signed by a root that no other trusts yet."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    clock.pass_(days=2)
    old = (mesh / "certs/root-key.pem").read_bytes()
    shutil.copy(mesh / "certs/next-root-key.pem", mesh / "certs/root-key.pem")
    fix = "put the old root's key there, and keep this one elsewhere"
    refused(
        mesh,
        run,
        f"error: certs/root-key.pem: is not the key of the old root, which signs at trust-both\n  fix: {fix}\n",
    )
    mesh.write("certs/root-key.pem", old, 0o600)
    advance(mesh, run, clock)


def test_an_issuer_that_changes_during_a_rotation(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """With `csr` the key that lies here signs nothing, whichever root it is of; back with `local`, it has to be the one that signs."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    mesh.topology({"certificates": {"issuer": "csr"}})
    rendered(mesh, run)
    advance(mesh, run, clock)
    ran = run(*ROTATE, "status", cwd=mesh)
    assert ran.out.startswith("sign-new: ")
    mesh.topology({"certificates": {"issuer": "local"}})
    fix = "put the new root's key there, and keep this one elsewhere"
    refused(
        mesh,
        run,
        f"error: certs/root-key.pem: is not the key of the new root, which signs at sign-new\n  fix: {fix}\n",
    )
    (mesh / "certs/root-key.pem").rename(mesh / "certs/old.key")
    (mesh / "certs/next-root-key.pem").rename(mesh / "certs/root-key.pem")
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    rendered(mesh, run)
    advance(mesh, run, clock)


def test_an_issuer_of_its_own_during_a_rotation(mesh: WorkDir, run: Run) -> None:
    """What cert-manager signs is of a root that nobody trusts yet: the rotation is finished, or taken back, before."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    mesh.topology({"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "mesh-ca"}}})
    before = mesh.snapshot()
    for verb in (("render",), ("diff",), (*ROTATE, "abort"), ("certs", "renew", "--all")):
        told(
            run(*verb, cwd=mesh),
            "error: certs/rotation.json: says that a rotation is on (trust-both), and the topology says issuer: cert-manager, which has a root of its own\n"
            "  fix: write the issuer as it was, and finish the rotation or go back; where that mesh is no more, move certs/ away\n",
        )
    assert "certs/rotation.json" in run("check", "-o", "short", cwd=mesh).out
    assert {k: v for k, v in mesh.snapshot().items() if k in before} == before
    mesh.topology({"certificates": {"issuer": None, "issuerRef": None}})
    assert run(*ROTATE, "abort", cwd=mesh).code == 0


@pytest.mark.parametrize("version", ["1.25.1", "1.25"])
def test_a_version_that_takes_one_root_only(
    mesh: WorkDir, run: Run, clock: Clock, version: str
) -> None:
    """Rolled out in the middle of a rotation, it would have proxies trust half of the mesh: refused by the render, and found by a check."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    mesh.write(
        "base.yaml",
        ISTIO.replace("v1.31.3", f"v{version}.0" if version == "1.25" else f"v{version}"),
    )
    mesh.topology({"istio": {"version": version}})
    before = mesh.snapshot()
    what = f"runs Istio {version}, and 1.25.1 gives the proxies one root of a bundle only (Istio's issue 55793)"
    ran = run("render", cwd=mesh)
    assert (ran.code, ran.err.count(what)) == (2, 3)
    assert {k: v for k, v in mesh.snapshot().items() if not k.endswith(".lock")} == {
        k: v for k, v in before.items() if not k.endswith(".lock")
    }
    ran = run("check", "-o", "short", cwd=mesh)
    assert (ran.code, ran.out.count(what)) == (1, 3)
    assert run(*ROTATE, "abort", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    advance(mesh, run, clock, "0h")


def test_a_rotation_whose_file_is_gone(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """The key that waits is not lost by beginning again, and the two ways on are told; each works."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    kept = (mesh / "certs/rotation.json").read_bytes()
    (mesh / "certs/rotation.json").unlink()
    ran = run(*ROTATE, "begin", cwd=mesh)
    told(
        ran,
        "error: certs/next-root-key.pem: is there, as of a rotation that is on, but certs/rotation.json, which says where it stands, is not\n"
        "  fix: put certs/rotation.json back as git has it; where that rotation was given up, move the key to certs/archive\n",
    )
    # No render goes on without it, which would have istiod read one root only while two are trusted.
    assert run("render", cwd=mesh).err == ran.err
    (mesh / "certs/archive").mkdir(mode=0o700)
    shutil.move(mesh / "certs/next-root-key.pem", mesh / "certs/archive/next-root-key.pem")
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    assert run(*ROTATE, "abort", cwd=mesh).code == 0
    shutil.move(mesh / "certs/archive/next-root-key.pem", mesh / "certs/next-root-key.pem")
    mesh.write("certs/rotation.json", kept)
    rendered(mesh, run)
    advance(mesh, run, clock)


def test_a_clock_that_went_back(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """A step from tomorrow is no step that somebody saw for too long: the clock is named, and the way on where it was wrong then."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    clock.pass_(days=-400)
    clock.pass_(days=400, minutes=-5)
    before = mesh.snapshot()
    for words in ((), ("--seen-for", "24h")):
        ran = run(*ROTATE, "advance", *words, cwd=mesh)
        told(
            ran,
            "error: certs/rotation.json: says that trust-both was made on 2026-12-01 12:00 UTC, which is yet to come: this clock, or the one of that day, is "
            'wrong\n  fix: set the clock right; where it is, write under "since" when the step was made\n',
        )
    assert mesh.snapshot() == before
    edited(mesh, since="2026-11-29T12:00:00Z")
    assert run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).code == 0


def test_a_root_that_ends_during_a_rotation(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """Begun too late: the old root ends before all is signed by the new one. It keeps nobody from going on, and the tree can follow."""
    clock.pass_(days=3640)
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    rendered(mesh, run)
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    rendered(mesh, run)
    clock.pass_(days=14)
    ended = "error: certs/root-cert.pem: expired on 2036-11-28 12:00:00 UTC\n  fix: "
    fix = "nothing that it signed is accepted any more: go on with a rotation that is on; where none is, move certs/ and the tree away, and render"
    told(run("render", cwd=mesh), f"{ended}{fix}\n")
    assert run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).code == 0
    told(
        run(*ROTATE, "abort", cwd=mesh),
        f"{ended}go on with `kubectl mesh certs rotate-root advance`, to the root that has not\n",
    )
    ran = run("render", cwd=mesh)
    assert (ran.code, "expired on 2036-11-28, and signs nothing here any more" in ran.err) == (
        0,
        True,
    )
    advance(mesh, run, clock)
    lines = [
        line
        for line in run("render", cwd=mesh).err.splitlines()
        if "the CA of the API server" not in line
    ]
    assert not [line for line in lines if "expired" in line]
    advance(mesh, run, clock, "0h")


def test_a_root_that_has_ended(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """No verb claims that a rotation could help where nothing is accepted any more; what is told instead works."""
    clock.pass_(days=3660)
    for verb in (
        ("render",),
        ("certs", "renew", "--all"),
        (*ROTATE, "begin"),
        ("certs", "revoke", "context-west-1"),
    ):
        assert "move certs/ and the tree away, and render\n" in run(*verb, cwd=mesh).err
    for name in ("certs", "out"):
        (mesh / name).rename(mesh / f"{name}.before")
    rendered(mesh, run)


def test_no_union_during_a_rotation(
    mesh: WorkDir, run: Run, workdir: Callable[..., WorkDir]
) -> None:
    """A root that joins the bundle in between would be dropped with the old one, and its clusters with it."""
    other = workdir("other")
    assert run("init", "--mesh-id", "other", cwd=other).code in (0, 2)
    assert run("render", cwd=other).code == 0
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    before = mesh.snapshot()
    ran = run("certs", "import-root", "--union", other / "certs/root-cert.pem", cwd=mesh)
    told(
        ran,
        "error: certs/rotation.json: says that a rotation is on (trust-both), and another root waits for it\n"
        "  fix: finish it with `kubectl mesh certs rotate-root advance`, or go back with abort\n",
    )
    assert mesh.snapshot() == before


# The tree


DEEP = {
    "1-trust/cacerts.yaml": b"{a: " * 10_000 + b"}" * 10_000,
    "2-control-plane/istio.yaml": b"- " * 10_000 + b"a\n",
    "3-mesh/remote-secrets/context-west-1.yaml": b"[" * 10_000 + b"]" * 10_000,
}


@pytest.mark.parametrize("path", DEEP)
def test_a_manifest_that_is_nested_too_deep(mesh: WorkDir, run: Run, path: str) -> None:
    """It is named by whatever looks at the tree, and a render makes it right."""
    mesh.write(f"out/context-east-1/{path}", DEEP[path])
    for verb in (("check", "-o", "short"), ("explain", "x509"), ("diff",), ("graph",)):
        ran = run(*verb, cwd=mesh)
        assert ran.code in (0, 1), ran.err
        assert f"context-east-1/{path}" in ran.out + ran.err or verb[0] in ("graph", "explain")
    assert "tree-readable" in run("check", "-o", "short", cwd=mesh).out
    assert run("render", cwd=mesh).code == 0
    assert run("check", cwd=mesh).code == 0


# What a process is given


STATES = (
    "certs status",
    "certs status -o ics",
    "certs rotate-root status",
    "tokens status",
    "tokens status -o ics",
    "check -o junit",
    "diff -o markdown",
    "graph",
)


@pytest.mark.parametrize("verb", STATES)
def test_streams_that_are_closed(workdir: Callable[..., WorkDir], run: Run, verb: str) -> None:
    """Without stdout, without stderr, without both, and where nobody reads on: no fault, and no message of the interpreter."""
    mesh = workdir(tokens=True)
    mesh.write("base.yaml", ISTIO)
    for words in (("render",), (*ROTATE, "begin"), ("render",)):
        assert run(*words, cwd=mesh).code == 0
    for streams in (">&-", "2>&-", ">&- 2>&-", "<&-", "| true"):
        line = f"{shlex.quote(sys.executable)} -m kubectl_mesh {verb} {streams}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=mesh.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in ((0, 1) if "true" not in streams else (0, 1, 2)), done.stderr
        assert not re.search("error|Traceback|Exception", done.stderr), done.stderr


def test_a_mask_that_takes_from_the_owner(workdir: Callable[..., WorkDir], run: Run) -> None:
    """A umask of 0777 makes no folder that its owner could not enter, and no file that nobody could read."""
    mesh = workdir(tokens=True)
    mesh.write("base.yaml", ISTIO)
    before = os.umask(0o777)
    try:
        for words in (
            ("render",),
            (*ROTATE, "begin"),
            ("render",),
            ("certs", "renew", "--all"),
            ("render",),
        ):
            assert run(*words, cwd=mesh).code == 0
            os.umask(0o777)
    finally:
        os.umask(before)
    modes = {
        path: stat.S_IMODE(mode)
        for path, (mode, _) in mesh.snapshot().items()
        if path.startswith(("certs", "out"))
    }
    assert not [path for path, mode in modes.items() if mode & 0o600 != 0o600 or mode & 0o022]
    assert not [
        path
        for path, mode in modes.items()
        if ("key" in path or "cacerts" in path) and mode & 0o077
    ]


def test_a_disk_that_is_full(mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do is told with it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fix = "make room, and run it again; what was being written is whole, old or new"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        told(run(*ROTATE, "begin", cwd=mesh), f"error: No space left on device\n  fix: {fix}\n")
    assert run("render", "--check", cwd=mesh).code == 0
    assert run(*ROTATE, "begin", cwd=mesh).code == 0


# Tokens


def test_a_token_that_goes_under_another_name(mesh: WorkDir, run: Run) -> None:
    """The next token is that of another cluster, or becomes the first one again once peers use it: no step is taken that would shut all peers out."""
    rotate = ("tokens", "rotate", "context-east-1")
    assert run(*rotate, "begin", "--with-restarts", cwd=mesh).code == 0
    assert run("render", "--with-restarts", cwd=mesh).code == 0
    first, following = (
        mesh / "credentials/context-east-1.token",
        "credentials/context-east-1.token.g2",
    )
    fetch = "  fix: run: (umask 077; mkdir -p credentials; kubectl --context=context-east-1 "

    def refuses(body: bytes, what: str) -> None:
        mesh.write(following, body, 0o600)
        before = mesh.snapshot()
        ran = run(*rotate, "advance", "--seen-for", "0h", cwd=mesh)
        assert (ran.code, ran.err.startswith(f"error: {following}: {what}\n{fetch}")) == (
            2,
            True,
        ), ran.err
        assert mesh.snapshot() == before

    refuses(
        (mesh / "credentials/context-east-2.token").read_bytes(),
        'holds the token of "context-east-2", which this cluster would refuse',
    )
    mesh.write(following, "the-second-token", 0o600)
    assert run(*rotate, "advance", "--seen-for", "0h", cwd=mesh).code == 0
    assert run("render", "--with-restarts", cwd=mesh).code == 0
    mesh.write(following, first.read_bytes(), 0o600)
    assert run("render", "--with-restarts", cwd=mesh).code == 0
    refuses(
        first.read_bytes() + b"\n",
        "holds the token of generation 1, which is to go: no peer could log in any more",
    )
    mesh.write(following, "the-second-token", 0o600)
    assert run("render", "--with-restarts", cwd=mesh).code == 0
    assert run(*rotate, "advance", "--seen-for", "0h", cwd=mesh).code == 0
