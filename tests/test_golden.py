"""Golden cases: from a working directory to the pinned files of its tree, the report and the
description.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from kubectl_mesh import build, delivery, load, targets
from kubectl_mesh.cli import clock as shell
from kubectl_mesh.model import CACERTS_PATH
from kubectl_mesh.yaml_io import assets
from tests.conftest import TOP, Golden, Run
from tests.support.goldens import (
    CASES,
    DAY,
    GOLDEN,
    KUSTOMIZATION,
    LOCK,
    copy_case,
    is_pinned,
    keep_sealed_digests,
    mask_pinned_files,
    pinned_patterns,
    read_files,
    rendered_tree,
)

WEST_SECRET = "east/3-mesh/remote-secrets/west.yaml"
LIMIT = 20
"""How many files of the repository may change with one line of a template."""


@pytest.mark.parametrize("case", CASES)
def test_tree_report_and_description(
    case: str, tmp_path: Path, run: Run, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a render writes and prints, and what `describe` prints."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    mesh = copy_case(case, tmp_path / "mesh")
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    tree = read_files(mesh / "out")
    golden.tree(GOLDEN / case / "tree", mask_pinned_files(case, tree))
    golden(GOLDEN / case / "stdout.txt", ran.out)
    golden(GOLDEN / case / "stderr.txt", ran.err)
    described = run("describe", cwd=mesh)
    assert described.code == 0
    golden(GOLDEN / case / "describe.txt", described.out)
    again = run("render", cwd=mesh)
    assert again.code == 0
    assert f"identical {len(list((mesh / 'out').iterdir()))} director" in again.out
    assert read_files(mesh / "out") == tree
    assert run("render", "--check", cwd=mesh).code == 0


def test_there_are_cases() -> None:
    """A moved folder would make the tests above empty."""
    assert {"first-day", "seed", "fleet"} <= set(CASES)
    assert pinned_patterns().keys() == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_lock_has_the_digest_of_every_file(case: str) -> None:
    """The SHA-256, computed here, of each file of a directory but the lock: pinned locks have no
    digests.
    """
    for folder in rendered_tree(case).iterdir():
        lock = json.loads((folder / LOCK).read_text())
        assert lock["files"] == {
            path: hashlib.sha256(body).hexdigest()
            for path, body in read_files(folder).items()
            if path != LOCK
        }
        assert lock.get("sealed", {}).keys() <= lock["files"].keys()


def test_what_an_earlier_render_sealed_is_kept(golden: Golden) -> None:
    """Byte for byte, although it would be encrypted to other bytes; the lock is a real one."""
    tree = read_files(rendered_tree("sealed"))
    before = {
        path: keep_sealed_digests(tree[path]) if path.endswith(LOCK) else tree[path]
        for path in ("east/mesh.lock", "east/1-trust/cacerts.yaml", WEST_SECRET)
    }
    golden.tree(GOLDEN / "sealed" / "before", before)


@pytest.mark.parametrize("case", CASES)
def test_a_kustomization_lists_what_is_in_its_folder(case: str) -> None:
    """Every file and folder once: as a resource, or for the KSOPS generator. The rest is for
    istioctl, Helm, sops or Flux.
    """
    for path in rendered_tree(case).glob(f"[!_]*/**/{KUSTOMIZATION}"):
        value = yaml.safe_load(path.read_text())
        listed = list(value.get("resources", []))
        for name in value.get("generators", []):
            listed += yaml.safe_load((path.parent / name).read_text())["files"]
        assert len(listed) == len(set(listed))
        assert all((path.parent / name).exists() for name in listed)
        below = {
            p.relative_to(path.parent).as_posix()
            for p in path.parent.rglob("[!.]*.yaml")
            if p.name != KUSTOMIZATION
        }
        for name in below:
            if not any(name == entry or name.startswith(f"{entry}/") for entry in listed):
                text = (path.parent / name).read_text()
                assert "kind: IstioOperator\n" in text or "\nsops:\n" in text or "/" in name, name


def kinds_of_files(case: str) -> Iterator[tuple[str, str, str]]:
    """Each file of a tree but locks: its path, the path without names of clusters, and its kind."""
    tree = read_files(rendered_tree(case))
    clusters = {path.partition("/")[0] for path in tree if path[0] != "_"}
    for path, body in tree.items():
        if path.endswith(LOCK):
            continue
        value = yaml.safe_load(body)
        kind = f"{value.get('apiVersion')}/{value.get('kind')}{' sops' * ('sops' in value)}"
        place = "/".join(
            "*" if re.sub(r"(-stages)?(\.yaml)?$", "", word) in clusters else word
            for word in re.sub(r"/reader-.*-(token|account|role)", r"/reader-*-\1", path).split("/")
        )
        yield path, place, kind


def test_every_kind_of_file_is_pinned() -> None:
    """Whatever the path, the target, the store and the tool that applies the tree: some case pins
    such a file.
    """
    known, pinned = set(), set()
    for case in CASES:
        for path, place, kind in kinds_of_files(case):
            if not path.endswith(KUSTOMIZATION):
                known.add((place, kind))
                if is_pinned(case, path):
                    pinned.add((place, kind))
    assert known - pinned == set()
    kinds = {kind.rpartition("/")[2] for _, kind in pinned}
    assert targets.KINDS.keys() <= kinds
    assert {"Certificate", "ExternalSecret", "SealedSecret", "Secret", "Secret sops"} <= kinds
    assert {place.split("/")[0] for place, _ in pinned} >= {"_argocd", "_flux"}
    assert len(delivery.TOOLS) == 3


ENCRYPTED = ("cacerts.yaml", "remote-secret.yaml")
"""The templates of what a store encrypts."""


def changed_files(mesh: Path, templates: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each template and each path of the tree of `mesh` that a comment in the template changes.

    Comments are added to `templates`. An encrypted file has no comments: its path says which
    template it is made from.
    """
    read = assets.template_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            assets,
            "template_text",
            lambda name: read(name) + f"# changed: {name}\n" * (name in templates),
        )
        tree = build(load(mesh, now=DAY)).tree
    for path, body in tree.items():
        text = body.decode()
        yield from ((name, path) for name in re.findall(r"^# changed: (.*)$", text, re.MULTILINE))
        if "\nsops:\n" in text or "kind: SealedSecret\n" in text:
            yield ENCRYPTED[not path.endswith(CACERTS_PATH)], path


