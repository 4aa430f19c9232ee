"""Trees of before Istio's move to new registries, as tests/moved has them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import yaml

from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.render import RenderOptions, render_mesh

MOVED = Path(__file__).resolve().parent.parent / "moved"
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)


def write_moved_mesh(case: str, mesh: Path) -> dict[str, str]:
    """Writes the working directory of a case and its tree of before the move.

    Returns the text of each file of the tree by its path. Files that the move does not change are
    rendered now; before.yaml has the others. The locks have the digests of all.
    """
    mesh.mkdir(parents=True, exist_ok=True)
    for name in ("topology.yaml", "base.yaml"):
        (mesh / name).write_bytes((MOVED / case / name).read_bytes())
    render_mesh(Paths(str(mesh)), RenderOptions(), Machine(DAY, {}))
    for name, text in yaml.safe_load((MOVED / case / "before.yaml").read_text()).items():
        cluster, _, path = name.partition("/")
        lock, file = mesh / "out" / cluster / "mesh.lock", mesh / "out" / name
        digests = [hashlib.sha256(b).hexdigest() for b in (file.read_bytes(), text.encode())]
        listed = lock.read_text()
        assert listed.count(f'"{path}": "{digests[0]}"') == 1
        lock.write_text(listed.replace(*(f'"{path}": "{digest}"' for digest in digests)))
        file.write_text(text)
    return {
        p.relative_to(mesh / "out").as_posix(): p.read_text()
        for p in (mesh / "out").rglob("*")
        if p.is_file()
    }
