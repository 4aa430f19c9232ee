"""Remote secrets in dumps: which cluster has which, with the login in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document
from kubectl_mesh.observed.dumped_objects import DumpedObject, decode_secret
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.observed.kubeconfigs import Login, parse_current_login
from kubectl_mesh.observed.remote_secrets import CONTEXT_ANNOTATION, has_remote_secret_label
from kubectl_mesh.text import value_text

LoadDocument = Callable[[bytes], Document]
"""A loader of YAML text; the one for kubeconfigs reads every scalar as a text."""


@dataclass(frozen=True, slots=True)
class DumpedRemoteSecret:
    """A key of a remote secret in a dump: the cluster ID and its kubeconfig."""

    resource: DumpedObject
    cluster_id: str
    login: Login
    kubeconfig: bytes = field(repr=False)

    @property
    def holder(self) -> str:
        """The context of the cluster that contains it."""
        return self.resource.context

    @property
    def stated_context(self) -> str | None:
        """The context in the annotation of older istioctl versions."""
        return self.resource.metadata_strings("annotations").get(CONTEXT_ANNOTATION)


def is_dumped_remote_secret(resource: DumpedObject) -> bool:
    """Whether a dumped object is a remote secret."""
    return (
        resource.kind == "Secret"
        and not resource.group
        and has_remote_secret_label(resource.metadata)
    )


def parse_remote_secrets(
    resource: DumpedObject, read: LoadDocument
) -> Iterator[DumpedRemoteSecret]:
    """The remote secrets in a Secret, one for each key. Raises a `MeshError` that shows no
    content.
    """
    problems: list[Problem] = []
    for key, body in sorted(decode_secret(resource).items()):
        try:
            document = read(body)
        except MeshError:
            problems.append(
                Problem(
                    resource.place,
                    f"the key {value_text(key)} of {resource} holds no kubeconfig that can be read",
                    "dump it again",
                    code="kubeconfig-unreadable",
                )
            )
            continue
        login = parse_current_login(document.value)
        if isinstance(login, Fault):
            problems.append(
                Problem(
                    resource.place,
                    f"the kubeconfig under {value_text(key)} of {resource} {login}",
                    "dump it again, or leave it out",
                    code=login.code,
                )
            )
        else:
            yield DumpedRemoteSecret(resource, key, login, body)
    if problems:
        raise MeshError(problems)