def test_a_template_changes_few_pinned_files(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each template changes a pinned file, and at most 20 files of the repository: in tests/golden
    and in out/, the tree of examples/seed with its locks.
    """
    templates = {p.name for p in (TOP / "templates").glob("*.yaml")}
    changed: dict[str, set[str]] = {name: set() for name in templates}
    for case in CASES:
        mesh = copy_case(case, tmp_path / case)
        for name, path in changed_files(mesh, templates):
            if is_pinned(case, path):
                changed[name].add(f"tests/golden/{case}/tree/{path}")
            if (GOLDEN / case / "before" / path).exists():
                folder = f"tests/golden/{case}/before"
                changed[name] |= {f"{folder}/{path}", f"{folder}/{path.partition('/')[0]}/{LOCK}"}
    unpinned = sorted(name for name, files in changed.items() if not files)
    assert unpinned == []
    if (TOP / "out").is_dir():  # a source distribution has none
        mesh = Path(shutil.copytree(TOP / "examples" / "seed", tmp_path / "example"))
        shutil.copytree(TOP / "out", mesh / "out")
        for name, path in changed_files(mesh, templates - set(ENCRYPTED)):
            changed[name] |= {f"out/{path}", f"out/{path.partition('/')[0]}/{LOCK}"}
    most = max(len(files) for files in changed.values())
    record_property("printed", f"a line of a template changes at most {most} pinned files")
    assert {name: sorted(f) for name, f in changed.items() if len(f) > LIMIT} == {}
