"""Parses a rendered tree into a `MeshState`: the mesh as its manifests describe it, whatever the
topology says.

A tree is a mapping: directory -> path -> bytes (None: not a regular file). It comes from disk, from
a revision of git, or from a render. Files that cannot be read become `Problem`s of the state.
"""

from collections.abc import Collection, Iterator, Mapping

from kubectl_mesh.model import (
    BUNDLE_FOLDER,
    CACERTS_PATH,
    COMPONENT_NAMESPACE_PREFIX,
    MESH_LOCK,
    Json,
)
from kubectl_mesh.observed.control_planes import (
    find_control_planes,
    stated_namespaces,
    stated_values,
)
from kubectl_mesh.observed.gateways import find_gateways
from kubectl_mesh.observed.install_kinds import CLUSTER_NAME, MESH_ID, NETWORK
from kubectl_mesh.observed.lock_state import hash_files, read_lock_state
from kubectl_mesh.observed.mesh_state import (
    Directory,
    Fields,
    Files,
    LockState,
    MeshState,
    ObservedCluster,
    Opaque,
    RawTree,
    RemoteSecret,
    StatedValue,
    TreeObject,
)
from kubectl_mesh.observed.networks import NETWORK_LABEL, SERVED_BY_ANNOTATION
from kubectl_mesh.observed.remote_secrets import (
    RemoteSecretReader,
    find_reader_accounts,
    is_remote_secret,
)
from kubectl_mesh.observed.tree_cacerts import CertificateReader, parse_cacerts
from kubectl_mesh.observed.tree_parser import TreeParser, digest_value, exclude_paths, flatten_value
from kubectl_mesh.stores import find_store
from kubectl_mesh.text import path_text
from kubectl_mesh.yaml_io.lookup import items_at, mapping_at, text_at

_LAST_APPLIED = 'metadata.annotations."kubectl.kubernetes.io/last-applied-configuration"'
_ENDINGS = (".yaml", ".yml", ".values")
ParsedObjects = tuple[tuple[TreeObject, Json], ...]


