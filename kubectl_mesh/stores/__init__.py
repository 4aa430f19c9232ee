"""How what is secret stands in the tree. A store is a class of its own (`store.Store`) and a line
in `STORES`.

A store that encrypts keeps what is in the tree already wherever it is still right, and can tell so
without any key that decrypts: from `certs/seal-key` where the secrets are here too, from the lock
where they are not.
"""

from collections.abc import Mapping

from kubectl_mesh.model import Topology
from kubectl_mesh.stores.external import External
from kubectl_mesh.stores.plain import Plain
from kubectl_mesh.stores.sealed import SealedSecrets
from kubectl_mesh.stores.sops import Sops
from kubectl_mesh.stores.store import Store

STORES: Mapping[str, type[Store]] = {
    Plain.NAME: Plain,
    Sops.NAME: Sops,
    SealedSecrets.NAME: SealedSecrets,
    External.NAME: External,
}
"""Every store by the name that topology.yaml has for it."""


def store_of(topology: Topology) -> type[Store]:
    """The store of a topology."""
    return STORES[topology.store]
