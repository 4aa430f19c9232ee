"""The kustomizations of the stages."""

from collections.abc import Iterable, Mapping

from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.delivery.delivery import EncryptedResources
from kubectl_mesh.model import SecretManifest, Topology
from kubectl_mesh.stores import store_of
from kubectl_mesh.yaml_io.templates import Manifests

Texts = Mapping[str, str | SecretManifest]
"""The files of a directory before they are in the tree, by path."""


def list_resources(
    topology: Topology, resources: Iterable[str], files: Texts, manifests: Manifests
) -> dict[str, str]:
    """The files that list those of a folder. What SOPS encrypted is listed as the tool that applies
    the tree decrypts it.
    """
    secret_paths = (
        [path for path in resources if isinstance(files.get(path), SecretManifest)]
        if store_of(topology).NEEDS_DECRYPTION
        else []
    )
    # Those of a stage without remote secrets are the same in most clusters.
    text = (
        manifests.render_once
        if any(path.startswith("remote-secrets/") for path in files)
        else manifests.render
    )
    encrypted = (
        delivery_of(topology).list_encrypted(secret_paths) if secret_paths else EncryptedResources()
    )
    plain_paths = tuple(
        path for path in resources if path not in secret_paths or path in encrypted.listed
    )
    generators = (
        {encrypted.generator: text("ksops.yaml", files=encrypted.files)}
        if encrypted.generator
        else {}
    )
    if secret_paths and not plain_paths and not generators:
        return {}
    kustomization = text("kustomization.yaml", resources=plain_paths, generators=tuple(generators))
    return {"kustomization.yaml": kustomization, **generators}