class TreeReader:
    """Reads trees, and parses identical content once.

    With `foreign`, it also reads files that the lock does not list, because some tools apply them.
    """

    def __init__(self, *, foreign: bool = False) -> None:
        self._foreign = foreign
        self._parser, self._certificates = TreeParser(), CertificateReader()
        self._remotes = RemoteSecretReader(self._parser)
        self._objects: dict[
            bytes, tuple[tuple[str, str, str | None, str | None, Opaque, Mapping[str, Json]], ...]
        ] = {}

    def read_state(
        self, source: RawTree, only: Mapping[str, Collection[str]] | None = None
    ) -> MeshState:
        """The state of a tree; with `only`, of these directories, limited to the listed files."""
        self._parser.problems = []
        clusters: dict[str, ObservedCluster] = {}
        shared: dict[str, Directory] = {}
        for name in sorted(source):
            if not name or (only is not None and name not in only):
                continue
            files = source[name]
            wanted = None if only is None else only[name]
            if name.startswith("_"):
                shared[name] = self._directory(name, files, wanted)[0]
            elif MESH_LOCK in files or any(
                path.startswith(("1-trust/", "2-control-plane/", "3-mesh/")) for path in files
            ):
                clusters[name] = self._cluster(name, files, wanted)
        strangers = [
            *source.get("", {}),
            *(
                n
                for n in source
                if n and n not in clusters and n not in shared and (only is None or n in only)
            ),
        ]
        return MeshState(
            clusters, shared, tuple(sorted(strangers)), tuple(sorted(set(self._parser.problems)))
        )

    def _directory(
        self, name: str, files: Files, wanted: Collection[str] | None
    ) -> tuple[Directory, ParsedObjects]:
        found = hash_files(files, wanted)
        state = read_lock_state(name, files, found, self._parser)
        ours = (
            set(state.contents.files)
            if state is not None and not state.is_damaged and not self._foreign
            else set(files)
        )
        seen: list[tuple[TreeObject, Json]] = []
        for path in sorted(ours & set(files)):
            if path.endswith(_ENDINGS) and (wanted is None or path in wanted):
                seen += self._read(f"{name}/{path}", files[path])
        remotes = [
            s
            for o, value in seen
            if o.kind == find_store(value).OBJECT_KIND and is_remote_secret(value)
            for s in self._remote(name, o, value, state)
        ]
        return Directory(name, found, state, tuple(o for o, _ in seen), tuple(remotes)), tuple(seen)

    def _remote(
        self, name: str, seen: TreeObject, value: Json, state: LockState | None
    ) -> Iterator[RemoteSecret]:
        return self._remotes.read_secrets(name, seen.file.partition("/")[2], value, state)

    def _read(self, file: str, body: bytes | None) -> list[tuple[TreeObject, Json]]:
        values = self._parser.parse_documents(file, body)
        known = self._objects.get(body) if body is not None else None
        if known is None:
            known = tuple(_describe_object(value) for value in values)
            if body is not None:
                self._objects[body] = known
        made = []
        for (kind, api, title, namespace, digest, fields), value in zip(known, values, strict=True):
            made.append(
                (
                    TreeObject(
                        file, kind, api, title or file.partition("/")[2], namespace, digest, fields
                    ),
                    value,
                )
            )
        return made

    def _cluster(self, name: str, files: Files, wanted: Collection[str] | None) -> ObservedCluster:
        base, seen = self._directory(name, files, wanted)
        documents = tuple(
            find_control_planes(tuple(s for s in seen if "/2-control-plane/" in s[0].file))
        )
        space = _istio_namespace(name, seen)
        cacerts = next((v for o, v in seen if o.file == f"{name}/{CACERTS_PATH}"), None)
        resources = [
            r
            for o, v in seen
            if o.file == f"{name}/3-mesh/kustomization.yaml"
            for r in items_at(v, "resources")
        ]
        mesh_ids = stated_values(documents, MESH_ID)
        if base.lock is not None and base.lock.contents.mesh:
            mesh_ids = (
                *mesh_ids,
                StatedValue(base.lock.contents.mesh, base.lock.file, "madeFrom.mesh"),
            )
        return ObservedCluster(
            name,
            base.files,
            base.lock,
            base.objects,
            base.remote_secrets,
            cluster_names=stated_values(documents, CLUSTER_NAME),
            mesh_ids=mesh_ids,
            network_label=_namespace_value(space, "metadata", "labels", NETWORK_LABEL),
            network_values=stated_values(documents, NETWORK),
            namespace=StatedValue(space[0].name, space[0].file, "metadata.name")
            if space is not None
            else None,
            namespace_values=stated_namespaces(documents),
            served_by=_namespace_value(space, "metadata", "annotations", SERVED_BY_ANNOTATION),
            cacerts=parse_cacerts(name, cacerts, base.lock, self._parser, self._certificates),
            control_plane=documents,
            gateways=tuple(find_gateways(seen)),
            reader_accounts=tuple(find_reader_accounts(seen)),
            has_bundle=f"../../{BUNDLE_FOLDER}" in resources,
        )


def _istio_namespace(name: str, seen: ParsedObjects) -> tuple[TreeObject, Json] | None:
    """The Namespace of Istio in a cluster's directory."""
    components = f"{name}/{COMPONENT_NAMESPACE_PREFIX}"
    found = ((o, v) for o, v in seen if o.kind == "Namespace" and not o.file.startswith(components))
    return next(found, None)


def _namespace_value(space: tuple[TreeObject, Json] | None, *path: str) -> StatedValue | None:
    """The text at a path of a Namespace."""
    if space is None or (value := text_at(space[1], *path)) is None:
        return None
    return StatedValue(value, space[0].file, path_text(path))


def _describe_object(
    value: Json,
) -> tuple[str, str, str | None, str | None, Opaque, Mapping[str, Json]]:
    """The kind, API version, name, namespace and digest of an object, and its fields without secret
    ones.
    """
    kind = text_at(value, "kind") or ""
    name = text_at(value, "metadata", "name") if kind else None
    # What kubectl keeps of a Secret beside it holds it once more, and so does a list of Secrets.
    fields: Fields = exclude_paths(
        flatten_value(value), _LAST_APPLIED, *(["items"] if kind.endswith("List") else [])
    )
    store = find_store(value)
    if kind == store.OBJECT_KIND or store.MARK:
        fields = exclude_paths(fields, *store.SECRET_FIELDS)
    space = text_at(mapping_at(value, "metadata"), "namespace")
    return kind, text_at(value, "apiVersion") or "", name, space, digest_value(value), fields


def read_mesh_state(
    source: RawTree, only: Mapping[str, Collection[str]] | None = None
) -> MeshState:
    """The state of one tree."""
    return TreeReader().read_state(source, only)
