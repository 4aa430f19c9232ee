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
from kubectl_mesh.observed.cacerts import CACERTS, is_signing_ca
from kubectl_mesh.observed.control_dumps import control_plane
from kubectl_mesh.observed.install_kinds import INSTALL_KINDS
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.objects import (
    LAST_APPLIED,
    PlacedObject,
    secret_data,
    strip_server_fields,
)
from kubectl_mesh.observed.remote_dumps import Read, is_remote_secret, read_remotes
from kubectl_mesh.observed.remotes import SERVICE_ACCOUNT_TYPE
from kubectl_mesh.text import path_text
from kubectl_mesh.yaml_io.lookup import value_at

FILLED_IN = frozenset(
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
class Cluster:
    """One cluster to be compared: what was dumped, and what was rendered."""

    name: str
    dumped: Sequence[PlacedObject] = field(repr=False)
    rendered: Sequence[PlacedObject] = field(repr=False)
    version: str | None = None
    """Of the istiod that runs there."""


def find_differences(clusters: Sequence[Cluster], read: Read, notes: Notes) -> list[Difference]:
    """Every difference of every cluster; the objects that were compared are noted."""
    return [
        d
        for cluster in clusters
        for rendered in cluster.rendered
        for d in _object(cluster, rendered, read, notes)
    ]


def _object(
    cluster: Cluster, rendered: PlacedObject, read: Read, notes: Notes
) -> Iterator[Difference]:
    text = str(rendered)
    other, key = _running(cluster, rendered)
    if other is None:
        yield Difference(
            cluster.name, text, "", "create", reasons.missing_reason(rendered, cluster.dumped)
        )
        return
    notes.use(other)
    if is_remote_secret(rendered):
        yield from _remote(cluster, rendered, other, key, read)
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
        yield from _data(cluster.name, rendered, other)
        mine, theirs = (
            {k: v for k, v in value.items() if k not in ("data", "stringData")}
            for value in (mine, theirs)
        )
        theirs.setdefault("type", "Opaque")
    if rendered.group == other.group and rendered.kind not in INSTALL_KINDS:
        theirs["apiVersion"] = mine.get(
            "apiVersion"
        )  # the API server serves every version of one object
    for path, action in _walk(mine, theirs, ()):
        if path == ("metadata", "name"):
            continue
        if action == "absent" and _of_no_interest(rendered, path):
            continue
        yield Difference(
            cluster.name,
            text,
            path_text(path),
            action,
            reasons.field_reason(rendered, path, action, notes.dropped),
        )


def _of_no_interest(rendered: PlacedObject, path: tuple[str | int, ...]) -> bool:
    """What stays as it is and means nothing to the mesh."""
    if rendered.kind in ("Gateway", "Service") and path[:2] == ("metadata", "annotations"):
        return False
    if rendered.kind in FILLED_IN:
        return path[:2] != ("metadata", "labels") or rendered.kind == "Namespace"
    return path[0] == "metadata" and rendered.kind in INSTALL_KINDS


def _running(cluster: Cluster, rendered: PlacedObject) -> tuple[PlacedObject | None, str]:
    """What runs in the place of a rendered object; for a remote secret with the key of its
    cluster.
    """
    alike = [o for o in cluster.dumped if o.kind == rendered.kind and o.group == rendered.group]
    if is_remote_secret(rendered):
        return _running_remote(alike, rendered)
    named = [
        o for o in alike if o.name == rendered.name and o.namespace in (rendered.namespace, "")
    ]
    if named:
        return named[0], ""
    if is_signing_ca(rendered):
        own = next(filter(is_signing_ca, cluster.dumped), None)
        return (own if own is not None and own.name == CACERTS else None), ""
    return _renamed(cluster, alike, rendered), ""


def _running_remote(
    alike: Sequence[PlacedObject], rendered: PlacedObject
) -> tuple[PlacedObject | None, str]:
    key = next(iter(rendered.value.get("data", {})), "")
    for found in alike:
        if is_remote_secret(found) and key in {
            **(found.value.get("data") or {}),
            **(found.value.get("stringData") or {}),
        }:
            return found, key
    return None, key


def _renamed(
    cluster: Cluster, alike: Sequence[PlacedObject], rendered: PlacedObject
) -> PlacedObject | None:
    """What does the same as a rendered object under another name: a control plane of the same
    part, or a Gateway that lets other networks pass.
    """
    plane = control_plane(rendered)
    if plane is not None:
        for found in alike:
            other = control_plane(found, cluster.dumped)
            if other is not None and other.part == plane.part:
                return found
    if rendered.kind == "Gateway" and _passes(rendered):
        for found in alike:
            if found.namespace == rendered.namespace and _passes(found):
                return found
    return None


def _passes(found: PlacedObject) -> bool:
    """Whether a Gateway lets the traffic of other networks pass."""
    servers = found.at("spec", "servers")
    return any(
        value_at(server, "tls", "mode") == "AUTO_PASSTHROUGH"
        for server in (servers if isinstance(servers, list) else [])
    )


def _walk(
    mine: Json, theirs: Json, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The paths at which two values differ: added, changed, or only in what runs."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted({*mine, *theirs}):
            if key not in theirs:
                yield from ((p, "add") for p in _leaves(mine[key], (*path, key)))
            elif key not in mine:
                yield from ((p, "absent") for p in _leaves(theirs[key], (*path, key)))
            else:
                yield from _walk(mine[key], theirs[key], (*path, key))
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
                yield from _walk(one, other, (*path, index))
    elif mine != theirs and not (_empty(mine) and _empty(theirs)):
        yield path, "change"


def _leaves(value: Json, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _leaves(value[key], (*path, key))
    elif not _empty(value) and value != "":
        yield path


def _empty(value: Json) -> bool:
    return value is None or value in ({}, [])


def _data(cluster: str, rendered: PlacedObject, other: PlacedObject) -> Iterator[Difference]:
    """What a Secret holds, by key; the values are compared, never told."""
    text = str(rendered)
    mine, theirs = secret_data(rendered), secret_data(other)
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
                cluster, text, path, "add", reasons.CERTIFICATES.get(key, "the mesh sets it")
            )
        elif mine[key] != theirs[key]:
            yield Difference(
                cluster,
                text,
                path,
                "change",
                reasons.certificate_reason(key, mine[key], theirs[key]),
            )


def _remote(
    cluster: Cluster, rendered: PlacedObject, other: PlacedObject, key: str, read: Read
) -> Iterator[Difference]:
    """A remote secret: its kubeconfig by what it means to istiod, then what stands round it."""
    text = str(rendered)
    if other.name != rendered.name:
        reason = (
            f"{other.name} is what runs, and istiod takes the first that has a cluster: delete it"
            " when this one is applied, then restart istiod, or change this one once more"
        )
        yield Difference(cluster.name, text, "metadata.name", "change", reason)
    mine, theirs = secret_data(rendered), secret_data(other)
    if mine.get(key) != theirs.get(key):
        logins = [login for found in (rendered, other) for login in _logins(found, key, read)]
        reason = reasons.kubeconfig_reason(logins) + reasons.reconnect_text(cluster.version)
        yield Difference(cluster.name, text, path_text(("data", key)), "change", reason)
    for more in sorted(set(theirs) - set(mine) if other.name == rendered.name else ()):
        reason = "the tree has a Secret of its own for that cluster; take this key away then"
        yield Difference(cluster.name, text, path_text(("data", more)), "absent", reason)
    for path, action in _metadata_changes(rendered, other):
        yield Difference(cluster.name, text, path_text(path), action, "istiod does not read it")
    if other.value.get("type", "Opaque") != rendered.value.get("type"):
        reason = "a Secret's type cannot be changed: delete the old one first"
        yield Difference(cluster.name, text, "type", "change", reason)


def _logins(found: PlacedObject, key: str, read: Read) -> list[Login]:
    """The logins in a remote secret under a key; none where it cannot be read."""
    try:
        return [r.login for r in read_remotes(found, read) if r.key == key]
    except MeshError:
        return []


def _metadata_changes(
    rendered: PlacedObject, other: PlacedObject
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The labels and annotations that differ, each with what would be done."""
    for part in ("labels", "annotations"):
        now, then = rendered.words(part), other.words(part)
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
