"""Crash safety of what replaces certificates in use: killed, or out of space, at any call that writes, `certs/` is old or new, and no key is lost."""

import re
import shutil
from pathlib import Path

import pytest

from tests.crash.test_crash import (
    CHUNKS,
    EVERY,
    FULL,
    KILL,
    LOCK_FILE,
    NO_EXCHANGE,
    Case,
    Faults,
    Ran,
    Runner,
    Shot,
    Start,
    below,
    case,
    chosen,
    chunks,
    harmed,
    listing,
    make,
    private,
    shot,
    start,
    synced,
    tells_nothing,
    traced,
    warm,
)
from tests.support.authorities import make_root

__all__ = ["start", "warm"]
"""The fixtures of test_crash."""

ROTATE = ("certs", "rotate-root")
ADVANCE = (*ROTATE, "advance", "--seen-for", "90d")
STEPS = {
    "renew": (("certs", "renew", "--all"),),
    "begin": ((*ROTATE, "begin", "--with-restarts"),),
    "sign with the new": ((*ROTATE, "begin", "--with-restarts"), ADVANCE),
    "drop the old": ((*ROTATE, "begin", "--with-restarts"), ADVANCE, ADVANCE),
    "done": (
        (*ROTATE, "begin", "--with-restarts"),
        ADVANCE,
        ADVANCE,
        (*ROTATE, "advance", "--seen-for", "0h"),
    ),
    "abort": ((*ROTATE, "begin", "--with-restarts"), (*ROTATE, "abort")),
    "union": (("certs", "import-root", "--union", "joins.pem"),),
    "sign with the old": ((*ROTATE, "begin", "--with-restarts"), ADVANCE, (*ROTATE, "abort")),
}
"""What replaces certificates in use: the last of these commands, after the others and a render each."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    """A mesh of two clusters, rendered, with a file of somebody else in certs/."""
    found = make(tmp_path_factory.mktemp("rendered") / "w", "east", "west")
    assert start().run(found, "render").code == 0
    make_root(found, "joins")
    (found / "certs" / "Makefile").write_text("of somebody else\n")
    return found


@pytest.fixture(scope="module", params=list(STEPS))
def known(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    rendered: Path,
    start: Start,
) -> Case:
    """A verb that replaces certificates, and what it leads to undisturbed."""
    scratch = tmp_path_factory.mktemp("case")
    before = scratch / "w"
    shutil.copytree(rendered, before, symlinks=True)
    *earlier, last = STEPS[request.param]
    for words in earlier:
        ran = start().run(before, *words)
        assert ran.code == 0, ran
        state = before / "certs" / "rotation.json"
        state.write_text(
            re.sub(r'"since": "[^"]*"', '"since": "2026-01-01T00:00:00Z"', state.read_text())
        )
        assert start().run(before, "render").code == 0
    return case(scratch, before, start(), *last)


def every_key(found: Shot) -> set[bytes]:
    """The private keys of certs/, wherever they lie."""
    return {
        v[2]
        for p, v in found.items()
        if p.startswith(("certs/", ".kubectl-mesh-certs")) and p.endswith("key.pem")
    }


def like(found: Shot, other: Shot) -> bool:
    """Whether two folders hold the same files in the same modes; what is made anew differs from run to run, and so do fingerprints in names."""

    def shape(one: Shot) -> set[tuple[str, str, int]]:
        return {(re.sub(r"-[0-9a-f]{8}(?=/|$)", "-X", p), v[0], v[1]) for p, v in one.items()}

    return shape(found) == shape(other)


def pairs(found: Shot) -> bool:
    """Whether each intermediate in use has the key, the certificate, the chain and the root that belong together, by their bytes."""
    from kubectl_mesh.pki.issue import key_pair_problems

    for base in {
        p.rpartition("/")[0]
        for p in found
        if re.fullmatch(r"certs/intermediate-[a-z]+/ca-cert\.pem", p)
    }:
        body = {
            part: found[f"{base}/{part}.pem"][2]
            for part in ("ca-cert", "ca-key", "cert-chain", "root-cert")
        }
        if key_pair_problems(base, body["ca-cert"], body["ca-key"]) or not body[
            "cert-chain"
        ].startswith(body["ca-cert"]):
            return False
        if body["root-cert"] != found["certs/root-cert.pem"][2]:
            return False
    return True


def holds(left: Shot, known: Case, *, without_exchange: bool = False) -> None:
    """Asserts that certs/ is old or new as a whole, that no key is lost, and that the rest is as it was."""
    away = without_exchange and "certs" not in left
    certs = below(left, ".kubectl-mesh-certs.old" if away else "certs")
    certs = {p: v for p, v in certs.items() if not p.startswith(".kubectl-mesh-stage-")}
    old, new = below(known.old, "certs"), below(known.new, "certs")
    assert certs == old or (not away and like(certs, new) and pairs(left)), (
        "certs/ is neither old nor new"
    )
    assert every_key(known.old) <= every_key(left), "a key is lost"
    assert certs["Makefile"] == old["Makefile"]
    assert not list(private(left))
    rest = {
        p: v for p, v in left.items() if not p.startswith(("certs", ".kubectl-mesh-", ".gitignore"))
    }
    assert rest == {p: v for p, v in known.old.items() if not p.startswith(("certs", ".gitignore"))}


def watched(
    known: Case,
    ran: Ran,
    left: Shot,
    harm: str,
    directory: Path,
    plain: Runner,
    *,
    without_exchange: bool = False,
    repair: bool = True,
) -> None:
    """Asserts all that must be true after a run that was harmed; with `repair` a render puts it right, and the verb can be run again."""
    holds(left, known, without_exchange=without_exchange)
    tells_nothing(ran.out + ran.err, left, known.old)
    if harm == FULL and ran.code != 0:
        errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, ran.err
        assert ran.code == 2, ran
        assert "No space left on device" in errors[0]
    if not repair:
        return
    assert plain.run(directory, "render").code == 0
    found = shot(directory)
    assert every_key(known.old) <= every_key(found), "the repair lost a key"
    assert like(below(found, "certs"), below(known.old, "certs")) or like(
        below(found, "certs"), below(known.new, "certs")
    )
    assert pairs(found)
    assert not [p for p in found if ".kubectl-mesh-" in p or p == LOCK_FILE]
    if below(found, "certs") == below(known.old, "certs"):
        assert plain.run(directory, *known.args).code == 0
        assert like(below(shot(directory), "certs"), below(known.new, "certs"))


@traced
@pytest.mark.slow
@pytest.mark.parametrize("which", chunks())
@pytest.mark.parametrize("harm", [KILL, FULL])
def test_every_writing_call(
    tmp_path: Path, start: Start, known: Case, harm: str, which: int
) -> None:
    """Killed, or told that the disk is full, at any call that writes: old or new, and the next run repairs."""
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
                known, r, x, harm, d, plain, repair=faults.tried % 4 == 0
            ),
        )  # type: ignore[misc]
        shutil.rmtree(directory)
    least = 15 if "0h" in known.args else 35
    faults.none(f"{known.args}, {harm}", least // CHUNKS if EVERY else least)


@traced
@pytest.mark.slow
def test_without_an_exchange(tmp_path: Path, start: Start, known: Case) -> None:
    """Where names cannot be exchanged, certs/ may be away for a moment; the next run gives it back."""
    runner, plain, faults = start(KILL, *NO_EXCHANGE), start(), Faults()
    away = 0
    found = [
        p
        for p in listing(runner, tmp_path / "listing", known, closing=False)
        if p[0] in ("renameat", "rename", "unlinkat", "rmdir")
    ]
    renames = [p for p in found if p[0].startswith("rename")]
    for point in [*renames, *chosen([p for p in found if p not in renames], KILL)]:
        directory = tmp_path / "w"
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, KILL)
        left = shot(directory)
        away += "certs" not in left
        faults.attempt(
            f"killed at {point}",
            lambda r=ran, x=left, d=directory: watched(
                known, r, x, KILL, d, plain, without_exchange=True
            ),
        )  # type: ignore[misc]
        shutil.rmtree(directory)
    assert away == 1
    faults.none(f"{known.args}, without an exchange", 10)


@traced
def test_the_disk_has_what_gets_a_name(tmp_path: Path, known: Case) -> None:
    """The new certs/ is on the disk, with all that is in it, before it gets its name."""
    directory = tmp_path / "w"
    shutil.copytree(known.before, directory, symlinks=True)
    found = synced(directory, tmp_path / "log", *known.args)
    assert "certs" in found.named
    assert not found.wrong
    assert not found.unsaid()
    shutil.rmtree(directory)
    shutil.copytree(known.before, directory, symlinks=True)
    mutant = "import os; os.fsync = lambda fd: None\n"
    assert len(synced(directory, tmp_path / "log", *known.args, before=mutant).wrong) >= 2
