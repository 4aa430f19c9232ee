"""What a difference does in running clusters: the rules of the table that are about their versions,
as sentences with the clusters that they are true of.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

from kubectl_mesh.differences.fields import public
from kubectl_mesh.differences.rules import (
    ASKED,
    LAST,
    NEVER,
    RESTARTED,
    RULES,
    RUNNING,
    Rule,
    Version,
)
from kubectl_mesh.differences.values import Effect
from kubectl_mesh.istio import versions
from kubectl_mesh.observed.values import Cluster, ControlPlane
from kubectl_mesh.targets import KINDS, OLD

UNKNOWN = "no file states the version of Istio, so it cannot be known offline; in 1.30.0 to 1.30.3 "


def number(version: str | None) -> Version:
    """A version as a pair. One that no file states, and the patch of a line, count as the worst."""
    parts = (version or versions.ASSUMED_LINE).split(".")
    try:
        return int(parts[1]), int(parts[2]) if len(parts) > 2 else -1
    except (ValueError, IndexError):
        return number(None)


def holds(rule: Rule, version: Version, reads: str = NEVER) -> bool:
    """Whether a rule is about a version; one that may be any of a line is in the first range that
    has a part of the line.
    """
    if rule.reads is not None and rule.reads != reads:
        return False
    minor, patch = version
    if patch < 0:
        return rule.first <= (minor, 0) <= rule.last
    return rule.first <= version <= rule.last


def version_of(
    cluster: Cluster, known: Mapping[str, str | None], release: ControlPlane | None = None
) -> str | None:
    """The version of a cluster's istiod: what the tree says, else what is known from elsewhere,
    else what the kind implies.
    """
    found = release.version if release is not None else None
    if found is None:
        found = known.get(cluster.name)
    if found is None and any(c.kind == OLD for c in cluster.control_plane):
        return KINDS[OLD].FIXED_VERSION
    return found


def multiroot(cluster: Cluster) -> bool:
    """Whether istiod takes other roots while it runs."""
    return any(
        path.rsplit("ISTIO_MULTIROOT_MESH", 1)[-1] in ("", "].value", "]")
        and str(value).lower() == "true"
        for document in cluster.control_plane
        for path, value in (*document.values.items(), *document.settings.items())
        if "ISTIO_MULTIROOT_MESH" in path
    )


def sentences(
    effects: Sequence[tuple[str, Effect]],
    clusters: Mapping[str, Cluster],
    known: Mapping[str, str | None],
    after: Mapping[str, Cluster],
    restarted: Container[str],
) -> Iterable[tuple[str, tuple[str, ...]]]:
    """What effects do, each sentence once with the clusters that it is true of. An effect stands
    with the cluster of its fact.

    `clusters` are as they run, `after` as the change has them; `restarted` are those whose istiod
    it restarts.
    """
    found: dict[str, dict[str, None]] = {}
    for cluster, effect in effects:
        for name in effect.where or (cluster,):
            reads = _reads(clusters.get(name), after.get(name), restarts=name in restarted)
            for version in _running(clusters.get(name), known):
                unknown = version is None and effect.rule == "secret-changed"
                for rule in RULES:
                    if rule.name == effect.rule and holds(rule, number(version), reads):
                        says = rule.says.format(
                            **{word: public(said) for word, said in effect.words}
                        )
                        stated = (
                            ""
                            if rule.first == (0, 0) and rule.last == (LAST, LAST)
                            else f"Istio {version}: "
                            if version
                            else UNKNOWN
                            if unknown
                            else ""
                        )
                        found.setdefault(stated + says, {})[name] = None
    return [(says, tuple(sorted(filter(None, names)))) for says, names in found.items()]


def _reads(before: Cluster | None, after: Cluster | None, *, restarts: bool) -> str:
    """How the istiod of a cluster comes to take other roots."""
    if before is not None and multiroot(before):
        return RUNNING
    if after is not None and multiroot(after):
        return ASKED
    return RESTARTED if restarts else NEVER


def _running(cluster: Cluster | None, known: Mapping[str, str | None]) -> list[str | None]:
    if cluster is None:
        return [None]
    return list(dict.fromkeys(version_of(cluster, known, r) for r in cluster.releases or (None,)))
