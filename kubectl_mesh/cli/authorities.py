"""What takes cryptography, as a work for the process beside: the CAs of the API servers judged, the certificates of the mesh made."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubectl_mesh.errors import Place
    from kubectl_mesh.model import Pki
    from kubectl_mesh.pki.wanted import Progress, Wanted


def ready() -> None:
    """Loads what the work takes."""
    import kubectl_mesh.credentials.kubeconfig
    import kubectl_mesh.pki.issue  # noqa: F401


def issue(wanted: "Wanted", kept: Mapping[str, bytes], at: datetime, progress: "Progress", folders: Collection[str]) -> "Pki":
    """`issue` of `kubectl_mesh.pki`, loaded where it works."""
    from kubectl_mesh.pki.issue import issue

    return issue(wanted, kept, at, progress, folders)


def judged(cas: Collection[bytes], dated: "Collection[tuple[str, bytes, Place]]", at: datetime, work: "Callable[[], Pki]") -> "Pki | None":
    """What a work makes, with a warning for each CA in `dated` that expires; None where something is wrong with one of the CAs."""
    from kubectl_mesh.credentials.kubeconfig import ca_date_problems, ca_fault

    if any(map(ca_fault, cas)):
        return None
    pki = work()
    return replace(pki, warnings=(*pki.warnings, *ca_date_problems(dated, at)))
