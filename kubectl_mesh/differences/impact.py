"""What a difference does in running clusters: the rules of the table that are about their versions,
as sentences with the clusters that they are true of.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

from kubectl_mesh.differences.fields import public_text
from kubectl_mesh.differences.rules import (
    LAST_VERSION,
    NEVER_RELOADS,
    RELOADS_AFTER_CHANGE,
    RELOADS_ON_RESTART,
    RELOADS_RUNNING,
    RULES,
    Rule,
    Version,
)
from kubectl_mesh.differences.values import Effect
from kubectl_mesh.istio import versions
from kubectl_mesh.observed.mesh_state import ControlPlane, ObservedCluster
from kubectl_mesh.targets import KINDS

UNKNOWN_VERSION_TEXT = (
    "no file states the version of Istio, so it cannot be known offline; in 1.30.0 to 1.30.3 "
)


def parse_version_pair(version: str | None) -> Version:
    """A version as a pair. One that no file states, and the patch of a line, count as the worst."""
    parts = (version or versions.ASSUMED_LINE).split(".")
    try:
        return int(parts[1]), int(parts[2]) if len(parts) > 2 else -1
    except (ValueError, IndexError):
        return parse_version_pair(None)


def is_applicable(rule: Rule, version: Version, root_reload: str = NEVER_RELOADS) -> bool:
    """Whether a rule is about a version; one that may be any of a line is in the first range that
    has a part of the line.
    """
    if rule.root_reload is not None and rule.root_reload != root_reload:
        return False
    minor, patch = version
    if patch < 0:
        return rule.first <= (minor, 0) <= rule.last
    return rule.first <= version <= rule.last


def find_version(
    cluster: ObservedCluster, known: Mapping[str, str | None], release: ControlPlane | None = None
) -> str | None:
    """The version of a cluster's istiod: from the tree, else from `known`, else implied by the
    kind.
    """
    found = release.version if release is not None else None
    if found is None:
        found = known.get(cluster.name)
    if found is None:
        targets = (KINDS.get(c.kind) for c in cluster.control_plane)
        found = next((t.FIXED_VERSION for t in targets if t and t.FIXED_VERSION), None)
    return found


def has_multiroot(cluster: ObservedCluster) -> bool:
    """Whether istiod takes other roots while it runs."""
    return any(
        path.rsplit("ISTIO_MULTIROOT_MESH", 1)[-1] in ("", "].value", "]")
        and str(value).lower() == "true"
        for document in cluster.control_plane
        for path, value in (*document.values.items(), *document.settings.items())
        if "ISTIO_MULTIROOT_MESH" in path
    )


def list_sentences(
    effects: Sequence[tuple[str, Effect]],
    clusters: Mapping[str, ObservedCluster],
    known: Mapping[str, str | None],
    after: Mapping[str, ObservedCluster],
    restarted: Container[str],
) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The sentence of each effect, once, with the clusters that it applies to. `effects` are pairs
    of a fact's cluster and an effect.

    `clusters` is the running state, `after` the state after the change; `restarted` are the
    clusters whose istiod the change restarts.
    """
    found: dict[str, dict[str, None]] = {}
    for cluster, effect in effects:
        for name in effect.clusters or (cluster,):
            root_reload = _find_root_reload(
                clusters.get(name), after.get(name), restarts=name in restarted
            )
            for version in _running_versions(clusters.get(name), known):
                unknown = version is None and effect.rule == "secret-changed"
                for rule in RULES:
                    if rule.name == effect.rule and is_applicable(
                        rule, parse_version_pair(version), root_reload
                    ):
                        says = rule.sentence.format(
                            **{word: public_text(said) for word, said in effect.words}
                        )
                        stated = (
                            ""
                            if rule.first == (0, 0) and rule.last == (LAST_VERSION, LAST_VERSION)
                            else f"Istio {version}: "
                            if version
                            else UNKNOWN_VERSION_TEXT
                            if unknown
                            else ""
                        )
                        found.setdefault(stated + says, {})[name] = None
    return [(says, tuple(sorted(filter(None, names)))) for says, names in found.items()]


def _find_root_reload(
    before: ObservedCluster | None, after: ObservedCluster | None, *, restarts: bool
) -> str:
    """How the istiod of a cluster comes to take other roots."""
    if before is not None and has_multiroot(before):
        return RELOADS_RUNNING
    if after is not None and has_multiroot(after):
        return RELOADS_AFTER_CHANGE
    return RELOADS_ON_RESTART if restarts else NEVER_RELOADS


def _running_versions(
    cluster: ObservedCluster | None, known: Mapping[str, str | None]
) -> list[str | None]:
    if cluster is None:
        return [None]
    return list(dict.fromkeys(find_version(cluster, known, r) for r in cluster.releases or (None,)))
