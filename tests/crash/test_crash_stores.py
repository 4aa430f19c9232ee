"""Crash safety of the sequences where secrets are sealed, or the root is elsewhere: killed, or told that the disk is full, at every call that writes."""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.conftest import merged
from tests.crash.test_crash import (
    FULL,
    KILL,
    LOCK_FILE,
    PRIVATE_BODY,
    SHARE,
    Case,
    Faults,
    Point,
    Ran,
    Runner,
    Shot,
    Start,
    below,
    case,
    first,
    harmed,
    listing,
    points,
    private,
    shot,
    start,
    tells_nothing,
    traced,
    warm,
)
from tests.crash.test_crash_certs import every_key, pairs
from tests.crash.test_crash_steps import whole

__all__ = ["first", "start", "warm"]
"""The fixtures of test_crash."""

ROTATE = ("certs", "rotate-root")
NEXT = "certs/next-intermediate-east"


@dataclass
class Step:
    """A step to harm: where, by which command, what may be left, and what comes after it."""

    before: Path
    args: tuple[str, ...]
    left: Callable[[Shot, Shot, Shot], bool]
    """Whether what a harmed run left is old or new: by that, what was there, and what an undisturbed run leads to."""
    after: tuple[tuple[str, ...], ...] = (("render",), ("render", "--check"))
    done: Callable[[Shot, Shot], bool] = lambda found, new: False
    """Whether the command cannot be given once more, for it was done: by what was left, and what an undisturbed run leads to."""
    least: int = 0
    own: set[str] = field(default_factory=set)
    """The paths that the command writes, by what they begin with."""


class Prepare:
    """Prepares the steps, in a folder of its own."""

    def __init__(self, scratch: Path, first: Case, plain: Runner) -> None:
        self.scratch, self.plain, self.before = scratch, plain, scratch / "before"
        shutil.copytree(first.after, self.before, symlinks=True)

    def run(self, *words: str) -> None:
        """A command that has to succeed."""
        ran = self.plain.run(self.before, *words)
        assert ran.code == 0, (words, ran)

    def topology(self, over: Mapping[str, object]) -> None:
        """Changes the topology."""
        path = self.before / "topology.yaml"
        path.write_text(
            yaml.safe_dump(merged(yaml.safe_load(path.read_text()), over), sort_keys=False)
        )

    def elsewhere(self) -> str:
        """The root's key goes to a directory of its own; the name of that."""
        holder = self.scratch / "holder"
        (holder / "certs").mkdir(parents=True)
        (holder / "topology.yaml").write_text("mesh_id: holder\ncontexts: {}\n")
        shutil.copy(self.before / "certs/root-cert.pem", holder / "certs")
        shutil.move(self.before / "certs/root-key.pem", holder / "certs")
        self.topology({"certificates": {"issuer": "csr"}})
        self.run("render")
        return str(holder)

    def sealed(self) -> None:
        """The secrets of the tree are encrypted from now on."""
        made = {
            name: str(pyrage.x25519.Identity.generate().to_public()) for name in ("east", "west")
        }
        self.topology(
            {
                "secrets": {"store": "sops"},
                "contexts": {name: {"recipients": [made[name]]} for name in made},
            }
        )
        shutil.rmtree(self.before / "out")
        self.run("render")


def fits(found: Shot, key: str, other: str) -> bool:
    """Whether a request or a certificate is for a key."""
    own: Any = serialization.load_pem_private_key(found[key][2], None)
    body = found[other][2]
    try:
        public: Any = (
            x509.load_pem_x509_csr(body)
            if other.endswith(".csr")
            else x509.load_pem_x509_certificates(body)[0]
        ).public_key()
    except ValueError:
        return False
    return bool(own.public_key().public_numbers() == public.public_numbers())


