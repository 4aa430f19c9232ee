"""The control plane: releases, versions, revisions, and every value by its path."""

import re
from collections.abc import Iterator, Mapping

from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.differences.comparison import (
    build_change,
    build_effect,
    find_implied_changes,
    object_reference,
    removal_effect,
)
from kubectl_mesh.differences.fields import difference_count_text
from kubectl_mesh.differences.fields import list_details as differing
from kubectl_mesh.differences.impact import parse_version_pair
from kubectl_mesh.differences.values import DELETED, NEW, Detail, Effect, Fact
from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.mesh_state import ControlPlane, ObservedCluster
from kubectl_mesh.observed.removal import cluster_context
from kubectl_mesh.observed.tree_parser import exclude_paths
from kubectl_mesh.safety.removals import delete_control_plane_commands
from kubectl_mesh.targets import KINDS, is_applied
from kubectl_mesh.targets.charts import NODE_COMPONENTS

GATEWAY_PARTS = ("gateway", "eastwest")
"""The control plane parts that are gateways; they are reported as gateways."""
_HUB = re.compile(r"(^|\.)hub\Z")
_COMPARED_SETTINGS = (
    "version",
    "tag",
    "revision",
    "source.targetRevision",
    "chart.spec.version",
    "namespace",
    "defaultNamespace",
)
_IMAGES = {"istiod": "images", "cni": "images-cni", "ztunnel": "images-ztunnel"}
"""The rule of a changed hub, by the part that it is for."""
_NODE_NAMESPACE = re.compile(r"(namespace|destination\.namespace|targetNamespace)\Z")
_TRUST_DOMAIN = ("meshConfig.trustDomain", "global.trustDomain")
_RULES = (
    (re.compile(r"(values\.)?(global|pilot)\.meshNetworks"), "mesh-networks"),
    (re.compile(r"(values\.)?((global|pilot|cni|ztunnel)\.)?hub\Z"), "images"),
    (
        re.compile(
            r"(values\.)?(global\.(proxy|proxy_init|network|meshID|multiCluster|tag|variant|imagePullPolicy|imagePullSecrets|logAsJson|logging|sts)\b"
            r"|sidecarInjectorWebhook\b|meshConfig\.(defaultConfig|enableTracing|extensionProviders)\b|istio_cni\b|cni\b)|ztunnel\b|unvalidatedValues\.global\.meshID"
        ),
        "injection",
    ),
    (re.compile(r"(values\.)?meshConfig\b"), "mesh-config"),
    (
        re.compile(
            r"(values\.)?(pilot|base|telemetry|autoscaling|resources|env|podAnnotations)\b|components\.pilot\b"
        ),
        "istiod-settings",
    ),
)


def list_control_plane_facts(pair: ClusterPair, tool: Tool) -> Iterator[Fact]:
    """What becomes of the control plane of a cluster that stays."""
    old, new = pair.before, pair.after
    if old is None or new is None:
        return
    known = find_implied_changes(pair)
    for one, other in _pair_documents(old, new):
        if one is None and other is not None:
            if other.component not in GATEWAY_PARTS:
                yield _added_fact(new, other)
        elif other is None and one is not None:
            if one.component not in GATEWAY_PARTS:
                yield _removed_fact(old, new, one, tool)
        elif one is not None and other is not None and one != other:
            yield from _change_facts(new, one, other, known, tool)


def _pair_documents(
    old: ObservedCluster, new: ObservedCluster
) -> Iterator[tuple[ControlPlane | None, ControlPlane | None]]:
    """Which document is which: by part and revision; what is alone with its part on both sides is
    the same too.
    """

    def keyed(cluster: ObservedCluster) -> dict[tuple[str, str], ControlPlane]:
        return {
            (c.component, (c.revision or "") if c.component == "istiod" else ""): c
            for c in cluster.control_plane
        }

    before, after = keyed(old), keyed(new)
    for key in sorted({*before, *after}):
        if key in before and key in after:
            yield before.pop(key), after.pop(key)
    for part in sorted({part for part, _ in (*before, *after)}):
        gone = [before[k] for k in sorted(before) if k[0] == part]
        come = [after[k] for k in sorted(after) if k[0] == part]
        alone = (
            len(gone) == len(come) == 1
            and len([c for c in old.control_plane if c.component == part]) == 1
        )
        if alone and len([c for c in new.control_plane if c.component == part]) == 1:
            yield gone[0], come[0]
            continue
        yield from ((None, c) for c in come)
        yield from ((c, None) for c in gone)


def _title_text(document: ControlPlane) -> str:
    return document.component + (f" (revision {document.revision})" if document.revision else "")


def _added_fact(new: ObservedCluster, document: ControlPlane) -> Fact:
    details = tuple(
        Detail(p, None, v)
        for p, v in (
            ("version", document.version),
            ("revision", document.revision),
            ("kind", document.kind),
        )
        if v is not None
    )
    if document.component == "istiod":
        return Fact(
            NEW,
            "release",
            _title_text(document),
            "is added",
            new.name,
            document.file,
            details,
            (build_effect("canary-added"),),
        )
    return Fact(
        NEW,
        "control-plane",
        document.component,
        "is added",
        new.name,
        document.file,
        details,
        (build_effect("control-plane"),),
    )


