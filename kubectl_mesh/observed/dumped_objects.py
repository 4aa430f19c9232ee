"""Parses dumps into objects: unrolls lists, strips fields that the server adds, decodes Secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Document, Json
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.lookup import decode_base64, value_at

SERVER_METADATA = frozenset(
    (
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    )
)
"""Metadata that the API server adds to an object."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class DumpedObject:
    """An object of a dump: the context of its cluster (empty if none was named), its position, and
    its content.
    """

    context: str
    place: Place
    value: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """Its kind, empty where it states none."""
        return _string_or_empty(self.value.get("kind"))

    @property
    def group(self) -> str:
        """The group of its API, empty for the core."""
        return _string_or_empty(self.value.get("apiVersion")).rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name."""
        return _string_or_empty(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        """Its namespace, empty where it states none."""
        return _string_or_empty(self.metadata.get("namespace"))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata, empty if it has none."""
        found = self.value.get("metadata")
        return found if isinstance(found, dict) else {}

    def metadata_strings(self, key: str) -> dict[str, str]:
        """Its labels or annotations."""
        found = self.metadata.get(key)
        return (
            {str(k): v for k, v in found.items() if isinstance(v, str)}
            if isinstance(found, dict)
            else {}
        )

    def value_at(self, *path: str) -> Any:
        """The value at a path, None if it does not exist."""
        return value_at(self.value, *path)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return (
            f"{self.kind or 'a document without a kind'} {where}".rstrip()
            if not self.value or where
            else self.kind or "a document without a kind"
        )


def _string_or_empty(value: Json) -> str:
    return value if isinstance(value, str) else ""


def unroll_objects(document: Document, context: str) -> Iterator[DumpedObject]:
    """The objects of a document, those of a `List` one by one."""
    yield from _unroll_value(document, context, document.value, ())


def _unroll_value(
    document: Document, context: str, value: Json, path: tuple[str | int, ...]
) -> Iterator[DumpedObject]:
    if value is None:
        return
    place = document.field_place(*path)
    place = Place(place.file, place.line, place.column)
    if not isinstance(value, dict):
        raise MeshError(
            [
                Problem(
                    place,
                    "is no object of Kubernetes: it is no mapping",
                    "give what `kubectl get -o yaml` printed",
                    code="not-kubernetes-object",
                )
            ]
        )
    kind = value.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from _unroll_value(
                document, context, _with_list_kind(item, value), (*path, "items", index)
            )
        return
    yield DumpedObject(context, place, value)


def _with_list_kind(item: Json, whole: Mapping[str, Json]) -> Json:
    """An item with the kind of its list, which client-go's own lists omit."""
    kind = str(whole["kind"]).removesuffix("List")
    return (
        {"apiVersion": whole.get("apiVersion"), "kind": kind, **item}
        if isinstance(item, dict) and kind and "kind" not in item
        else item
    )


def strip_server_fields(value: Json) -> Json:
    """An object without the fields that the server adds."""
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if key != "status"}
    if isinstance(kept.get("metadata"), dict):
        metadata = {
            key: part for key, part in kept["metadata"].items() if key not in SERVER_METADATA
        }
        if isinstance(metadata.get("annotations"), dict):
            annotations = {
                key: part for key, part in metadata["annotations"].items() if key != LAST_APPLIED
            }
            metadata = {
                **{k: v for k, v in metadata.items() if k != "annotations"},
                **({"annotations": annotations} if annotations else {}),
            }
        kept["metadata"] = metadata
    return kept


def decode_secret(resource: DumpedObject) -> dict[str, bytes]:
    """The content of a Secret by key; `stringData` overrides `data`, as in the API server. Raises a
    `MeshError` that shows no value.
    """
    problems: list[Problem] = []
    bodies: dict[str, bytes] = {}
    for part in ("data", "stringData"):
        values = resource.value.get(part)
        if values is None:
            continue
        if not isinstance(values, dict):
            problems.append(
                Problem(
                    resource.place,
                    f"{part} of {resource} is no mapping",
                    "dump it again",
                    code="not-mapping",
                )
            )
            continue
        for key, value in values.items():
            body = (
                _decode_value(value)
                if part == "data"
                else value.encode()
                if isinstance(value, str)
                else None
            )
            if body is None:
                what = (
                    f"the key {value_text(key)} of {resource} is not base64"
                    if part == "data"
                    else f"the key {value_text(key)} of {resource} is no text"
                )
                problems.append(
                    Problem(
                        resource.place,
                        what,
                        "dump it again with `kubectl get secret -o yaml`",
                        code="not-base64" if part == "data" else "not-text",
                    )
                )
            else:
                bodies[str(key)] = body
    if problems:
        raise MeshError(problems)
    return bodies


def _decode_value(value: Json) -> bytes | None:
    if value is None:
        return b""
    return decode_base64(value, wrapped=True) if isinstance(value, str) else None
