"""Remote secrets of dumps: which cluster holds which, and how it reaches it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.observed.kubeconfigs import Login, login_of_current_context
from kubectl_mesh.observed.objects import PlacedObject, secret_data
from kubectl_mesh.observed.remotes import CONTEXT_ANNOTATION, has_remote_secret_label
from kubectl_mesh.text import value_text

Read = Callable[[bytes], Document]
"""A loader for what stands in an object as text; for a kubeconfig one that leaves every scalar a
text.
"""


@dataclass(frozen=True, slots=True)
class Remote:
    """A cluster as another holds it in a dump, under the ID `key`."""

    found: PlacedObject
    key: str
    login: Login
    body: bytes = field(repr=False)

    @property
    def holder(self) -> str:
        """The context of the cluster that holds it."""
        return self.found.context

    @property
    def stated_context(self) -> str | None:
        """The context that istioctl of old noted."""
        return self.found.words("annotations").get(CONTEXT_ANNOTATION)


def is_remote_secret(found: PlacedObject) -> bool:
    """Whether istiod takes an object of a dump for a remote secret."""
    return found.kind == "Secret" and not found.group and has_remote_secret_label(found.metadata)


def read_remotes(found: PlacedObject, read: Read) -> Iterator[Remote]:
    """The clusters in a remote secret of a dump; raises a `MeshError` that shows nothing of what
    cannot be read.
    """
    problems: list[Problem] = []
    for key, body in sorted(secret_data(found).items()):
        try:
            document = read(body)
        except MeshError:
            problems.append(
                Problem(
                    found.place,
                    f"the key {value_text(key)} of {found} holds no kubeconfig that can be read",
                    "dump it again",
                    code="kubeconfig-unreadable",
                )
            )
            continue
        login = login_of_current_context(document.value)
        if isinstance(login, Fault):
            problems.append(
                Problem(
                    found.place,
                    f"the kubeconfig under {value_text(key)} of {found} {login}",
                    "dump it again, or leave it out",
                    code=login.code,
                )
            )
        else:
            yield Remote(found, key, login, body)
    if problems:
        raise MeshError(problems)
