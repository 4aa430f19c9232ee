"""Finds the parts of a cluster: its control planes, its remote secrets, and the statements of its
istiod.
"""

from collections.abc import Iterable, Sequence

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running_mesh import RunningCluster
from kubectl_mesh.errors import MeshError
from kubectl_mesh.istio.retired_registries import is_istio_images
from kubectl_mesh.model import Json
from kubectl_mesh.observed.dumped_control_planes import (
    INJECTOR_CONFIG_MAP,
    MESH_CONFIG_MAP,
    DumpedControlPlane,
    Statement,
    find_charts_url,
    find_declared_networks,
    is_istiod_config_map,
    list_config_statements,
    list_istiod_statements,
    list_statements,
    parse_control_plane,
    parse_helm_values,
)
from kubectl_mesh.observed.dumped_objects import DumpedObject, strip_server_fields
from kubectl_mesh.observed.dumped_remote_secrets import (
    DumpedRemoteSecret,
    LoadDocument,
    is_dumped_remote_secret,
    parse_remote_secrets,
)
from kubectl_mesh.observed.networks import parse_mesh_networks
from kubectl_mesh.yaml_io.lookup import mapping_at


def drop_duplicates(objects: Sequence[DumpedObject], notes: Notes) -> list[DumpedObject]:
    """The objects without those that were dumped twice, alike to the last field, and without what
    only lists files.
    """
    seen: dict[tuple[str, str, str, str, str], list[Json]] = {}
    kept = []
    for found in objects:
        value = strip_server_fields(dict(found.value))
        alike = seen.setdefault(
            (found.context, found.kind, found.group, found.namespace, found.name), []
        )
        listing = found.group == "kustomize.config.k8s.io"
        if (found.name and value in alike) or listing:
            notes.mark_used(found)
        else:
            alike.append(value)
            kept.append(found)
    return kept


def find_parts(
    cluster: RunningCluster, load_kubeconfig: LoadDocument, load_yaml: LoadDocument, notes: Notes
) -> None:
    """Finds the parts of a cluster among its objects."""
    planes: list[DumpedControlPlane] = []
    remote_secrets: list[DumpedRemoteSecret] = []
    for found in cluster.objects:
        plane = parse_control_plane(found, cluster.objects) or _parse_config_map_values(
            found, load_yaml
        )
        if plane is not None:
            notes.mark_used(found)
            planes.append(plane)
        elif is_dumped_remote_secret(found):
            notes.mark_used(found)
            try:
                remote_secrets += parse_remote_secrets(found, load_kubeconfig)
            except MeshError as error:
                notes.problems += error.problems
    cluster.control_planes, cluster.remote_secrets = (
        _without_canaries(planes, notes),
        tuple(remote_secrets),
    )
    for plane in cluster.control_planes:
        _add_control_plane_evidence(cluster, plane)
    for found in cluster.objects:
        if found.kind == "Deployment" and found.group == "apps":
            _add_istiod_evidence(cluster, found)
        elif is_istiod_config_map(found, INJECTOR_CONFIG_MAP):
            values = _load_config_map_key(found, "values", load_yaml)
            _add_evidence(
                cluster, found, list_config_statements(values), "the values of the injector, "
            )
        elif is_istiod_config_map(found, MESH_CONFIG_MAP):
            config = {"meshConfig": _load_config_map_key(found, "mesh", load_yaml)}
            _add_evidence(cluster, found, list_config_statements(config), "its mesh, ")
            stated = mapping_at(_load_config_map_key(found, "meshNetworks", load_yaml))
            cluster.network_declarations.append((found, parse_mesh_networks(stated)))


def _without_canaries(
    planes: Sequence[DumpedControlPlane], notes: Notes
) -> tuple[DumpedControlPlane, ...]:
    """The control planes without canaries: of several of istiod the oldest counts."""
    stable = min((p for p in planes if p.is_istiod), key=_version_key, default=None)
    for plane in planes:
        if plane.is_istiod and plane is not stable:
            notes.add_unused(
                plane.resource,
                "a second control plane; state it as a canary in the topology (istio.canary)",
            )
    return tuple(p for p in planes if not p.is_istiod or p is stable)


def _version_key(plane: DumpedControlPlane) -> list[int]:
    """The version that a control plane states, to be compared; of two the older one is the stable
    one.
    """
    stated = next((s.value for s in list_statements(plane) if s.setting == "version"), "")
    return [int(number) for number in stated.split(".") if number]


def _add_evidence(
    cluster: RunningCluster, found: DumpedObject, stated: Iterable[Statement], where: str = ""
) -> None:
    """Adds what an object states of its cluster; `where` says in what of it the fields are."""
    for one in stated:
        evidence = Evidence(one.value, found.place, where + one.field)
        cluster.evidence.setdefault(one.setting, []).append(evidence)


def _add_control_plane_evidence(cluster: RunningCluster, plane: DumpedControlPlane) -> None:
    cluster.network_declarations.append((plane.resource, find_declared_networks(plane.values)))
    charts = find_charts_url(plane.resource, cluster.objects)
    if charts is not None:
        url, source, how = charts
        _add_evidence(cluster, source, [Statement("charts", url, how)])
    stated = (
        s
        for s in list_statements(plane)
        if plane.is_istiod or s.setting not in ("revision", "version")
    )
    _add_evidence(cluster, plane.resource, stated)


def _add_istiod_evidence(cluster: RunningCluster, deployment: DumpedObject) -> None:
    for stated in list_istiod_statements(deployment):
        is_known = stated.setting == "version" and cluster.evidence.get("version")
        is_usual = stated.setting == "registry" and is_istio_images(stated.value)
        if not is_known and not is_usual:
            _add_evidence(cluster, deployment, [stated])


def _load_config_map_key(found: DumpedObject, key: str, load_yaml: LoadDocument) -> Json:
    """The document that stands in a ConfigMap as text; nothing where it cannot be read, for it is
    but one witness.
    """
    text = found.value_at("data", key)
    try:
        return load_yaml(text.encode()).value if isinstance(text, str) else None
    except MeshError:
        return None


def _parse_config_map_values(
    found: DumpedObject, load_yaml: LoadDocument
) -> DumpedControlPlane | None:
    """Helm values in a ConfigMap, as Flux reads them with `valuesFrom`."""
    if found.kind != "ConfigMap" or found.group:
        return None
    key = "values.yaml"
    return parse_helm_values(found, _load_config_map_key(found, key, load_yaml))
