"""The cases of tests/golden: their working directories, their rendered trees, and which files of
the trees are pinned.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.render import RenderOptions, render_mesh
from kubectl_mesh.tree.lock_file import dump_lock, parse_lock

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/in"))
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
LOCK = "mesh.lock"
KUSTOMIZATION = "kustomization.yaml"


def copy_case(case: str, to: Path) -> Path:
    """Copies the working directory of a case, with what an earlier render sealed, and returns `to`.

    Private files get the mode that git does not keep.
    """
    shutil.copytree(GOLDEN / case / "in", to)
    for path in [*to.rglob("*key.pem"), *to.rglob("*.token"), *to.rglob("seal-key")]:
        path.chmod(0o600)
    if (GOLDEN / case / "before").is_dir():
        shutil.copytree(GOLDEN / case / "before", to / "out")
    return to


def read_files(folder: Path) -> dict[str, bytes]:
    """Returns every file below a folder, by its path there."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@cache
def _scratch_folder() -> "TemporaryDirectory[str]":
    return TemporaryDirectory(prefix="golden-")


@cache
def rendered_tree(case: str) -> Path:
    """Returns the `out/` of a rendered copy of a case; its parent is the working directory.

    A case is rendered once in a process: nobody may change the files.
    """
    mesh = copy_case(case, Path(_scratch_folder().name) / case)
    render_mesh(Paths(str(mesh)), RenderOptions(), Machine(DAY, {}))
    return mesh / "out"


@cache
def pinned_patterns() -> Mapping[str, tuple[str, ...]]:
    """Returns the patterns of pinned.yaml by case."""
    value = yaml.safe_load((GOLDEN / "pinned.yaml").read_text())
    return {case: tuple(patterns) for case, patterns in value.items()}


def is_pinned(case: str, path: str) -> bool:
    """Whether a file of the tree of a case is pinned. Every lock is.

    A kustomization.yaml is pinned only by a pattern that names it. A pattern that starts with `!`
    removes what other patterns match.
    """
    name = path.rpartition("/")[2]
    matching = [
        pattern
        for pattern in pinned_patterns()[case]
        if fnmatchcase(path, pattern.removeprefix("!"))
        and (name != KUSTOMIZATION or pattern.endswith(KUSTOMIZATION))
    ]
    return name == LOCK or (bool(matching) and not any(p.startswith("!") for p in matching))


def mask_file(path: str, body: bytes) -> bytes:
    """Returns a file of a tree without the bytes that differ from render to render, and without
    the digests of other files.
    """
    if path.endswith(LOCK):
        return re.sub(
            rb'(?ms)^  "(?:sealed|files)": \{$.*?^  \}',
            lambda table: re.sub(rb'"[0-9a-f]{64}"', b'"<sha256>"', table[0]),
            body,
        )
    if b"\nsops:\n" in body:
        block = rb"(-----BEGIN AGE ENCRYPTED FILE-----\n).*?( +-----END)"
        return re.sub(block, rb"\1      <encrypted>\n\2", body, flags=re.DOTALL)
    if b"\nkind: SealedSecret\n" in body:
        # The length of the wrapped key (2 bytes) and the key that RSA wrapped (256 bytes). The rest
        # depends on the seal key and the value only.
        return re.sub(rb'"AQ[A-Za-z0-9+/]{342}', b'"<encrypted>', body)
    return body


def mask_pinned_files(case: str, tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns what `tree/` of a case holds: the pinned files of a rendered tree, masked."""
    return {path: mask_file(path, body) for path, body in tree.items() if is_pinned(case, path)}


def keep_sealed_digests(lock: bytes) -> bytes:
    """Returns a lock that lists only what is sealed, as `before/` of a case holds it."""
    parsed = parse_lock(lock)
    assert parsed is not None
    sealed = {path: digest for path, digest in parsed.files.items() if path in parsed.sealed}
    return dump_lock(replace(parsed, files=sealed))
