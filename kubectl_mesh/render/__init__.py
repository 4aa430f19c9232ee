"""render: a `Plan`, its `Pki` and a target become a `Tree`, each directory with the lock that lists
it.

A cluster's directory has three stages, each a kustomization: what it trusts, its control plane (the
target's affair), the mesh.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.model import (
    BUNDLE_FOLDER,
    MESH_LOCK,
    STAGES,
    Document,
    File,
    Folder,
    Member,
    Pki,
    Plan,
    SecretManifest,
    Tree,
)
from kubectl_mesh.render import alerts, gateways, reader_accounts, remote_secrets, trust
from kubectl_mesh.render.kustomization import Texts, list_resources
from kubectl_mesh.render.lock import LockBuilder, LockContent
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import store_of
from kubectl_mesh.stores.store import Store
from kubectl_mesh.targets.target import Target
from kubectl_mesh.tree.lock_file import LockFile, dump_lock
from kubectl_mesh.yaml_io.templates import Manifests


class RenderInputs(NamedTuple):
    """What a tree is made from."""

    plan: Plan
    base: Mapping[str, Document]
    pki: Pki
    target: Target


def render_tree(
    mesh: RenderInputs, manifests: Manifests, store: Store, only: frozenset[str] | None = None
) -> Tree:
    """Every file of every cluster, or of those in `only`, and of the mesh as a whole; texts that
    clusters share are one object.
    """
    folders = _Folders(store)
    locks = LockBuilder(mesh.plan, mesh.pki, mesh.target.KIND)
    tree: dict[str, Folder] = {}
    for member, texts in _list_cluster_files(mesh, manifests, only):
        name = member.cluster.name
        content = folders.add_directory(name, texts)
        tree[name] = _add_lock(content, locks.cluster_lock(member, content))
    for name, texts in _list_mesh_files(mesh, manifests):
        content = folders.add_directory(name, texts)
        tree[name] = _add_lock(content, locks.mesh_lock(name, content))
    return tree


class _Folders:
    """The directories of a tree, in which equal files are one object."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[tuple[bytes, bool], File] = {}

    def add_directory(self, directory: str, texts: Texts) -> LockContent:
        """The files of a directory, as the store has them, and what its lock says of them."""
        files: dict[str, File] = {}
        sealed: dict[str, str] = {}
        if any(isinstance(text, SecretManifest) for text in texts.values()):
            texts = {**texts, **self.store.extra_files(directory)}
        for path in sorted(texts):
            text = texts[path]
            if isinstance(text, SecretManifest):
                body, made_from = self.store.render_file(directory, path, text)
                if made_from is not None:
                    sealed[path] = made_from
                key = (body, self.store.private)
            else:
                key = (text.encode(), False)
            if key not in self._files:
                self._files[key] = File(*key, hashlib.sha256(key[0]).hexdigest())
            files[path] = self._files[key]
        return LockContent(files, sealed, self.store.lock_fields(directory) if sealed else {})


def _add_lock(content: LockContent, lock: LockFile) -> Folder:
    body = dump_lock(lock)
    lock_file = File(body, is_private=False, digest=hashlib.sha256(body).hexdigest())
    return {**content.files, MESH_LOCK: lock_file}


def _list_cluster_files(
    mesh: RenderInputs, manifests: Manifests, only: Collection[str] | None
) -> Iterator[tuple[Member, Texts]]:
    """For each cluster its files."""
    plan, target = mesh.plan, mesh.target
    control_plane = target.control_plane(plan, mesh.base)
    secrets = remote_secrets.RemoteSecrets(plan, manifests)
    legacy = not target.plan_traits(plan.topology).finds_gateways_by_label
    members = {
        name: member for name, member in plan.members.items() if only is None or name in only
    }
    control_planes = {
        name: tuple(control_plane(member))
        for name, member in members.items()
        if not member.trust_stage_only
    }
    for name, member in members.items():
        stages = [Stage(), Stage(), Stage()]
        if not member.trust_stage_only:
            for file, text in control_planes[name]:
                stages[1].add_file(file, text)
            gateways.add_gateways(stages[2], plan, member, manifests, legacy=legacy)
            reader_accounts.add_readers(stages[2], plan, member, manifests, legacy=legacy)
            secrets.add_to_stage(stages[2], member)
            if plan.topology.alerts is not None:
                alerts.add_alerts(
                    stages[2], plan, plan.topology.alerts, member, mesh.pki, manifests
                )
        accounts = target.component_accounts(mesh.base, plan.topology, member.cluster)
        trust.add_trust(stages[0], plan, member, mesh.pki, manifests, accounts)
        yield member, _combine_stages(mesh, stages, manifests)


def _combine_stages(mesh: RenderInputs, stages: list[Stage], manifests: Manifests) -> Texts:
    """The files of the stages, each with its kustomization, and the kustomization of them all."""
    topology, target = mesh.plan.topology, mesh.target
    delivery = delivery_of(topology)
    files: dict[str, str | SecretManifest] = {}
    applied_stages = []
    for stage, content in zip(STAGES, stages, strict=True):
        files |= {f"{stage}/{file}": text for file, text in content.files.items()}
        is_plane = stage == STAGES[1]
        if not content.resources or (is_plane and not target.APPLIED):
            continue
        kustomization = list_resources(topology, content.resources, content.files, manifests)
        files |= {f"{stage}/{file}": text for file, text in kustomization.items()}
        # What is for the cluster of Argo CD has no place in the whole of another.
        if kustomization and not (is_plane and target.HUB and delivery.CENTRAL):
            applied_stages.append(stage)
    is_encrypted = store_of(topology).NEEDS_DECRYPTION and any(
        isinstance(text, SecretManifest) for text in files.values()
    )
    # kubectl cannot decrypt cacerts, and an istiod that starts without it signs by itself: nothing
    # brings all stages at once.
    if not is_encrypted or delivery.DECRYPTS:
        files["kustomization.yaml"] = manifests.render(
            "kustomization.yaml", resources=tuple(applied_stages), generators=()
        )
    return files


def _list_mesh_files(mesh: RenderInputs, manifests: Manifests) -> Iterator[tuple[str, Texts]]:
    """The directories that belong to the mesh as a whole."""
    plan = mesh.plan
    if plan.topology.has_remote_secret_bundle:
        secrets = remote_secrets.build_bundle(plan, manifests)
        kustomization = (
            list_resources(plan.topology, secrets, secrets, manifests) if secrets else {}
        )
        yield BUNDLE_FOLDER, {**secrets, **kustomization}
    delivery = delivery_of(plan.topology)
    if delivery.DIRECTORY:
        yield delivery.DIRECTORY, dict(delivery.list_objects(plan, hub=mesh.target.HUB))
