"""What the checks of a tree are given: the tree as it is, what it should be, and how a finding
names a file of it.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Json, Topology
from kubectl_mesh.observed.values import MeshState

RENDER = (
    "run `kubectl mesh render`, which makes the file anew; where the topology is not what changed,"
    " find out who changed the file"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The view of a tree, and what the inputs mean it to be. `meant` is the view of a render, None
    where the inputs do not allow one.
    """

    out: str
    view: MeshState
    meant: MeshState | None
    topology: Topology
    peers: Mapping[str, tuple[str, ...]]
    """Whom each cluster discovers, by the topology."""
    roots: frozenset[str] | None
    """The fingerprints of the mesh's root; None where it is not here."""
    intermediates: Mapping[str, str]
    """The fingerprint of each cluster's intermediate, as far as they are here."""
    now: datetime
    within: timedelta | None
    by_hand: Mapping[str, str] = field(default_factory=dict)
    """Files (with their directory) that differ from the lock: edited or deleted."""
    same: frozenset[str] = frozenset()
    """Files (with their directory) that are what a render makes; those may be left out of the
    views.
    """
    made: frozenset[str] | None = None
    """All files (with their directory) that a render makes; None where the inputs do not allow one.
    """

    def problem(
        self, file: str, what: str, check: str, *, path: str = "", fix: str = RENDER
    ) -> Problem:
        """A finding about a file, which is given with its directory; one that was touched since it
        was rendered says so.
        """
        touched = f"; it was {self.by_hand[file]} by hand" if file in self.by_hand else ""
        return Problem(Place(f"{self.out}/{file}", path=path), what + touched, fix, check)


def listed(asked: Asked, told: Container[str]) -> frozenset[str]:
    """The kustomizations that list other files than those of a render, and no others than those of
    which a check has told.
    """
    found: set[str] = set()
    if asked.meant is None:
        return frozenset()
    known = {
        o.file: o
        for c in (*asked.meant.clusters.values(), *asked.meant.shared.values())
        for o in c.objects
        if o.kind == "Kustomization"
    }
    for directory in (*asked.view.clusters.values(), *asked.view.shared.values()):
        for seen in directory.objects:
            if (
                seen.kind != "Kustomization"
                or seen.file not in known
                or seen.digest == known[seen.file].digest
            ):
                continue
            one, other = (_resources(o.fields) for o in (seen, known[seen.file]))
            folder = f"{asked.out}/{seen.file.rpartition('/')[0]}"
            rest = [
                {k: v for k, v in o.fields.items() if not k.startswith("resources")}
                for o in (seen, known[seen.file])
            ]
            if (
                rest[0] == rest[1]
                and one != other
                and all(f"{folder}/{name}" in told for name in one ^ other)
            ):
                found.add(f"{asked.out}/{seen.file}")
    return frozenset(found)


def _resources(fields: Mapping[str, Json]) -> set[str]:
    value = fields.get("resources")
    return {str(name) for name in value} if isinstance(value, list) else set()


def files_of(problems: Iterable[Problem]) -> frozenset[str]:
    """The files that findings are about."""
    return frozenset(p.where.file for p in problems)
