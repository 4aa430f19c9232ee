"""What the objects of one cluster are to the mesh: its control plane, its remote secrets, and what
its istiod says of itself.
"""

from collections.abc import Sequence

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running import Running
from kubectl_mesh.errors import MeshError
from kubectl_mesh.istio.homes import is_own_images
from kubectl_mesh.model import Json
from kubectl_mesh.observed.control_dumps import (
    INJECTOR,
    MESH_CONFIG,
    DumpedControlPlane,
    charts_url,
    control_plane,
    is_made_by_istiod,
    running_statements,
    stated_networks,
    statements,
    values_control_plane,
    version_of_image,
)
from kubectl_mesh.observed.networks import declared_networks
from kubectl_mesh.observed.objects import Found, clean
from kubectl_mesh.observed.remotes import Read, Remote, is_remote_secret, read_remotes
from kubectl_mesh.yaml_io.lookup import mapping_at, value_at


def once(objects: Sequence[Found], notes: Notes) -> list[Found]:
    """The objects without those that were dumped twice, alike to the last field, and without what
    only lists files.
    """
    seen: dict[tuple[str, str, str, str, str], list[Json]] = {}
    kept = []
    for found in objects:
        value = clean(dict(found.value))
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


def find(cluster: Running, read: Read, parse: Read, notes: Notes) -> None:
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
    stable = min((p for p in planes if p.main), key=_version, default=None)
    for plane in planes:
        if plane.main and plane is not stable:
            notes.leave(
                plane.found,
                "a second control plane; state it as a canary in the topology (istio.canary)",
            )
    planes = [p for p in planes if not p.main or p is stable]
    cluster.planes, cluster.remotes = tuple(planes), tuple(held)
    for plane in planes:
        cluster.tables.append((plane.found, stated_networks(plane.values)))
        charts = charts_url(plane.found, cluster.objects)
        if charts is not None:
            _say(cluster, "charts", *charts)
        for stated in statements(plane):
            if plane.main or stated.what not in ("revision", "version"):
                _say(cluster, stated.what, stated.value, plane.found, stated.field)
    for found in cluster.objects:
        if found.kind == "Deployment" and found.group == "apps":
            _istiod(cluster, found)
        elif is_made_by_istiod(found, INJECTOR):
            values = _text(found, "values", parse)
            for stated in running_statements(values):
                how = f"the values of the injector, {stated.field}"
                _say(cluster, stated.what, stated.value, found, how)
        elif is_made_by_istiod(found, MESH_CONFIG):
            for stated in running_statements({"meshConfig": _text(found, "mesh", parse)}):
                _say(cluster, stated.what, stated.value, found, f"its mesh, {stated.field}")
            cluster.tables.append(
                (found, declared_networks(mapping_at(_text(found, "meshNetworks", parse))))
            )


def _version(plane: DumpedControlPlane) -> list[int]:
    """The version that a control plane states, to be compared; of two the older one is the stable
    one.
    """
    stated = next((s.value for s in statements(plane) if s.what == "version"), "")
    return [int(number) for number in stated.split(".") if number]


def _say(cluster: Running, what: str, value: str, found: Found, how: str) -> None:
    cluster.said.setdefault(what, []).append(Evidence(value, found.place, how))


def _text(found: Found, key: str, parse: Read) -> Json:
    """The document that stands in a ConfigMap as text; nothing where it cannot be read, for it is
    but one witness.
    """
    text = found.at("data", key)
    try:
        return parse(text.encode()).value if isinstance(text, str) else None
    except MeshError:
        return None


def _in_configmap(found: Found, parse: Read) -> DumpedControlPlane | None:
    """Helm values in a ConfigMap, as Flux reads them with `valuesFrom`."""
    if found.kind != "ConfigMap" or found.group:
        return None
    key = "values.yaml"
    return values_control_plane(found, _text(found, key, parse))


def _istiod(cluster: Running, found: Found) -> None:
    """What the Deployment of istiod says."""
    containers = found.at("spec", "template", "spec", "containers")
    for container in containers if isinstance(containers, list) else []:
        registry = str(value_at(container, "image")).rpartition("/")[0]
        if value_at(container, "name") == "discovery" and registry and not is_own_images(registry):
            _say(cluster, "registry", registry, found, "the image of istiod")
        version = version_of_image(str(value_at(container, "image")))
        if version is None:
            continue
        if not cluster.said.get("version"):
            _say(cluster, "version", version, found, "the image of istiod")
        env = value_at(container, "env")
        for entry in env if isinstance(env, list) else []:
            if (
                value_at(entry, "name") == "CLUSTER_ID"
                and isinstance(value := value_at(entry, "value"), str)
                and value
            ):
                _say(cluster, "id", value, found, "CLUSTER_ID of istiod")
