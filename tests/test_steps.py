"""Every step of the sequences over the years: the tree is current before it, what it does to the mesh is told as the golden text says, and the mesh is sound after it."""

import re
from collections.abc import Callable

import pytest
from conftest import TOP, Golden, Run, WorkDir
from test_rotation import ISTIO, ROTATE, Clock
from test_rotation import clock as clock  # noqa: PLC0414 -- a fixture

STEPS = TOP / "tests" / "golden" / "steps"
EAST, WEST = "context-east-1", "context-west-1"
CHANCE = [(re.compile(r"\b[0-9a-f]{64}\b"), "SHA-256"), (re.compile(r"\b[0-9a-f]{30,40}\b"), "SERIAL"), (re.compile(r"\b[0-9a-f]{8}\b"), "MARK")]
"""What is another in every run."""

Make = Callable[..., WorkDir]


def token(mesh: WorkDir, file: str) -> None:
    """The next token, fetched."""
    mesh.write(f"credentials/{file}", f"the-token-in-{file}", 0o600)


RENEW = (("renew", ("certs", "renew", EAST)),)
ROTATION = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("drop-old", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
BACK = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("sign-old", (*ROTATE, "abort")),
    ("drop-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
TOKENS = (
    ("begin", ("tokens", "rotate", EAST, "begin")),
    ("move", ("tokens", "rotate", EAST, "advance")),
    ("end", ("tokens", "rotate", EAST, "advance")),
)
LOST = (
    ("remove", ("remove", WEST)),
    ("revoke", ("certs", "revoke", WEST)),
    ("crl", ("certs", "crl")),
)
SEQUENCES = {"renew": RENEW, "rotate-root": ROTATION, "rotate-root-and-back": BACK, "rotate-token": TOKENS, "cluster-lost": LOST}


@pytest.mark.parametrize("name", SEQUENCES)
def test_each_step(name: str, workdir: Make, run: Run, golden: Golden, clock: Clock) -> None:
    """`render --check` before, the golden text of `diff`, a render, and no error of `check` after."""
    mesh = workdir(tokens=True)
    mesh.write("base.yaml", ISTIO)
    assert run("render", cwd=mesh).code == 0
    for number, (step, words) in enumerate(SEQUENCES[name], 1):
        assert run("render", "--check", cwd=mesh).code == 0, step
        clock.pass_(days=2)
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, (step, ran.err)
        if (name, step) == ("rotate-token", "begin"):
            token(mesh, f"{EAST}.token.g2")
        told = run("diff", cwd=mesh)
        assert told.code in (0, 1)
        text = told.out
        for pattern, word in CHANCE:
            text = pattern.sub(word, text)
        golden(STEPS / name / f"{number}-{step}.txt", text)
        ran = run("render", cwd=mesh)
        assert ran.code == 0, (step, ran.err)
        assert run("check", cwd=mesh).code == 0, step
