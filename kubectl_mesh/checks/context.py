"""What checks look at: the inputs, the rendered tree and their comparison, as far as each could be
read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Flag, auto
from functools import cached_property
from typing import Self, TypeVar, cast

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import FolderChange, Pki, Plan, Server, Topology
from kubectl_mesh.observed.mesh_state import MeshState
from kubectl_mesh.text import mesh_command

ERROR, WARNING = "error", "warning"
RENDER = (
    f"run `{mesh_command('render')}`, which makes the file anew; where the topology is not what"
    " changed, find out who changed the file"
)
T = TypeVar("T")


class Needs(Flag):
    """What a check needs. A check is skipped if anything that it needs is missing."""

    NOTHING = 0
    TOPOLOGY = auto()
    """topology.yaml is valid."""
    INPUTS = auto()
    """The other files of the working directory were read, though there may be problems in them."""
    RENDER = auto()
    """The inputs can be rendered."""
    COMPARISON = auto()
    """The rendered tree was compared with a render of the inputs."""
    CONTENT = auto()
    """Something is rendered."""
    CERTS = auto()
    """`certs/` has files."""
    BASE = auto()
    """There is a base.yaml."""
    BASE_SHAPE = auto()
    """The fields of base.yaml are known."""
    CONTROL_PLANE = auto()
    """base.yaml is of a known kind of control plane."""
    SERVERS = auto()
    """An API server is known."""
    EVERY_SERVER = auto()
    """The API server of every cluster is known."""
    LOGINS = auto()
    """`credentials/` has the login of a cluster."""
    PLANNED_LOGINS = auto()
    """A remote secret is rendered with a login."""
    TOKEN_AGE = auto()
    """A greatest age of tokens is given."""


OF_BASE = Needs.CONTROL_PLANE | Needs.BASE_SHAPE
"""What a base.yaml that cannot be judged leaves unknown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that a check found, as an error or as a warning."""

    severity: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class DateLimits:
    """How soon an end counts as an error, and how old a token may be; None where nothing is
    asked.
    """

    fail_within: timedelta | None = None
    token_age: timedelta | None = None


class SharedPasses:
    """Has the results of passes that several checks read, so that each pass runs once."""

    @cached_property
    def _results(self) -> dict[object, object]:
        return {}

    def run_once(self, look: Callable[[Self], T]) -> T:
        """The result of a pass over this value."""
        if look not in self._results:
            self._results[look] = look(self)
        return cast("T", self._results[look])


@dataclass(frozen=True, eq=False)
class TreeContext(SharedPasses):
    """What a rendered tree says, and what the inputs mean it to say."""

    out: str
    state: MeshState
    """The tree; without the files in `unchanged`, if the tree was compared."""
    expected_state: MeshState | None
    """A render of the same files; None if the inputs do not allow one."""
    topology: Topology
    peers: Mapping[str, tuple[str, ...]]
    """The peers that each cluster discovers, by the topology."""
    roots: frozenset[str] | None
    """The fingerprints of the mesh's roots; None if `certs/` does not have them."""
    intermediates: Mapping[str, str]
    """The fingerprint of each cluster's intermediate, as far as `certs/` has it."""
    now: datetime
    fail_within: timedelta | None
    hand_edits: Mapping[str, str] = field(default_factory=dict)
    """Files (with their directory) that differ from the lock: `edited` or `deleted`."""
    unchanged_files: frozenset[str] = frozenset()
    """Files (with their directory) that are what a render makes."""
    rendered_files: frozenset[str] | None = None
    """All files (with their directory) that a render makes; None as for `meant`."""
    explained_files: frozenset[str] = frozenset()
    """Files (with `out`) that a problem of the inputs is about already."""

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Files (with `out`) that cannot be read as manifests."""
        return frozenset(f"{self.out}/{p.where.file}" for p in self.state.problems)

    def problem(self, where: Place, what: str, check: str, code: str, fix: str = RENDER) -> Problem:
        """A problem of a file, given with its directory. If the file differs from the lock, the
        problem says so.
        """
        file = where.file
        touched = f"; it was {self.hand_edits[file]} by hand" if file in self.hand_edits else ""
        place = Place(f"{self.out}/{file}", path=where.path)
        return Problem(place, what + touched, fix, check, code=code)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the rendered tree differs from a render of the inputs."""

    out: str
    changes: tuple[FolderChange, ...]
    foreign_entries: tuple[str, ...]
    """What is next to the directories of the clusters and is not rendered."""
    refusals: tuple[Problem, ...]
    """Why a render refuses to change the tree."""
    makes_certificates: bool
    """A render makes certificates that are missing."""


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What the working directory says, without what is rendered."""

    topology: Topology
    """With what base.yaml says of the version."""
    servers: Mapping[str, Server]
    server_cas: Sequence[tuple[str, bytes, Place]]
    """The CA of every known API server: its cluster, the PEM, and its place."""
    ca_files: Mapping[str, str]
    """The files of those CAs, by cluster, for those that are in files of their own."""
    broken_inputs: frozenset[tuple[str, str]]
    """Inputs that are known to be wrong, and so are not pending: their kind, and the cluster."""
    has_seal_key: bool
    can_detect_platform: bool
    """An operator chooses the ztunnel that istiod trusts."""
    is_hub_unknown: bool
    """The image registry is that of an operator or of istioctl."""
    plan: Plan | None = None
    """None if the inputs cannot be rendered."""
    pki: Pki | None = None


@dataclass(frozen=True, eq=False)
class CheckContext(SharedPasses):
    """What there is to check; None for parts that could not be read."""

    directory: str
    now: datetime
    limits: DateLimits
    topology: Topology | None
    inputs: InputFacts | None
    tree: TreeContext | None
    comparison: Comparison | None
    stage_findings: tuple[Finding, ...]
    """What earlier stages found, each with the id of its check."""
    missing: Needs


def files_of(problems: Iterable[Problem]) -> frozenset[str]:
    """The files that problems are about."""
    return frozenset(p.where.file for p in problems)
