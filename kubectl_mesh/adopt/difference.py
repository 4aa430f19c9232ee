"""What runs and what was rendered become the differences between them: object by object, path by
path, each with its reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.adopt import reasons
from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import Json
from kubectl_mesh.observed.dumped_control_planes import parse_control_plane
from kubectl_mesh.observed.dumped_objects import (
    LAST_APPLIED,
    DumpedObject,
    decode_secret,
    strip_server_fields,
)
from kubectl_mesh.observed.dumped_remote_secrets import (
    LoadDocument,
    is_dumped_remote_secret,
    parse_remote_secrets,
)
from kubectl_mesh.observed.install_kinds import INSTALL_KINDS
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.remote_secrets import SERVICE_ACCOUNT_TYPE
from kubectl_mesh.observed.signing_ca import CACERTS, is_signing_ca
from kubectl_mesh.text import path_text
from kubectl_mesh.yaml_io.lookup import value_at

DEFAULTED_KINDS = frozenset(
    ("Deployment", "Gateway", "Service", "ServiceAccount", "VirtualService", "Namespace")
)
"""Kinds of which the API server fills in what nobody stated."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing that the first render would change in a cluster; `path` is empty where it is the
    object as a whole.
    """

    cluster: str
    object: str
    path: str
    action: str
    """create, add, change, order (the same, in another order), absent (what runs has it, and the
    tree does not)
    """
    reason: str


@dataclass(frozen=True, slots=True)
class ComparedCluster:
    """One cluster to be compared: what was dumped, and what was rendered."""

    name: str
    dumped: Sequence[DumpedObject] = field(repr=False)
    rendered: Sequence[DumpedObject] = field(repr=False)
    istio_version: str | None = None
    """Of the istiod that runs there."""


def find_differences(
    clusters: Sequence[ComparedCluster], load_kubeconfig: LoadDocument, notes: Notes
) -> list[Difference]:
    """Every difference of every cluster; the objects that were compared are noted."""
    return [
        d
        for cluster in clusters
        for rendered in cluster.rendered
        for d in _object_differences(cluster, rendered, load_kubeconfig, notes)
    ]


def _object_differences(
    cluster: ComparedCluster, rendered: DumpedObject, load_kubeconfig: LoadDocument, notes: Notes
) -> Iterator[Difference]:
    text = str(rendered)
    other, key = _find_running(cluster, rendered)
    if other is None:
        yield Difference(
            cluster.name, text, "", "create", reasons.missing_reason(rendered, cluster.dumped)
        )
        return
    notes.mark_used(other)
    if is_dumped_remote_secret(rendered):
        yield from _remote_secret_differences(cluster, rendered, other, key, load_kubeconfig)
        return
    mine, theirs = strip_server_fields(dict(rendered.value)), strip_server_fields(dict(other.value))
    assert isinstance(mine, dict)
    assert isinstance(theirs, dict)
    if rendered.name != other.name:
        yield Difference(
            cluster.name,
            text,
            "metadata.name",
            "change",
            f"{other.name or 'without a name'} is what runs: {reasons.renamed_reason(rendered)}",
        )
    if rendered.kind == "Secret":
        yield from _secret_differences(cluster.name, rendered, other)
        mine, theirs = (
            {k: v for k, v in value.items() if k not in ("data", "stringData")}
            for value in (mine, theirs)
        )
        theirs.setdefault("type", "Opaque")
    if rendered.group == other.group and rendered.kind not in INSTALL_KINDS:
        theirs["apiVersion"] = mine.get(
            "apiVersion"
        )  # the API server serves every version of one object
    for path, action in _compare_values(mine, theirs, ()):
        if path == ("metadata", "name"):
            continue
        if action == "absent" and _is_irrelevant(rendered, path):
            continue
        yield Difference(
            cluster.name,
            text,
            path_text(path),
            action,
            reasons.field_reason(rendered, path, action, notes.dropped_settings),
        )


def _is_irrelevant(rendered: DumpedObject, path: tuple[str | int, ...]) -> bool:
    """What stays as it is and means nothing to the mesh."""
    if rendered.kind in ("Gateway", "Service") and path[:2] == ("metadata", "annotations"):
        return False
    if rendered.kind in DEFAULTED_KINDS:
        return path[:2] != ("metadata", "labels") or rendered.kind == "Namespace"
    return path[0] == "metadata" and rendered.kind in INSTALL_KINDS


def _find_running(
    cluster: ComparedCluster, rendered: DumpedObject
) -> tuple[DumpedObject | None, str]:
    """What runs in the place of a rendered object; for a remote secret with the key of its
    cluster.
    """
    alike = [o for o in cluster.dumped if o.kind == rendered.kind and o.group == rendered.group]
    if is_dumped_remote_secret(rendered):
        return _find_running_remote(alike, rendered)
    named = [
        o for o in alike if o.name == rendered.name and o.namespace in (rendered.namespace, "")
    ]
    if named:
        return named[0], ""
    if is_signing_ca(rendered):
        own = next(filter(is_signing_ca, cluster.dumped), None)
        return (own if own is not None and own.name == CACERTS else None), ""
    return _find_renamed(cluster, alike, rendered), ""


def _find_running_remote(
    alike: Sequence[DumpedObject], rendered: DumpedObject
) -> tuple[DumpedObject | None, str]:
    key = next(iter(rendered.value.get("data", {})), "")
    for found in alike:
        if is_dumped_remote_secret(found) and key in {
            **(found.value.get("data") or {}),
            **(found.value.get("stringData") or {}),
        }:
            return found, key
    return None, key


def _find_renamed(
    cluster: ComparedCluster, alike: Sequence[DumpedObject], rendered: DumpedObject
) -> DumpedObject | None:
    """What does the same as a rendered object under another name: a control plane of the same
    part, or a Gateway that lets other networks pass.
    """
    plane = parse_control_plane(rendered)
    if plane is not None:
        for found in alike:
            other = parse_control_plane(found, cluster.dumped)
            if other is not None and other.component == plane.component:
                return found
    if rendered.kind == "Gateway" and _is_passthrough_gateway(rendered):
        for found in alike:
            if found.namespace == rendered.namespace and _is_passthrough_gateway(found):
                return found
    return None


def _is_passthrough_gateway(found: DumpedObject) -> bool:
    """Whether a Gateway lets the traffic of other networks pass."""
    servers = found.value_at("spec", "servers")
    return any(
        value_at(server, "tls", "mode") == "AUTO_PASSTHROUGH"
        for server in (servers if isinstance(servers, list) else [])
    )


def _compare_values(
    mine: Json, theirs: Json, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The paths at which two values differ: added, changed, or only in what runs."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted({*mine, *theirs}):
            if key not in theirs:
                yield from ((p, "add") for p in _leaf_paths(mine[key], (*path, key)))
            elif key not in mine:
                yield from ((p, "absent") for p in _leaf_paths(theirs[key], (*path, key)))
            else:
                yield from _compare_values(mine[key], theirs[key], (*path, key))
    elif (
        isinstance(mine, list)
        and isinstance(theirs, list)
        and len(mine) == len(theirs)
        and mine != theirs
    ):
        if sorted(map(repr, mine)) == sorted(map(repr, theirs)):
            yield path, "order"
        else:
            for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
                yield from _compare_values(one, other, (*path, index))
    elif mine != theirs and not (_is_empty(mine) and _is_empty(theirs)):
        yield path, "change"


def _leaf_paths(value: Json, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _leaf_paths(value[key], (*path, key))
    elif not _is_empty(value) and value != "":
        yield path


def _is_empty(value: Json) -> bool:
    return value is None or value in ({}, [])


def _secret_differences(
    cluster: str, rendered: DumpedObject, other: DumpedObject
) -> Iterator[Difference]:
    """What a Secret holds, by key; the values are compared, never told."""
    text = str(rendered)
    mine, theirs = decode_secret(rendered), decode_secret(other)
    for key in sorted({*mine, *theirs}):
        path = path_text(("data", key))
        if key not in mine:
            if theirs[key].strip() and rendered.value.get("type") != SERVICE_ACCOUNT_TYPE:
                yield Difference(
                    cluster,
                    text,
                    path,
                    "absent",
                    "the tree has no such key; kubectl apply leaves it, a replace takes it away",
                )
        elif key not in theirs:
            yield Difference(
                cluster, text, path, "add", reasons.CACERTS_REASONS.get(key, "the mesh sets it")
            )
        elif mine[key] != theirs[key]:
            yield Difference(
                cluster,
                text,
                path,
                "change",
                reasons.certificate_reason(key, mine[key], theirs[key]),
            )


def _remote_secret_differences(
    cluster: ComparedCluster,
    rendered: DumpedObject,
    other: DumpedObject,
    key: str,
    load_kubeconfig: LoadDocument,
) -> Iterator[Difference]:
    """A remote secret: its kubeconfig by what it means to istiod, then what stands round it."""
    text = str(rendered)
    if other.name != rendered.name:
        reason = (
            f"{other.name} is what runs, and istiod takes the first that has a cluster: delete it"
            " when this one is applied, then restart istiod, or change this one once more"
        )
        yield Difference(cluster.name, text, "metadata.name", "change", reason)
    mine, theirs = decode_secret(rendered), decode_secret(other)
    if mine.get(key) != theirs.get(key):
        logins = [
            login
            for found in (rendered, other)
            for login in _parse_logins(found, key, load_kubeconfig)
        ]
        reason = reasons.kubeconfig_reason(logins) + reasons.reconnect_text(cluster.istio_version)
        yield Difference(cluster.name, text, path_text(("data", key)), "change", reason)
    for more in sorted(set(theirs) - set(mine) if other.name == rendered.name else ()):
        reason = "the tree has a Secret of its own for that cluster; take this key away then"
        yield Difference(cluster.name, text, path_text(("data", more)), "absent", reason)
    for path, action in _metadata_changes(rendered, other):
        yield Difference(cluster.name, text, path_text(path), action, "istiod does not read it")
    if other.value.get("type", "Opaque") != rendered.value.get("type"):
        reason = "a Secret's type cannot be changed: delete the old one first"
        yield Difference(cluster.name, text, "type", "change", reason)


def _parse_logins(found: DumpedObject, key: str, load_kubeconfig: LoadDocument) -> list[Login]:
    """The logins in a remote secret under a key; none where it cannot be read."""
    try:
        return [
            r.login for r in parse_remote_secrets(found, load_kubeconfig) if r.cluster_id == key
        ]
    except MeshError:
        return []


def _metadata_changes(
    rendered: DumpedObject, other: DumpedObject
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The labels and annotations that differ, each with what would be done."""
    for part in ("labels", "annotations"):
        now, then = rendered.metadata_strings(part), other.metadata_strings(part)
        for word in sorted(set(now) | (set(then) - {LAST_APPLIED})):
            if now.get(word) != then.get(word):
                action = "add" if word not in then else "absent" if word not in now else "change"
                yield ("metadata", part, word), action


def difference_json(difference: Difference) -> Mapping[str, Any]:
    """For programs; the schema is `report/adopt`."""
    found = {
        "cluster": difference.cluster,
        "object": difference.object,
        "action": difference.action,
        "reason": difference.reason,
    }
    return {**found, **({"path": difference.path} if difference.path else {})}
