"""Dumps read into objects: files and folders of YAML or JSON, and folders of PEM files as they are
mounted into istiod.
"""

import io
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.read import open_stream, read_file
from kubectl_mesh.model import Document
from kubectl_mesh.observed.cacerts_keys import CACERTS_FILES
from kubectl_mesh.observed.dumped_objects import DumpedObject, unroll_objects
from kubectl_mesh.observed.signing_ca import CACERTS
from kubectl_mesh.yaml_io.read import stream_documents
from kubectl_mesh.yaml_io.scalars import count_nodes

DUMP_EXTENSIONS = (".yaml", ".yml", ".json")
_PEM = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_BULKY_KINDS = frozenset(
    (
        *(
            "ControllerRevision",
            "CronJob",
            "CustomResourceDefinition",
            "DaemonSet",
            "EndpointSlice",
            "Endpoints",
            "Event",
            "Job",
            "Lease",
        ),
        *("Node", "PersistentVolume", "PersistentVolumeClaim", "Pod", "ReplicaSet", "StatefulSet"),
    )
)
_FOREIGN_SECRETS = frozenset(("helm.sh/release.v1", "kubernetes.io/dockerconfigjson"))
MOST_VALUES = 2_000_000
"""What `adopt` keeps in memory of a file, in values."""
_SECRET_PATH = re.compile(r"(^|\.)(data|stringData|users)(\.|\[|$)")


def is_pem(body: bytes) -> bool:
    """Whether a file holds PEM, and no YAML: there the lines would be indented."""
    return bool(_PEM.search(body))


def read_objects(path: str, context: str = "") -> list[DumpedObject]:
    """The objects in a file, or in all files of a folder; every problem of every file at once."""
    found: list[DumpedObject] = []
    problems: list[Problem] = []
    for file in _list_dumps(path):
        try:
            found += (
                _read_pem_folder(file, context)
                if os.path.isdir(file)
                else _read_dump(file, context)
            )
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return found


def _list_dumps(path: str) -> list[str]:
    """The dumps below a folder, in order; a folder with a ca-cert.pem counts as one."""
    if not os.path.isdir(path):
        return [path]
    if os.path.isfile(os.path.join(path, "ca-cert.pem")):
        return [path]
    listed: list[str] = []
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            listed += _list_dumps(entry.path)
        elif entry.name.endswith(DUMP_EXTENSIONS):
            listed.append(entry.path)
    return listed


def _read_dump(path: str, context: str) -> list[DumpedObject]:
    stream = open_stream(path)
    if stream is None:
        raise refuse(path, "is not there", "name a file that is, or a folder", code="dump-missing")
    found: list[DumpedObject] = []
    kept = 0

    def each(document: Document) -> None:
        nonlocal kept
        for one in unroll_objects(document, context):
            found.append(strip_bulky_fields(one))
            kept += count_nodes(dict(found[-1].value))
            if kept > MOST_VALUES:
                raise refuse(
                    path,
                    f"holds more than {MOST_VALUES} values that a mesh could be made of",
                    "dump less: the namespace of Istio alone",
                    code="dump-too-large",
                )

    try:
        with io.BufferedReader(stream, 2**16) as file:  # type: ignore[type-var]
            if is_pem(file.peek()):
                raise refuse(
                    path,
                    "is PEM, where a dump belongs",
                    "give the folder that holds ca-cert.pem, ca-key.pem, cert-chain.pem and"
                    " root-cert.pem",
                    code="dump-is-pem",
                )
            stream_documents(path, file, each)
        return found
    except MeshError as error:
        # What stands in a Secret is nobody's to read, not even where it is badly written.
        hidden = "is not read alike by every program"
        raise MeshError(
            replace(p, what=hidden, fix="quote it", code="value-ambiguous")
            if _SECRET_PATH.search(p.where.path)
            else p
            for p in error.problems
        ) from None


def strip_bulky_fields(found: DumpedObject) -> DumpedObject:
    """An object without what is large in a dump of a whole cluster, and of no mesh: of those of
    many kinds no more stays than what they are.
    """
    fields = {
        key: part
        for key, part in found.value.items()
        if key not in ("spec", "status", "data", "stringData", "binaryData", "webhooks")
    }
    if found.kind in _BULKY_KINDS:
        return replace(
            found,
            value={
                **fields,
                "metadata": {
                    key: found.metadata[key]
                    for key in ("name", "namespace")
                    if key in found.metadata
                },
            },
        )
    if found.kind == "Secret" and str(found.value.get("type")) in _FOREIGN_SECRETS:
        return replace(found, value={**fields, "type": found.value["type"]})
    if "managedFields" in found.metadata:
        return replace(
            found,
            value={
                **found.value,
                "metadata": {
                    key: part for key, part in found.metadata.items() if key != "managedFields"
                },
            },
        )
    return found


def _read_pem_folder(path: str, context: str) -> list[DumpedObject]:
    """The four files of an intermediate, as the Secret that they are mounted from."""
    files = {
        name: read_file(os.path.join(path, name), "key" if name == "ca-key.pem" else "certificates")
        for name in CACERTS_FILES
    }
    data = {name: body.decode("latin-1") for name, body in files.items() if body is not None}
    return [
        DumpedObject(
            context,
            Place(path),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": CACERTS},
                "stringData": data,
            },
        )
    ]


def read_arguments(arguments: Sequence[str]) -> list[DumpedObject]:
    """The objects that the arguments of `adopt` name: `CTX=PATH`, a folder with a folder per
    context, or a kubeconfig.
    """
    found: list[DumpedObject] = []
    problems: list[Problem] = []
    for argument in arguments:
        try:
            found += _read_argument(argument)
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return found


def mode_problems(found: Sequence[DumpedObject]) -> list[Problem]:
    """A warning for each dump that holds keys or tokens and that others may read."""
    files = dict.fromkeys(o.place.file for o in found if o.kind in ("Secret", "Config"))
    paths = {
        path: os.path.join(path, "ca-key.pem") if os.path.isdir(path) else path for path in files
    }
    modes = {
        path: stat.S_IMODE(os.stat(inner).st_mode)
        for path, inner in paths.items()
        if os.path.isfile(inner)
    }
    fix = "chmod 600; and delete it when the mesh is adopted"
    return [
        Problem(
            Place(path),
            f"holds keys or tokens, and others may read it (mode {mode:04o})",
            fix,
            "private-mode",
            code="readable-by-others",
        )
        for path, mode in modes.items()
        if mode & 0o077
    ]


def _read_argument(argument: str) -> list[DumpedObject]:
    context, equals, path = argument.partition("=")
    if equals and not os.path.lexists(argument):
        if not context or not path:
            raise refuse(
                argument,
                "is not CTX=FILE",
                "write the context of the cluster, =, and a file or a folder with its dumps",
                code="not-context-and-file",
            )
        return read_objects(path, context)
    if not os.path.isdir(argument):
        return read_objects(argument)
    found: list[DumpedObject] = []
    problems: list[Problem] = []
    for entry in sorted(os.scandir(argument), key=lambda e: e.name):
        if entry.name.startswith(".") or not (
            entry.is_dir() or entry.name.endswith(DUMP_EXTENSIONS)
        ):
            continue
        try:
            found += read_objects(entry.path, entry.name if entry.is_dir() else "")
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    if not found:
        raise refuse(
            argument,
            "holds no dump",
            "put a folder there for each context, with what `kubectl get -o yaml` printed",
            code="no-dump",
        )
    return found
