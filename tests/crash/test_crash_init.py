"""Crash safety of `init`: killed, or told that the disk is full, at every system call that writes, the same command completes the rest."""

import base64
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.crash.test_crash import (
    CA,
    FULL,
    KILL,
    Faults,
    Ran,
    Shot,
    Start,
    case,
    chosen,
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

__all__ = ["start", "warm"]

FILES = {
    ".gitignore", "base.yaml", "certs/root-cert.pem", "certs/root-key.pem", "clusters/context-east-1.crt", "clusters/context-west-1.crt", "topology.yaml",
}  # fmt: skip
LEFT = "certs/.kubectl-mesh-stage-root-cert.pem"
RANDOM = re.compile(r"certs/root-(?:cert|key)\.pem")


def kubeconfig(path: Path) -> None:
    """Two contexts, each with a CA."""
    data = base64.b64encode(CA).decode()
    names = ("context-east-1", "context-west-1")
    value = {
        "clusters": [
            {
                "name": n,
                "cluster": {
                    "server": f"https://{n}.example:6443",
                    "certificate-authority-data": data,
                },
            }
            for n in names
        ],
        "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in names],
        "users": [{"name": n, "user": {}} for n in names],
    }
    path.write_text(yaml.safe_dump(value))


def known_root(directory: Path) -> bytes:
    """The root certificate."""
    return (directory / "certs/root-cert.pem").read_bytes()


@traced
@pytest.mark.slow
@pytest.mark.parametrize("written", [False, True], ids=["from nothing", "with a topology.yaml"])
@pytest.mark.parametrize("harm", [KILL, FULL])
def test_init(tmp_path: Path, start: Start, harm: str, written: bool) -> None:
    """topology.yaml is the last file, so no half of a directory is a mesh of Istio 1.4; nothing written is lost by the second run."""
    runner, plain, faults = start(harm), start(), Faults()
    (tmp_path / "before").mkdir()
    kubeconfig(tmp_path / "config")
    args = ["init", "--mesh-id", "crash"]
    if written:
        (tmp_path / "before/topology.yaml").write_text(
            'mesh_id: crash\ncontexts: {context-east-1: {network: a, server: "https://a.example:6443"}}\n'
        )
    else:
        args += [
            f"--kubeconfig={tmp_path / 'config'}",
            "--context",
            "context-east-1=a",
            "--context",
            "context-west-1=b",
        ]
    known = case(tmp_path, tmp_path / "before", plain, *args)
    files = FILES - (
        {"clusters/context-east-1.crt", "clusters/context-west-1.crt"} if written else set()
    )
    assert {p for p, v in known.new.items() if v[0] == "file"} - {".kubectl-mesh-lock"} == files

    def check(ran: Ran, left: Shot, directory: Path) -> None:
        mine = {p: v for p, v in left.items() if ".kubectl-mesh-" not in p}
        assert not [
            p
            for p, v in mine.items()
            if v[:2] != known.new[p][:2] or (v != known.new[p] and not RANDOM.fullmatch(p))
        ], "a mixture"
        assert "certs/root-key.pem" in left or "certs/root-cert.pem" not in left, (
            "a root certificate without its key"
        )
        if written:
            assert left["topology.yaml"] == known.old["topology.yaml"]
            assert "base.yaml" in left or "certs/root-key.pem" not in left
        elif "topology.yaml" in left:
            assert files <= set(left), "the topology is written before the rest"
        else:
            rendered = plain.run(directory, "render")
            assert rendered.code == 2
            assert "init" in rendered.err
        assert not list(private(left))
        tells_nothing(ran.out + ran.err, left)
        if harm == FULL and ran.code != 0:
            sentence(ran)
        again = plain.run(directory, *args)
        assert again.code == 0, again
        # A copy of the root certificate may stay under a name of its own, until a command writes certificates.
        now = {
            p: v
            for p, v in shot(directory).items()
            if not (p == LEFT and v[2] == known_root(directory))
        }
        assert {p: v[:2] for p, v in now.items()} == {p: v[:2] for p, v in known.new.items()}
        assert {p: v for p, v in now.items() if not RANDOM.fullmatch(p)} == {
            p: v for p, v in known.new.items() if not RANDOM.fullmatch(p)
        }
        assert all(now[p] == v for p, v in mine.items()), "what the first run wrote is lost"
        assert plain.run(directory, *args).code == 0
        assert {p: v for p, v in shot(directory).items() if p != LEFT} == now

    directory = tmp_path / "2"
    for point in chosen(listing(runner, tmp_path / "1", known, closing=False), harm):
        if point[2].startswith("write(2,"):
            continue
        shutil.copytree(known.before, directory, symlinks=True)
        ran = harmed(runner, directory, known.args, point, harm)
        faults.attempt(f"{harm} at {point}", lambda r=ran, d=directory: check(r, shot(d), d))  # type: ignore[misc]
        shutil.rmtree(directory)
    faults.none(f"init, {harm}", 20)
