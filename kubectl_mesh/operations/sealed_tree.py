"""What the tree holds sealed already, and the store that a topology asks for."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from kubectl_mesh.credentials.accounts import SHARED_READER
from kubectl_mesh.credentials.logins import masked_login
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path, open_folder, prefix_places
from kubectl_mesh.model import (
    BUNDLE_FOLDER,
    CACERTS_PATH,
    REMOTE_SECRETS_PREFIX,
    STAGES,
    Expiry,
    FolderOnDisk,
    Json,
    Pending,
)
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.render.alerts import ALERTS_FILE, parse_token_dates
from kubectl_mesh.stores import store_of
from kubectl_mesh.stores.sealing import Sealing, new_key, read_key
from kubectl_mesh.stores.store import Store, StoreInputs
from kubectl_mesh.text import marked_text, mesh_command
from kubectl_mesh.topology.peers import list_peers
from kubectl_mesh.tree.compare import scan_folder
from kubectl_mesh.workdir.git_ignore import find_work_tree, read_committed_files
from kubectl_mesh.x509.layout import CSR_FILE, SEAL_KEY

Logins = Mapping[tuple[str, str], Mapping[str, Json]]
RESEAL_FIX = (
    f"put it back; or have a new one made by `{mesh_command('render --reseal')}`, with all keys and"
    " credentials here"
)


class SealedTree:
    """The tree in `out` as earlier runs sealed it; nothing is read for a store that does not
    encrypt.

    `reseal` seals everything again, with a new seal key. `store` replaces the topology's store.
    """

    def __init__(
        self, inputs: CheckedInputs, out: str, *, reseal: bool = False, store: Store | None = None
    ) -> None:
        self.inputs, self.out, self.reseal, self._store = inputs, out, reseal, store
        self.encrypts = store_of(inputs.topology).ENCRYPTS
        self.new_seal_key: bytes | None = None
        """The new seal key to write; None if the existing one stays."""

    @cached_property
    def sealed_digests(self) -> dict[str, Mapping[str, str]]:
        """What is sealed, by directory and path."""
        found = {}
        for name in (
            (*(c.name for c in self.inputs.topology.clusters), BUNDLE_FOLDER)
            if self.encrypts
            else ()
        ):
            disk = self.read_folder(name)
            if disk is not None and disk.sealed_digests and disk.cluster == name:
                found[name] = disk.sealed_digests
        return found

    def read_folder(self, directory: str) -> FolderOnDisk | None:
        """A directory on disk; None if it does not exist."""
        top = open_folder(self.out)
        if top is None:
            return None
        try:
            with prefix_places(self.out):
                folder = open_folder(directory, top)
            if folder is None:
                return None
            try:
                with prefix_places(f"{self.out}/{directory}"):
                    return scan_folder(folder)
            finally:
                os.close(folder)
        finally:
            os.close(top)

    def list_pending(self) -> list[Pending]:
        """What clusters wait for before they may have a control plane, as far as it is a matter of
        the store.
        """
        topology, where = self.inputs.topology, self.inputs.directory
        waiting = store_of(topology).pending_certificates(topology, self.inputs.sealing, where)
        return [*waiting, *self._list_unsigned()]

    def _list_unsigned(self) -> list[Pending]:
        """The clusters whose intermediate somebody else has to sign."""
        if not self.inputs.topology.issuer_kind.takes_requests:
            return []
        where, kept = self.inputs.directory, self.inputs.certs_files
        found = []
        for cluster in self.inputs.topology.clusters:
            base = f"intermediate-{cluster.name}"
            if cluster.primary is not None or f"{base}/ca-cert.pem" in kept:
                continue
            chosen = "" if where in (".", "") else f" -C {shlex.quote(where)}"
            command = mesh_command(f"certs csr{chosen} {cluster.name}")
            if f"{base}/{CSR_FILE}" in kept:
                command = (
                    mesh_command(f"certs import{chosen} {cluster.name} FILE")
                    + f"  # the certificate that came back for certs/{base}/{CSR_FILE}"
                )
            what = (
                f"its intermediate's certificate ({join_path(where, f'certs/{base}/ca-cert.pem')})"
            )
            found.append(
                Pending("certificate", cluster.name, what, "all but its namespace", command)
            )
        return found

    def find_keyless_clusters(self) -> frozenset[str]:
        """The clusters whose intermediate is sealed, so that its key need not be here."""
        if store_of(self.inputs.topology).OUTSIDE:
            return frozenset(c.name for c in self.inputs.topology.clusters)
        bare = [
            c.name
            for c in self.inputs.topology.clusters
            if f"intermediate-{c.name}/ca-key.pem" not in self.inputs.certs_files
        ]
        return (
            frozenset(name for name in bare if CACERTS_PATH in self.sealed_digests.get(name, {}))
            if self.encrypts and bare
            else frozenset()
        )

    def merge_logins(self) -> tuple[Logins, frozenset[tuple[str, str]]]:
        """The logins that are here, with the public part of those that are sealed; and which these
        are.
        """
        topology = self.inputs.topology
        outside = store_of(topology).OUTSIDE
        if not self.encrypts and not outside:
            return self.inputs.logins, frozenset()
        holders: dict[tuple[str, str], list[str]] = {}
        for holder, peers in list_peers(topology).items():
            for peer in peers:
                holders.setdefault(
                    (peer, holder if topology.reader_per_peer else SHARED_READER), []
                ).append(holder)
        clusters = {c.name: c for c in topology.clusters}
        if outside:
            return {key: masked_login(clusters[key[0]].credential) for key in holders}, frozenset(
                holders
            )
        missing = [key for key in holders if key not in self.inputs.logins]
        if not missing:
            return self.inputs.logins, frozenset()
        absent = {}
        for peer, reader in missing:
            there = [
                f"{peer}.yaml" in self.sealed_digests.get(BUNDLE_FOLDER, {}),
                *(
                    f"{REMOTE_SECRETS_PREFIX}{peer}.yaml" in self.sealed_digests.get(h, {})
                    for h in holders[peer, reader]
                ),
            ]
            if any(there) and ("token", peer) not in self.inputs.broken_inputs:
                absent[peer, reader] = masked_login(clusters[peer].credential)
        return {**self.inputs.logins, **absent}, frozenset(absent)

    def read_token_dates(self, absent: frozenset[tuple[str, str]]) -> dict[str, Expiry]:
        """The expiry dates of sealed tokens that are not here, from the rendered alerts."""
        if not absent or self.inputs.topology.alerts is None:
            return {}

        found = {}
        for name in sorted({name for name, _ in absent}):
            disk = self.read_folder(name)
            body = disk.files.get(f"{STAGES[2]}/{ALERTS_FILE}") if disk is not None else None
            for id_, (until, made, what, fix) in (
                parse_token_dates(body[0].decode("utf-8", "replace")).items()
                if body is not None
                else ()
            ):
                found[id_] = Expiry(until, id_, "token", name, what, fix, made)
        return found

    def open_store(self) -> Store:
        """The store; with a new seal key where nothing is sealed yet."""
        if self._store is not None:
            return self._store
        topology = self.inputs.topology
        key = self._read_seal_key() if self.encrypts else None
        # Who seals all anew keeps nothing, so what has no key or credential here is lacking.
        read = (lambda _: None) if self.reseal else self.read_folder
        inputs = StoreInputs(topology, self.out, key, read, self.inputs.sealing)
        return store_of(topology).open_store(inputs)

    def _read_seal_key(self) -> bytes | None:
        body = None if self.reseal else self.inputs.certs_files.get(SEAL_KEY)
        if body is None and self.sealed_digests and not self.reseal:
            return None
        if body is None:
            body = self.new_seal_key = new_key()
        key = read_key(body)
        if key is None:
            place = Place(join_path(self.inputs.directory, f"certs/{SEAL_KEY}"))
            raise MeshError(
                [
                    Problem(
                        place,
                        "is no seal key, which is 64 hexadecimal digits",
                        RESEAL_FIX,
                        "sealed-current",
                        code="seal-key-invalid",
                    )
                ]
            )
        return key

    def unsealable_problems(self, store: Sealing) -> list[Problem]:
        """Files that must be sealed and cannot be; the fix restores a file from git if the last
        commit has it.
        """
        if not store.touched or not os.path.isdir(self.out):
            return store.lacking

        try:
            bodies = read_committed_files(
                self.out, list(store.touched), self.inputs.machine.environment
            )
        except MeshError:
            return store.lacking
        good = {
            path
            for path, body in bodies.items()
            if hashlib.sha256(body).hexdigest() == store.touched[path]
        }
        here = find_work_tree(".") == find_work_tree(self.out)

        def fix(path: str) -> str:
            where = (
                f"git checkout HEAD -- {shlex.quote(f'{self.out}/{path}')}"
                if here
                else f"git -C {shlex.quote(self.out)} checkout HEAD -- {shlex.quote(path)}"
            )
            return f"git has it as it was sealed: {where}; else "

        return [
            (
                replace(p, fix=fix(path) + marked_text(p.fix))
                if (path := p.where.file.removeprefix(f"{self.out}/")) in good
                else p
            )
            for p in store.lacking
        ]

    def seal_key_problems(self, store: object) -> Iterator[Problem]:
        """Warnings about sealed files that cannot be verified without the seal key."""
        if isinstance(store, Sealing) and store.unproven:
            what = (
                "is not here: whether what is sealed still is what the keys and credentials here"
                " say, nobody can tell"
            )
            yield Problem(
                Place(f"certs/{SEAL_KEY}"),
                what,
                RESEAL_FIX,
                "sealed-proven",
                code="seal-key-missing",
            )
