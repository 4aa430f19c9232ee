"""The facts about all other objects: gateways, readers, delivery objects and the rest."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from kubectl_mesh.delivery import find_delivery
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.differences.comparison import (
    TreePair,
    build_change,
    build_effect,
    find_implied_changes,
    object_reference,
    removal_effect,
)
from kubectl_mesh.differences.control_planes import GATEWAY_PARTS, build_gateway_effects
from kubectl_mesh.differences.fields import difference_count_text
from kubectl_mesh.differences.fields import list_details as differing
from kubectl_mesh.differences.values import DELETED, NEW, Detail, Fact
from kubectl_mesh.model import BUNDLE_FOLDER, CACERTS_PATH, COMPONENT_NAMESPACE_PREFIX
from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.mesh_state import Directory, ObservedCluster, ObservedGateway, TreeObject
from kubectl_mesh.observed.removal import cluster_context
from kubectl_mesh.observed.tree_parser import exclude_paths
from kubectl_mesh.safety.removals import delete_commands
from kubectl_mesh.targets import is_applied
from kubectl_mesh.text import count_text

_GATEWAY = re.compile(
    r"3-mesh/(eastwest-|cross-network-gateway|cluster-aware-gateway|remote-gateways/|istiod-(gateway|virtual-service))"
)
_READER = re.compile(r"3-mesh/reader")
_STORE = (".sops.yaml", ".ksops.yaml")


def list_object_facts(pair: ClusterPair, tool: Tool) -> Iterator[Fact]:
    """What becomes of the other objects of a cluster that stays."""
    old, new = pair.before, pair.after
    if old is None or new is None:
        return
    known = find_implied_changes(pair)
    resealed = (
        ()
        if (old.cacerts.store, old.cacerts.recipients)
        == (new.cacerts.store, new.cacerts.recipients)
        else (old.name, new.name)
    )
    before, after = (
        _comparable_objects(old, dict(known), resealed),
        _comparable_objects(new, {}, resealed),
    )
    added, removed = (
        [after[k] for k in after if k not in before],
        [before[k] for k in before if k not in after],
    )
    yield from _gateway_facts(old, new, added, removed, tool)
    for one in added:
        if _object_kind(one) != "gateway":
            yield _added_fact(new, one)
    for one in removed:
        if _object_kind(one) != "gateway":
            yield _removed_fact(old, new, one, tool)
    for key in sorted(before.keys() & after.keys()):
        one, other = before[key], after[key]
        if one.digest != other.digest:
            found = _object_details(one, other, known)
            if found:
                yield _changed_fact(new, other, found)
    if old.cacerts.store == new.cacerts.store:
        yield from list_kustomization_facts(new.name, old, new, tool)


def _added_fact(new: ObservedCluster, thing: TreeObject) -> Fact:
    kind = _object_kind(thing)
    rule = (
        {"PushSecret": "push-added", "Secret": "token-added"}.get(thing.kind, "reader-added")
        if kind == "reader"
        else "object-added"
    )
    subject = _subject_text(kind, thing)
    return Fact(NEW, kind, subject, "is added", new.name, thing.file, (), (build_effect(rule),))


def _removed_fact(
    old: ObservedCluster, new: ObservedCluster, thing: TreeObject, tool: Tool
) -> Fact:
    kind = _object_kind(thing)
    rule = "reader-removed" if kind == "reader" and thing.kind != "PushSecret" else "object-removed"
    does, commands = (
        removal_effect(rule, tool),
        _object_commands(old, thing, tool) if thing.kind else (),
    )
    if thing.kind == "Namespace":
        # It may hold what others own.
        does, commands = build_effect("namespace-left"), ()
    subject = _subject_text(kind, thing)
    return Fact(DELETED, kind, subject, "is removed", new.name, thing.file, (), (does,), commands)


def _object_commands(cluster: ObservedCluster, thing: TreeObject, tool: Tool) -> tuple[str, ...]:
    return tuple(delete_commands(cluster_context(cluster), object_reference(thing), tool))


def _object_kind(thing: TreeObject) -> str:
    path = thing.file.partition("/")[2]
    return "gateway" if _GATEWAY.match(path) else "reader" if _READER.match(path) else "object"


def _subject_text(kind: str, thing: TreeObject) -> str:
    if kind != "reader":
        return _title_text(thing)
    return {
        "Secret": "token of a reader",
        "PushSecret": "push of a reader's token into the store",
    }.get(thing.kind, "account of a reader")


def _title_text(thing: TreeObject) -> str:
    return f"{thing.kind} {thing.name}" if thing.kind else thing.name


def _comparable_objects(
    cluster: ObservedCluster, renamed: Mapping[str, str], resealed: Collection[str]
) -> dict[tuple[str, ...], TreeObject]:
    """The objects that nothing else compares, by what they are."""
    skipped = (
        {c.file for c in cluster.control_plane}
        | {s.file for s in cluster.remote_secrets}
        | {f"{cluster.name}/{CACERTS_PATH}"}
    )
    found: dict[tuple[str, ...], TreeObject] = {}
    for thing in cluster.objects:
        path = thing.file.partition("/")[2]
        if thing.file in skipped or path.endswith(("kustomization.yaml", _STORE[1])):
            continue
        if path == _STORE[0] and cluster.name in resealed:
            continue
        if thing.kind == "Namespace" and not path.startswith(COMPONENT_NAMESPACE_PREFIX):
            found["Namespace",] = thing
        else:
            space = thing.namespace or ""
            found[
                thing.kind,
                thing.api_version.rpartition("/")[0],
                renamed.get(space, space),
                renamed.get(thing.name, thing.name),
            ] = thing
    return found


def _object_details(
    one: TreeObject, other: TreeObject, known: set[tuple[str, str]]
) -> tuple[Detail, ...]:
    if one.kind == "Namespace":
        # The name and the label are told as the namespace and the network.
        skip = ("metadata.name", 'metadata.labels."topology.istio.io/network"')
        return tuple(
            differing(exclude_paths(one.fields, *skip), exclude_paths(other.fields, *skip), known)
        )
    return tuple(differing(one.fields, other.fields, known))


def _changed_fact(new: ObservedCluster, thing: TreeObject, found: tuple[Detail, ...]) -> Fact:
    kind, what = _object_kind(thing), difference_count_text(found)
    if kind == "gateway":
        subject = f"east-west gateway ({_title_text(thing)})"
        return build_change(
            new.name, kind, subject, what, thing.file, *build_gateway_effects(found), details=found
        )
    rule = (
        "push-changed"
        if thing.kind == "PushSecret"
        else "reader-changed"
        if kind == "reader"
        else "object"
    )
    return build_change(
        new.name, kind, _title_text(thing), what, thing.file, build_effect(rule), details=found
    )


def _gateway_facts(
    old: ObservedCluster,
    new: ObservedCluster,
    added: Sequence[TreeObject],
    removed: Sequence[TreeObject],
    tool: Tool,
) -> Iterator[Fact]:
    """One fact for each gateway that is added or removed, with all of its objects."""
    parts_before = {
        (c.component, c.name): c for c in old.control_plane if c.component in GATEWAY_PARTS
    }
    parts_after = {
        (c.component, c.name): c for c in new.control_plane if c.component in GATEWAY_PARTS
    }
    gateway_objects = [o for o in added if _object_kind(o) == "gateway"]
    lost = [o for o in removed if _object_kind(o) == "gateway"]
    if not parts_before:
        gateway_objects += [
            o for o in new.objects if o.file in {c.file for c in parts_after.values()}
        ]
    if not parts_after:
        lost += [o for o in old.objects if o.file in {c.file for c in parts_before.values()}]
    if gateway_objects:
        yield _gateway_fact(gateway_objects, new, NEW, new.name, ())
    if lost:
        commands = (c for o in lost if is_applied(o.kind) for c in _object_commands(old, o, tool))
        yield _gateway_fact(lost, old, DELETED, new.name, tuple(commands))


def _gateway_fact(
    things: Sequence[TreeObject],
    cluster: ObservedCluster,
    group: str,
    name: str,
    commands: tuple[str, ...],
) -> Fact:
    """That a gateway comes to, or leaves, the cluster that has a name now; `cluster` is the state
    in which it is there.
    """
    files = {o.file for o in things}
    gates = [g for g in cluster.gateways if g.file in files and (g.network is not None or g.ports)]
    network = (
        next((g.network for g in gates if g.network is not None), None) or cluster.network or "?"
    )
    described = [*_describe_gates(gates), ("objects", ", ".join(sorted(map(_title_text, things))))]
    details = tuple(
        Detail(path, None if group == NEW else text, text if group == NEW else None)
        for path, text in dict.fromkeys(described)
    )
    subject = (
        f"gateway of the network {network}, as it is declared here"
        if all("remote-gateways/" in o.file for o in things)
        else f"east-west gateway of the network {network}"
    )
    what, rule = (
        ("is added", "gateway-added") if group == NEW else ("is removed", "gateway-removed")
    )
    effects = (build_effect(rule, network=network),)
    return Fact(group, "gateway", subject, what, name, things[0].file, details, effects, commands)


def _describe_gates(gates: Sequence[ObservedGateway]) -> Iterator[tuple[str, str]]:
    """Ports, types and addresses of gateways."""
    for gate in gates:
        if gate.ports and gate.kind != "Gateway (networking.istio.io)":
            yield "ports", ", ".join(map(str, gate.ports))
    for gate in gates:
        if gate.service_type is not None:
            yield "type", gate.service_type
    for gate in gates:
        if gate.addresses:
            yield "address", ", ".join(f"{a}:{p}" if p else a for a, p in gate.addresses)


def list_kustomization_facts(
    name: str, old: Directory, new: Directory, tool: Tool
) -> Iterator[Fact]:
    """What a kustomization lists no longer though it is there, or lists now though it was there
    before.
    """
    before, after = _listed_resources(old), _listed_resources(new)
    for path in sorted({*before, *after}):
        folder, file = path.rpartition("/")[0], f"{name}/{path}"
        one, two = before.get(path, ()), after.get(path, ())
        lost = [r for r in one if r not in two and _has_resource(folder, r, new)]
        found = [r for r in two if r not in one and _has_resource(folder, r, old)]
        if lost:
            details = tuple(Detail("resources", r, None) for r in lost)
            yield build_change(
                name,
                "kustomization",
                path,
                f"leaves out {', '.join(lost)}",
                file,
                removal_effect("unapplied", tool),
                details=details,
            )
        if found:
            details = tuple(Detail("resources", None, r) for r in found)
            yield build_change(
                name,
                "kustomization",
                path,
                f"takes in {', '.join(found)}",
                file,
                build_effect("applied"),
                details=details,
            )


def _listed_resources(directory: Directory) -> dict[str, tuple[str, ...]]:
    """What each kustomization of a directory, or generator of one, lists."""
    found = {}
    for thing in directory.objects:
        path = thing.file.partition("/")[2]
        if path.endswith(("kustomization.yaml", _STORE[1])):
            values = thing.fields.get("files" if path.endswith(_STORE[1]) else "resources")
            found[path] = (
                tuple(str(v).removeprefix("./") for v in values) if isinstance(values, list) else ()
            )
    return found


def _has_resource(folder: str, resource: str, directory: Directory) -> bool:
    path = f"{folder}/{resource}" if folder else resource
    return path in directory.files or any(p.startswith(f"{path}/") for p in directory.files)


def _delivered_objects(directory: Directory | None) -> dict[tuple[str, ...], TreeObject]:
    """The objects of a tool by what they are; those of Flux are in each cluster under the same
    names.
    """
    found = directory.objects if directory is not None else ()
    return {
        (o.file.rpartition("/")[0] if o.file.startswith("_flux/") else "", o.kind, o.name): o
        for o in found
        if not o.api_version.startswith("kustomize.config")
    }


def list_delivery_facts(both: TreePair) -> Iterator[Fact]:
    """The facts about directories of the whole mesh: the objects of Argo CD or Flux."""
    known = {pair for p in both.pairs for pair in find_implied_changes(p)}
    for name in sorted(
        {*both.before.shared_directories, *both.after.shared_directories} - {BUNDLE_FOLDER}
    ):
        delivery = find_delivery(name)
        tool = name if delivery is None else delivery.TITLE
        before = _delivered_objects(both.before.shared_directories.get(name))
        after = _delivered_objects(both.after.shared_directories.get(name))
        added = [after[k] for k in after if k not in before]
        removed = [before[k] for k in before if k not in after]
        if added:
            yield _delivery_fact(name, tool, added, NEW)
        if removed:
            yield _delivery_fact(name, tool, removed, DELETED)
        moved = [after[k] for k in after if k in before and after[k].file != before[k].file]
        if moved:
            details = tuple(Detail("object", _title_text(o), _title_text(o)) for o in moved)
            what = (
                f"{count_text(len(moved), 'object')} applied by the Application of"
                f" {'its' if len(moved) == 1 else 'their'} cluster"
            )
            does = build_effect("delivery-moved")
            yield build_change("", "delivery", tool, what, f"{name}/", does, details=details)
        for key in sorted(before.keys() & after.keys()):
            found = (
                tuple(differing(before[key].fields, after[key].fields, known))
                if before[key].digest != after[key].digest
                else ()
            )
            if found:
                yield build_change(
                    "",
                    "delivery",
                    f"{tool} ({_title_text(after[key])})",
                    difference_count_text(found),
                    after[key].file,
                    build_effect("delivery-changed"),
                    details=found,
                )


def _delivery_fact(name: str, tool: str, things: Sequence[TreeObject], group: str) -> Fact:
    """That objects of a tool come or go."""
    verb, rule = ("added", "delivery-added") if group == NEW else ("removed", "delivery-removed")
    details = tuple(
        Detail("object", None, _title_text(o))
        if group == NEW
        else Detail("object", _title_text(o), None)
        for o in things
    )
    what, does = f"{count_text(len(things), 'object')} {verb}", (build_effect(rule),)
    return Fact(group, "delivery", tool, what, "", f"{name}/", details, does)
