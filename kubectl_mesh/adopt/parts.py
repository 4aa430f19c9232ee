"""What the objects of one cluster are to the mesh: its control plane, its remote secrets, and what
its istiod says of itself.
"""

from collections.abc import Iterable, Sequence

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running import Running
from kubectl_mesh.errors import MeshError
from kubectl_mesh.istio.retired_registries import is_istio_images
from kubectl_mesh.model import Json
from kubectl_mesh.observed.control_dumps import (
    INJECTOR,
    MESH_CONFIG,
    DumpedControlPlane,
    Statement,
    charts_url,
    control_plane,
    is_made_by_istiod,
    istiod_statements,
    running_statements,
    stated_networks,
    statements,
    values_control_plane,
)
from kubectl_mesh.observed.networks import declared_networks
from kubectl_mesh.observed.objects import PlacedObject, strip_server_fields
from kubectl_mesh.observed.remote_dumps import Read, Remote, is_remote_secret, read_remotes
from kubectl_mesh.yaml_io.lookup import mapping_at


def drop_duplicates(objects: Sequence[PlacedObject], notes: Notes) -> list[PlacedObject]:
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
            notes.use(found)
        else:
            alike.append(value)
            kept.append(found)
    return kept


def find_parts(cluster: Running, read: Read, parse: Read, notes: Notes) -> None:
    """Finds the parts of a cluster among its objects."""
    planes: list[DumpedControlPlane] = []
    held: list[Remote] = []
    for found in cluster.objects:
        plane = control_plane(found, cluster.objects) or _in_configmap(found, parse)
        if plane is not None:
            notes.use(found)
            planes.append(plane)
        elif is_remote_secret(found):
            notes.use(found)
            try:
                held += read_remotes(found, read)
            except MeshError as error:
                notes.problems += error.problems
    cluster.planes, cluster.remotes = _without_canaries(planes, notes), tuple(held)
    for plane in cluster.planes:
        _add_plane(cluster, plane)
    for found in cluster.objects:
        if found.kind == "Deployment" and found.group == "apps":
            _add_istiod(cluster, found)
        elif is_made_by_istiod(found, INJECTOR):
            values = _text(found, "values", parse)
            _add(cluster, found, running_statements(values), "the values of the injector, ")
        elif is_made_by_istiod(found, MESH_CONFIG):
            config = {"meshConfig": _text(found, "mesh", parse)}
            _add(cluster, found, running_statements(config), "its mesh, ")
            stated = mapping_at(_text(found, "meshNetworks", parse))
            cluster.tables.append((found, declared_networks(stated)))


def _without_canaries(
    planes: Sequence[DumpedControlPlane], notes: Notes
) -> tuple[DumpedControlPlane, ...]:
    """The control planes without canaries: of several of istiod the oldest counts."""
    stable = min((p for p in planes if p.main), key=_version, default=None)
    for plane in planes:
        if plane.main and plane is not stable:
            notes.leave(
                plane.found,
                "a second control plane; state it as a canary in the topology (istio.canary)",
            )
    return tuple(p for p in planes if not p.main or p is stable)


def _version(plane: DumpedControlPlane) -> list[int]:
    """The version that a control plane states, to be compared; of two the older one is the stable
    one.
    """
    stated = next((s.value for s in statements(plane) if s.what == "version"), "")
    return [int(number) for number in stated.split(".") if number]


def _add(
    cluster: Running, found: PlacedObject, stated: Iterable[Statement], where: str = ""
) -> None:
    """Adds what an object states of its cluster; `where` says in what of it the fields are."""
    for one in stated:
        evidence = Evidence(one.value, found.place, where + one.field)
        cluster.said.setdefault(one.what, []).append(evidence)


def _add_plane(cluster: Running, plane: DumpedControlPlane) -> None:
    cluster.tables.append((plane.found, stated_networks(plane.values)))
    charts = charts_url(plane.found, cluster.objects)
    if charts is not None:
        url, source, how = charts
        _add(cluster, source, [Statement("charts", url, how)])
    stated = (s for s in statements(plane) if plane.main or s.what not in ("revision", "version"))
    _add(cluster, plane.found, stated)


def _add_istiod(cluster: Running, deployment: PlacedObject) -> None:
    for stated in istiod_statements(deployment):
        is_known = stated.what == "version" and cluster.said.get("version")
        is_usual = stated.what == "registry" and is_istio_images(stated.value)
        if not is_known and not is_usual:
            _add(cluster, deployment, [stated])


def _text(found: PlacedObject, key: str, parse: Read) -> Json:
    """The document that stands in a ConfigMap as text; nothing where it cannot be read, for it is
    but one witness.
    """
    text = found.at("data", key)
    try:
        return parse(text.encode()).value if isinstance(text, str) else None
    except MeshError:
        return None


def _in_configmap(found: PlacedObject, parse: Read) -> DumpedControlPlane | None:
    """Helm values in a ConfigMap, as Flux reads them with `valuesFrom`."""
    if found.kind != "ConfigMap" or found.group:
        return None
    key = "values.yaml"
    return values_control_plane(found, _text(found, key, parse))