def ask(made: Prepare) -> Step:
    """A request for an intermediate that is to follow: key and request, or none of both."""
    made.elsewhere()

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        there = below(found, NEXT).keys()
        return not there or (
            there == {"ca-key.pem", "ca.csr"}
            and fits(found, f"{NEXT}/ca-key.pem", f"{NEXT}/ca.csr")
        )

    return Step(made.before, ("certs", "renew", "east"), left, least=18, own={NEXT})


def sign(made: Prepare) -> Step:
    """The signature, in a file beside: whole, or not there; and it is taken in."""
    holder = made.elsewhere()
    made.run("certs", "renew", "east")

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        return "signed/east.pem" not in found or fits(
            found, f"{NEXT}/ca-key.pem", "signed/east.pem"
        )

    after = (("certs", "import", "east", "signed/east.pem"), ("render",), ("render", "--check"))
    args = ("certs", "sign", "-C", holder, "--to", "signed", f"{NEXT}/ca.csr")
    return Step(
        made.before,
        args,
        left,
        after,
        lambda found, new: "signed/east.pem" in found,
        least=12,
        own={"signed"},
    )


def take(made: Prepare) -> Step:
    """The intermediate that follows is taken in: `certs/` is old or new as a whole."""
    holder = made.elsewhere()
    made.run("certs", "renew", "east")
    made.run("certs", "sign", "-C", holder, "--to", "signed", f"{NEXT}/ca.csr")

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        mine, was, will = (clean(below(s, "certs")) for s in (found, old, new))
        return mine in (was, will) and pairs(found)

    return Step(
        made.before,
        ("certs", "import", "east", "signed/east.pem"),
        left,
        done=same,
        least=70,
        own={"certs", ".gitignore"},
    )


def take_first(made: Prepare) -> Step:
    """The first certificate of a cluster: each of its files is there as a whole, or not yet, and the same command takes the rest in."""
    holder = made.elsewhere()
    shutil.rmtree(made.before / "certs/intermediate-west")
    made.run("certs", "csr", "west")
    made.run("certs", "sign", "-C", holder, "--to", "signed", "certs/intermediate-west/ca.csr")

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        mine = clean(below(found, "certs"))
        return (
            all(value == new[f"certs/{path}"] for path, value in mine.items())
            and below(old, "certs").keys() <= mine.keys()
        )

    return Step(
        made.before,
        ("certs", "import", "west", "signed/west.pem"),
        left,
        done=same,
        least=30,
        own={"certs"},
    )


def add(made: Prepare) -> Step:
    """The CRL that goes ahead of a new root: never without the step that counts from then on."""
    holder = made.elsewhere()
    new = str(made.scratch / "new")
    made.run("init", "-C", new, "--mesh-id", "new")
    made.run("remove", "west")
    made.run(
        "certs", "revoke", "-C", holder, "--certificate", "certs/intermediate-west/ca-cert.pem"
    )
    made.run("certs", "crl", "--add", f"{holder}/certs/ca-crl.pem")
    made.run("render")
    made.run(*ROTATE, "begin", "--with-restarts", "--root", f"{new}/certs/root-cert.pem")
    state = made.before / "certs/rotation.json"
    state.write_text(
        re.sub(r'"since": "[^"]*"', '"since": "2026-01-01T00:00:00Z"', state.read_text())
    )
    made.run("render")
    made.run("certs", "crl", "-C", new)

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        listed, stated = (
            found[p][2] != old[p][2] for p in ("certs/ca-crl.pem", "certs/rotation.json")
        )
        return whole(found["certs/ca-crl.pem"][2]) and (stated or not listed)

    return Step(
        made.before,
        ("certs", "crl", "--add", f"{new}/certs/ca-crl.pem"),
        left,
        least=20,
        own={"certs/ca-crl.pem", "certs/rotation.json"},
    )


def seal(made: Prepare) -> Step:
    """The render after a renewal: every directory is old or new, and what did not change is not sealed anew."""
    made.sealed()
    made.run("certs", "renew", "east")

    def left(found: Shot, old: Shot, new: Shot) -> bool:
        return all(
            below(found, f"out/{name}") in (below(old, f"out/{name}"), below(new, f"out/{name}"))
            for name in ("east", "west")
        )

    return Step(made.before, ("render",), left, (("render", "--check"),), least=45, own={"out"})


