"""Crash safety of the steps over the years: killed at any system call that writes, or on a full disk, a step is taken or not, and can be taken again."""

import shutil
from pathlib import Path

import pytest
from cryptography import x509

from tests.crash.test_crash import (
    FULL,
    KILL,
    Case,
    Faults,
    Ran,
    Shot,
    Start,
    case,
    chosen,
    first,
    harmed,
    listing,
    private,
    sentence,
    shot,
    start,
    tells_nothing,
    traced,
    warm,
)

STEPS = {
    "tokens": (("tokens", "rotate", "west", "begin"), "topology.yaml", 10),
    "revoke": (("certs", "revoke", "west"), "certs/ca-crl.pem", 8),
    "crl": (("certs", "crl"), "certs/ca-crl.pem", 8),
}
__all__ = ["first", "start", "warm"]


def whole(body: bytes) -> bool:
    """Whether a bundle of CRLs is whole."""
    return body.endswith(b"-----END X509 CRL-----\n") and all(
        x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n").issuer
        for part in body.split(b"-----END X509 CRL-----\n")[:-1]
    )


@traced
@pytest.mark.parametrize("harm", [KILL, FULL])
@pytest.mark.parametrize("step", list(STEPS))
def test_steps(tmp_path: Path, start: Start, first: Case, step: str, harm: str) -> None:
    """The file that the step writes is old or new, all others are untouched, and the step can be taken once more."""
    words, written, least = STEPS[step]
    before = tmp_path / "before"
    shutil.copytree(first.after, before, symlinks=True)
    runner, plain, faults = start(harm), start(), Faults()
    if step != "tokens":
        assert plain.run(before, "remove", "west").code == 0
        assert plain.run(before, "render").code == 0
    if step == "crl":
        assert plain.run(before, "certs", "revoke", "west").code == 0
    known = case(tmp_path, before, plain, *words)
    assert known.new[written] != known.old.get(written)

    def check(ran: Ran, left: Shot, directory: Path) -> None:
        new = left.get(written) != known.old.get(written)
        if new and step == "tokens":
            assert left[written] == known.new[written], "a mixture"
        elif new:
            assert left[written][:2] == known.new[written][:2]
            assert whole(left[written][2])
        assert all(left[path] == value for path, value in known.old.items() if path != written)
        assert not list(private(left))
        tells_nothing(ran.out + ran.err, left)
        if harm == FULL and ran.code != 0:
            sentence(ran)
        if not new or step == "crl":
            assert plain.run(directory, *words).code == 0
        assert plain.run(directory, "render").code == 0
        assert plain.run(directory, "render", "--check").code == 0
        assert not [p for p in shot(directory) if "kubectl-mesh-stage" in p]

    for point in chosen(listing(runner, tmp_path / "listing", known, closing=False), harm):
        directory = tmp_path / "w"
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, harm)
        faults.attempt(f"{harm} at {point}", lambda r=ran, d=directory: check(r, shot(d), d))  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"{step}, {harm}", least)
