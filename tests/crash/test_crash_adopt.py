"""Crash safety of what takes in certificates from elsewhere: killed, or told that the disk is full, at every system call that writes."""

import shutil
from pathlib import Path

import pytest

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
from tests.support.adopted import TODAY, todays_remote
from tests.support.authorities import cacerts, dump, make_root, makefile, self_signed

__all__ = ["first", "start", "warm"]


def import_root(scratch: Path, first: Case) -> tuple[Path, tuple[str, ...]]:
    """An own root, with its key, into a directory without certificates."""
    make_root(scratch / "own")
    shutil.copytree(first.before, scratch / "before", symlinks=True)
    return scratch / "before", (
        "certs",
        "import-root",
        f"{scratch}/own/own.pem",
        "--key",
        f"{scratch}/own/own.key",
    )


def take(scratch: Path, first: Case) -> tuple[Path, tuple[str, ...]]:
    """What a cluster signs with, and its root."""
    makefile(scratch / "old", ("east",))
    shutil.copytree(first.before, scratch / "before", symlinks=True)
    return scratch / "before", ("certs", "import", "east", f"{scratch}/old/intermediate-east")


def adopt(scratch: Path, first: Case) -> tuple[Path, tuple[str, ...]]:
    """A whole mesh."""
    makefile(scratch / "old", tuple(TODAY))
    for context in TODAY:
        remotes = [
            todays_remote(name, {"east": "context-east-1", "west": "context-west-1"}[c])
            for c, name in TODAY.items()
            if c != context
        ]
        values = {
            "global": {
                "meshID": "m",
                "multiCluster": {"clusterName": TODAY[context]},
                "network": context,
            }
        }
        iop = {
            "apiVersion": "install.istio.io/v1alpha1",
            "kind": "IstioOperator",
            "spec": {"values": values},
        }
        ca = (
            cacerts(scratch / f"old/intermediate-{context}")
            if context == "east"
            else self_signed(scratch / "own", context)
        )
        dump(scratch / f"dumps/{context}/all.yaml", iop, ca, *remotes)
    (scratch / "before").mkdir()
    return scratch / "before", ("adopt", f"{scratch}/dumps")


CASES = {"import-root": (import_root, 12), "import": (take, 15), "adopt": (adopt, 60)}


@traced
@pytest.mark.slow
@pytest.mark.parametrize("harm", [KILL, FULL])
@pytest.mark.parametrize("name", list(CASES))
def test_every_writing_call(
    tmp_path: Path, start: Start, first: Case, name: str, harm: str
) -> None:
    """Each file is as it was or as it is to be, nothing private is open to others, and the same command completes the rest."""
    prepare, least = CASES[name]
    before, args = prepare(tmp_path, first)
    runner, plain, faults = start(harm), start(), Faults()
    known = case(tmp_path, before, plain, *args)
    assert known.new != known.old

    def check(ran: Ran, left: Shot, directory: Path) -> None:
        mine = {p: v for p, v in left.items() if ".kubectl-mesh-" not in p}
        assert not [p for p, v in mine.items() if v not in (known.old.get(p), known.new.get(p))], (
            "a mixture"
        )
        assert all(p in left for p in known.old), "something is lost"
        assert not list(private(left))
        tells_nothing(ran.out + ran.err, left, known.new)
        if harm == FULL and ran.code != 0:
            sentence(ran)
        elif harm == FULL:
            assert mine == known.new, "the run claims to be done"
        assert plain.run(directory, *args).code == 0
        assert shot(directory) == known.new

    # Paths that differ in digits alone count as the same.
    directory = tmp_path / "2"
    for point in chosen(listing(runner, tmp_path / "1", known, closing=False), harm):
        if point[2].startswith("write(2,"):
            continue  # what is told when all is done
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, harm)
        faults.attempt(f"{harm} at {point}", lambda r=ran, d=directory: check(r, shot(d), d))  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"{name}, {harm}", least)