def same(found: Shot, new: Shot) -> bool:
    """Whether `certs/` is what an undisturbed run leads to."""
    return clean(below(found, "certs")) == below(new, "certs")


def clean(found: Shot) -> Shot:
    """Without what a killed run left unfinished."""
    return {p: v for p, v in found.items() if ".kubectl-mesh-" not in p}


STEPS = {
    "ask": ask,
    "sign": sign,
    "import": take,
    "first import": take_first,
    "add": add,
    "render sealed": seal,
}
LONG = ("import", "render sealed")
"""What makes the most calls, for it exchanges folders as a whole."""


def calls(runner: Runner, scratch: Path, known: Case, *, locks: bool) -> list[Point]:
    """The points of a step; whoever signs holds no lock, so all that writes there counts."""
    if locks:
        return listing(runner, scratch, known, closing=False)
    shutil.copytree(known.before, scratch, symlinks=True)
    ran = runner.run(scratch, *known.args)
    assert ran.code == 0, ran
    log = runner.log(ran.pid)
    begins = next(number for number, line in enumerate(log) if '"signed"' in line)
    return points([*log[:begins], f"flock({LOCK_FILE})", *log[begins:]], closing=False)[1:]


@traced
@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_every_writing_call(tmp_path: Path, start: Start, first: Case, name: str) -> None:
    """Old or new, no key is lost, nothing private is open to others, and the same command, or a render, makes it complete."""
    plain = start()
    step = STEPS[name](Prepare(tmp_path, first, plain))
    known = case(tmp_path, step.before, plain, *step.args)
    directory, faults = tmp_path / "w", Faults()
    assert step.left(known.new, known.old, known.new)

    def check(harm: str, ran: Ran, repair: bool) -> None:
        left = shot(directory)
        assert step.left(left, known.old, known.new), "a mixture"
        assert every_key(known.old) <= every_key(left), "a key is lost"
        assert all(
            left.get(p) == v for p, v in known.old.items() if not p.startswith(tuple(step.own))
        ), "something else changed"
        assert not {
            p
            for p in clean(left)
            if p not in known.old
            and p not in known.new
            and not p.startswith(("certs/archive/", ".git"))
        }, "something is left"
        sealed = frozenset(p for p in left if name.endswith("sealed") and p.startswith("out/"))
        assert not list(private(left, sealed))
        assert not [p for p in sealed if PRIVATE_BODY.search(left[p][2])], (
            "something secret is in clear"
        )
        tells_nothing(ran.out + ran.err, left, known.old)
        if harm == FULL and ran.code != 0:
            (error,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
            assert ran.code == 2
            assert "No space left on device" in error
        if not repair:
            return
        for words in (*([] if step.done(left, known.new) else [step.args]), *step.after):
            again = plain.run(directory, *words)
            assert again.code == 0, (words, again)
        end = shot(directory)
        assert every_key(known.old) <= every_key(end), "the repair lost a key"
        assert not [p for p in end if ".kubectl-mesh-" in p]

    for harm in (KILL, FULL):
        runner = start(harm)
        for number, point in enumerate(
            calls(runner, tmp_path / f"listing-{harm[:3]}", known, locks=name != "sign")
        ):
            if (harm == FULL and (number % 3 or name in LONG)) or number // 3 % SHARE:
                continue  # The same code writes there as in test_crash and test_certs_crash, where each of its calls finds the disk full.
            shutil.copytree(known.before, directory, symlinks=True)
            ran = harmed(runner, directory, known.args, point, harm)
            faults.attempt(
                f"{harm} at {point}", lambda h=harm, r=ran: check(h, r, faults.tried % 3 == 0)
            )  # type: ignore[misc]
            shutil.rmtree(directory)
    faults.none(name, step.least)
