"""What is known of the releases of Istio that topology.yaml and base.yaml state, and of the places
that their charts and images come from.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import retired_registries, versions
from kubectl_mesh.model import Document, Json, Topology
from kubectl_mesh.targets import images
from kubectl_mesh.targets.cluster_rules import stated_versions
from kubectl_mesh.targets.target import Target

Path = tuple[str | int, ...]


def release_warnings(
    topology: Topology, base: Mapping[str, Document], target: Target
) -> Iterator[Problem]:
    """What is wrong with a stated release, and with a stated place of charts or images."""
    for where, version in stated_releases(topology, base, target):
        yield from _version_warnings(where, version, topology)
    newest = max(
        (versions.minor_version(r.version) for c in topology.clusters for r in c.releases),
        default=0,
    )
    for document in (topology.document, *base.values()):
        for path, text in _texts(document.value):
            for named in retired_registries.find_retired(text):
                yield Problem(
                    document.field_place(*path),
                    retired_registries.retired_text(named, newest),
                    retired_registries.replacement_text(named),
                    named.check_id,
                    code="home-retired",
                )
    yield from _built_in(topology, target)


def stated_releases(
    topology: Topology, base: Mapping[str, Document], target: Target
) -> Iterator[tuple[Place, str]]:
    """Every version that counts, with its place: those of the topology, and those of base.yaml
    where a cluster takes its version from there.
    """
    for path, version in stated_versions(topology):
        yield topology.document.field_place(*path), version
    value: Any = topology.document.value
    everywhere = "version" in value.get("istio", {}) or all(
        "version" in entry.get("istio", {}) for entry in value["contexts"].values()
    )
    for document in (
        () if everywhere else list(base.values())[:1]
    ):  # the mesh gives the others the version of the main one
        stated = versions.parse_version(images.stated_at(document.value, target.VERSION))
        if stated is not None:
            yield document.field_place(*target.VERSION), stated


def _version_warnings(where: Place, version: str, topology: Topology) -> Iterator[Problem]:
    minor = versions.minor_version(version)
    if minor > versions.NEWEST_MINOR:
        what = (
            f"Istio {version} is newer than the releases that this version of kubectl mesh knows;"
            f" the rules of 1.{versions.NEWEST_MINOR} are used"
        )
        yield Problem(
            where, what, "look for a newer kubectl mesh", "istio-known", code="istio-too-new"
        )
    elif topology.is_ambient and versions.SINCE_AMBIENT <= minor < versions.SINCE_AMBIENT_BETA:
        what = f"ambient over several networks is alpha in Istio {version}"
        yield Problem(
            where,
            what,
            f"1.{versions.SINCE_AMBIENT_BETA} has it as beta",
            "ambient-shared",
            code="ambient-is-alpha",
        )
    floor = versions.security_floor(version)
    if floor is not None:
        what = f"Istio {version} has known vulnerabilities; {floor[0]} fixes them ({floor[1]})"
        yield Problem(
            where,
            what,
            f"use {floor[0]} or a later release; see https://istio.io/latest/news/security/",
            "istio-security",
            code="istio-has-vulnerabilities",
        )
    elif versions.is_unsupported(version) and minor >= versions.SINCE_ISTIOD:
        what = f"Istio {version} is out of support: known vulnerabilities of its line are not fixed"
        yield Problem(
            where,
            what,
            f"upgrade to a supported release, such as {versions.DEFAULT_VERSION}",
            "istio-security",
            code="istio-out-of-support",
        )


def _built_in(topology: Topology, target: Target) -> Iterator[Problem]:
    """The hub that charts or istioctl have built in, where the topology leaves the choice to them.
    Which operator runs, no file says.
    """
    if topology.image_hub != retired_registries.BUILT_IN_HUB or target.BRINGS_IMAGES:
        return
    for version in sorted(
        {r.version for c in topology.clusters for r in c.releases if r.version is not None}
    ):
        hub = versions.retired_built_in_hub(version)
        if hub is not None:
            what = (
                f"leaves Istio {version} the image registry {hub}, which Istio switches off on"
                f" {retired_registries.SHUTDOWN_DATE}"
            )
            where = topology.document.field_place("istio", "hub")
            yield Problem(
                where,
                what,
                (
                    f"write {retired_registries.IMAGE_REGISTRY}, or remove it;"
                    f" {retired_registries.MOVE_PAGE} has the commands"
                ),
                "images-gone",
                code="registry-retired",
            )


def is_hub_unknown(topology: Topology, target: Target) -> bool:
    """Whether no file says where images come from: the operator brings its own, or istioctl of a
    version that no file states.
    """
    if topology.image_hub != retired_registries.BUILT_IN_HUB:
        return False
    return target.BRINGS_IMAGES or any(
        r.version is None for c in topology.clusters for r in c.releases
    )


def _texts(value: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text below a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))
