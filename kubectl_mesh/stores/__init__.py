"""stores: how what is secret stands in the tree. `Plain` leaves it as it is; `sops` and `sealed`
encrypt it, `external` names where it is.

A store that encrypts keeps what is in the tree already wherever it is still right, and can tell so
without any key that decrypts: from `certs/seal-key` where the secrets are here too, from the lock
where they are not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import BUNDLE, CACERTS, REMOTE_SECRETS, OnDisk, Secret, Topology
from kubectl_mesh.stores.age import is_recipient
from kubectl_mesh.stores.sealed import command
from kubectl_mesh.stores.sealing import Sealing
from kubectl_mesh.text import shown
from kubectl_mesh.workdir.places import sealing_file

__all__ = [
    "ENCRYPTED",
    "Plain",
    "Sealing",
    "cacerts_before",
    "problems",
    "sealed_before",
    "warnings",
]

ENCRYPTED = ("sops", "sealed")
"""The stores that encrypt what is secret, for a tree that others read."""


class Plain:
    """Secrets in clear."""

    private = True

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    def file(self, directory: str, path: str, secret: Secret) -> tuple[bytes, str | None]:
        """The bytes of a file, and what the lock says of it; here nothing."""
        assert secret.text is not None
        if secret.text not in self._bytes:
            self._bytes[secret.text] = (
                secret.text.encode()
            )  # the same secret stands in many directories
        return self._bytes[secret.text], None

    def head(self, directory: str) -> dict[str, object]:
        """What the lock says of the directory, as fields of a `LockFile`."""
        return {}

    def beside(self, directory: str) -> dict[str, str]:
        """Files of the store's own in a directory that holds secrets, by path."""
        return {}


def sealed_before(before: Callable[[str], OnDisk | None], directory: str, peer: str) -> bool:
    """Whether an earlier run sealed the remote secret for a peer in a directory."""
    old = before(directory)
    return (
        old is not None
        and (f"{peer}.yaml" if directory == BUNDLE else f"{REMOTE_SECRETS}{peer}.yaml")
        in old.sealed
    )


def cacerts_before(before: Callable[[str], OnDisk | None], directory: str) -> bool:
    """Whether an earlier run sealed the intermediate's key of a cluster."""
    old = before(directory)
    return old is not None and CACERTS in old.sealed


def problems(topology: Topology) -> Iterator[Problem]:
    """Recipients that are none."""
    if topology.store != "sops":
        return

    stated: list[tuple[tuple[str | int, ...], str]] = [
        (("secrets", "recipients", i), r) for i, r in enumerate(topology.recipients)
    ]
    stated += [
        (("contexts", c.context, "recipients", i), r)
        for c in topology.clusters
        for i, r in enumerate(c.recipients)
    ]
    for path, recipient in stated:
        if not is_recipient(recipient):
            yield Problem(
                topology.document.place(*path),
                "is no age recipient: its checksum is wrong, or it is no point to share a secret"
                " with",
                "copy it once more, as a whole",
            )


def warnings(topology: Topology, sealing: Mapping[str, Any]) -> Iterator[Problem]:
    """Clusters of which one opens the secrets of another; `sealing` are the certificates of the
    Sealed Secrets controllers.
    """
    if sealing:
        yield from _same_controller(topology, sealing)
    if topology.store != "sops":
        return
    owners: dict[str, str] = {}
    for cluster in topology.clusters:
        place = topology.document.place("contexts", cluster.context, "recipients")
        fix = "give every cluster a key of its own (`age-keygen`)"
        # Argo CD opens the secrets of all clusters by an identity that none of them has.
        if (
            not cluster.recipients
            and len(topology.clusters) > 1
            and topology.delivery.tool != "argocd"
        ):
            what = (
                f"{shown(cluster.context)} has no recipient of its own: it opens its secrets by a"
                " key that opens those of all clusters"
            )
            yield Problem(cluster.place, what, fix, "recipient-shared")
        for recipient in cluster.recipients:
            first = owners.setdefault(recipient, cluster.context)
            if first != cluster.context:
                yield Problem(
                    place,
                    f"shares a recipient with {shown(first)}: each opens the CA key of the other",
                    fix,
                    "recipient-shared",
                )
            if recipient in topology.recipients:
                yield Problem(
                    place,
                    "is one of secrets.recipients too, and opens the secrets of all clusters",
                    fix,
                    "recipient-shared",
                )


def _same_controller(topology: Topology, sealing: Mapping[str, Any]) -> Iterator[Problem]:

    owners: dict[Any, str] = {}
    for cluster in topology.clusters:
        if cluster.name in sealing:
            first = owners.setdefault(
                sealing[cluster.name].key.public_numbers(), sealing_file(cluster.name)
            )
            if first != sealing_file(cluster.name):
                what = (
                    f"has the key of {first} too: either it is the wrong one, and nothing opens"
                    " here; or each controller opens the CA key of the other"
                )
                yield Problem(
                    Place(sealing_file(cluster.name)),
                    what,
                    f"fetch it anew: {command(cluster, '.')}",
                    "recipient-shared",
                )