def _removed_fact(
    old: ObservedCluster, new: ObservedCluster, document: ControlPlane, tool: Tool
) -> Fact:
    details = tuple(
        Detail(p, v, None)
        for p, v in (
            ("version", document.version),
            ("revision", document.revision),
            ("kind", document.kind),
        )
        if v is not None
    )
    thing = next(
        o
        for o in old.objects
        if o.file == document.file and o.kind == document.kind and o.name == document.name
    )
    kind, rule = (
        ("release", "release-removed")
        if document.component == "istiod"
        else ("control-plane", "object-removed")
    )
    target = KINDS.get(document.kind)
    commands = (
        delete_control_plane_commands(
            cluster_context(new), object_reference(thing), document.revision or "", tool
        )
        if target is None or target.HAS_RELEASES
        else ()
    )
    return Fact(
        DELETED,
        kind,
        _title_text(document),
        "is removed",
        new.name,
        document.file,
        details,
        (removal_effect(rule, tool),),
        tuple(commands),
    )


def _change_facts(
    new: ObservedCluster,
    one: ControlPlane,
    other: ControlPlane,
    known: set[tuple[str, str]],
    tool: Tool,
) -> Iterator[Fact]:
    """What differs of a part of the control plane: its kind, version, revision and values."""
    if one.kind != other.kind:
        what = f"is a {other.kind}, and was a {one.kind}"
        details = (Detail("kind", one.kind, other.kind),)
        does = removal_effect("kind", tool)
        yield build_change(new.name, "kind", one.component, what, other.file, does, details=details)
    if one.version != other.version:
        before, after = one.version or "none stated", other.version or "none stated"
        yield build_change(
            new.name,
            "version",
            "Istio",
            f"{before} -> {after}",
            other.file,
            *_version_effects(one.version, other.version),
            details=(Detail("version", before, after),),
        )
    if one.revision != other.revision:
        before, after = one.revision or "default", other.revision or "default"
        yield build_change(
            new.name,
            "revision",
            "revision",
            f"{before} -> {after}",
            other.file,
            build_effect("revision"),
            details=(Detail("revision", before, after),),
        )
    values = list(differing(one.values, other.values, known, "values."))
    if one.kind == other.kind:
        values += differing(_settings(one), _settings(other), known)
    yield from _value_facts(new, other, values)


def _value_facts(new: ObservedCluster, other: ControlPlane, values: list[Detail]) -> Iterator[Fact]:
    """What differs of the values of a part: the trust domain by itself, all others at once."""
    domains = [d for d in values if d.path.removeprefix("values.") in _TRUST_DOMAIN]
    for domain in domains:
        yield build_change(
            new.name,
            "trust-domain",
            "the trust domain",
            f"{domain.before or 'cluster.local'} -> {domain.after or 'cluster.local'}",
            other.file,
            build_effect("trust-domain"),
            details=(domain,),
        )
    found = tuple(d for d in values if d not in domains and d.path != "values.revision")
    if not found:
        return
    if other.component in GATEWAY_PARTS:
        kind, subject, effects = "gateway", "east-west gateway", build_gateway_effects(found)
    else:
        profile = str(other.settings.get("profile", ""))
        is_ambient = not is_applied(other.kind) and profile.endswith("ambient")
        parts = (other.component, *NODE_COMPONENTS) if is_ambient else (other.component,)
        kind, subject, effects = "control-plane", _title_text(other), _value_effects(found, parts)
    yield build_change(
        new.name, kind, subject, difference_count_text(found), other.file, *effects, details=found
    )


def _settings(document: ControlPlane) -> Mapping[str, object]:
    """The settings that nothing else compares; the namespace of a component on the nodes is not
    Istio's.
    """
    return exclude_paths(
        document.settings,
        *(
            field
            for field in _COMPARED_SETTINGS
            if not (field == "namespace" and document.component in NODE_COMPONENTS)
        ),
    )


def _version_effects(before: str | None, after: str | None) -> tuple[Effect, ...]:
    if before is None or after is None:
        return (build_effect("version-raised"),)
    old, new = parse_version_pair(before), parse_version_pair(after)
    effects = [build_effect("version-raised" if new >= old else "version-lowered")]
    if new[0] - old[0] > 1:
        effects.append(build_effect("version-skips"))
    return tuple(effects)


def _value_effects(details: tuple[Detail, ...], parts: tuple[str, ...]) -> tuple[Effect, ...]:
    """The effects of changed values, by their paths. `parts` are those that a changed hub concerns:
    a DaemonSet pulls images differently from istiod.
    """

    def rule_of(path: str) -> str:
        if (parts[0] in NODE_COMPONENTS and _NODE_NAMESPACE.match(path)) or re.match(
            r"components\.(cni|ztunnel)\.namespace\Z", path
        ):
            return "component-namespace"
        return next((rule for pattern, rule in _RULES if pattern.match(path)), "control-plane")

    rules = dict.fromkeys(rule_of(d.path) for d in details)
    each = (
        (_IMAGES.get(part, "object") for part in parts) if rule == "images" else (rule,)
        for rule in rules
    )
    return tuple(build_effect(rule) for rules_of in each for rule in rules_of)


def build_gateway_effects(details: tuple[Detail, ...]) -> tuple[Effect, ...]:
    """What changes of a gateway do."""
    kinds = any(
        re.search(r"(^|\.)(service\.type|spec\.type|service-type)\"?$", d.path) for d in details
    )
    images = (build_effect("images-gateway"),) if any(_HUB.search(d.path) for d in details) else ()
    rest = (
        images
        if images and all(_HUB.search(d.path) for d in details)
        else (*images, build_effect("gateway-changed"))
    )
    return (build_effect("gateway-type"), *rest) if kinds else rest
