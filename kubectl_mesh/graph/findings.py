"""The subject of a finding of the checks: a cluster, a network or the whole mesh."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Plan
from kubectl_mesh.text import path_text

_FILE = re.compile(
    r"(?:^|/)(?:certs/intermediate-(?P<ca>[^/]+)/|credentials/(?P<token>[^/.]+)\.|clusters/(?P<server>[^/]+)\.[a-z]+$)"
)
_WORDS = {
    "tree-edited": "edited by hand",
    "tree-withdrawn": "secret withdrawn",
    "server-ca": "server without CA",
    "tree-foreign": "foreign file",
}
"""The words for a finding in a box, if the id of its check is not enough."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: how bad, of which check, where, what, and what to do."""

    severity: str
    id: str
    where: str
    what: str
    fix: str

    @property
    def short_text(self) -> str:
        """The finding in two or three words."""
        return _WORDS.get(self.id, self.id)


def group_by_subject(
    plan: Plan, found: Sequence[tuple[str, Problem]]
) -> dict[tuple[str, str], list[Finding]]:
    """The findings by subject: `cluster` or `network` with a name, or two empty texts for
    the mesh.
    """
    paths = {
        path_text(("contexts", m.cluster.context)): ("cluster", name)
        for name, m in plan.members.items()
    }
    paths |= {
        path_text(("networks", m.cluster.network)): ("network", m.cluster.network)
        for m in plan.members.values()
    }
    sorted_found: dict[tuple[str, str], list[Finding]] = {}
    for severity, problem in found:
        finding = Finding(
            severity, problem.id or "topology-valid", str(problem.where), problem.what, problem.fix
        )
        sorted_found.setdefault(_find_subject(plan, paths, problem), []).append(finding)
    return sorted_found


def _find_subject(
    plan: Plan, paths: dict[str, tuple[str, str]], problem: Problem
) -> tuple[str, str]:
    path, file = problem.where.path, problem.where.file
    for known, subject in paths.items():
        if path == known or path.startswith((f"{known}.", f"{known}[")):
            return subject
    match = _FILE.search(file)
    if (
        match is not None
        and (name := match["ca"] or match["token"] or match["server"]) in plan.members
    ):
        return ("cluster", name)
    if problem.id.startswith(("tree-", "sealed-", "secret-", "private-")):
        for part in file.split("/"):
            if part in plan.members:
                return ("cluster", part)
    own = next(
        (
            name
            for name, m in plan.members.items()
            if m.cluster.place == problem.where or file == m.cluster.token_file
        ),
        None,
    )
    return ("cluster", own) if own is not None else ("", "")
