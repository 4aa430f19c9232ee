"""How what is secret stands in the tree. A store is a class of its own (`store.Store`) and a line
in `STORES`.

A store that encrypts keeps what is in the tree already wherever it is still right, and can tell so
without any key that decrypts: from `certs/seal-key` where the secrets are here too, from the lock
where they are not.
"""

from collections.abc import Mapping

from kubectl_mesh.model import Json, Topology
from kubectl_mesh.stores.external import External
from kubectl_mesh.stores.plain import Plain
from kubectl_mesh.stores.sealed import SealedSecrets
from kubectl_mesh.stores.sops import Sops
from kubectl_mesh.stores.store import Store
from kubectl_mesh.yaml_io.lookup import text_at

STORES: Mapping[str, type[Store]] = {
    Plain.NAME: Plain,
    Sops.NAME: Sops,
    SealedSecrets.NAME: SealedSecrets,
    External.NAME: External,
}
"""Every store by the name that topology.yaml has for it."""


def find_store(value: Json) -> type[Store]:
    """The store that holds what is secret in an object: by its kind, else by what the store adds to
    a Secret, else in clear.
    """
    kind = text_at(value, "kind")
    if kind != Store.OBJECT_KIND:
        for store in STORES.values():
            if kind == store.OBJECT_KIND:
                return store
    if isinstance(value, dict):
        for store in STORES.values():
            if store.MARK and store.MARK in value:
                return store
    return Plain


def store_of(topology: Topology) -> type[Store]:
    """The store of a topology."""
    return STORES[topology.store]
