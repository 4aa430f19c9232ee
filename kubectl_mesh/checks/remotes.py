"""The checks of the remote secrets in a tree: one for every edge, under one name, to the right
server, by the right login.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_mesh.checks.check import ContentCheck, Unknown
from kubectl_mesh.checks.context import ERROR, Finding, InputFacts, Needs, TreeContext
from kubectl_mesh.checks.unknown_answers import sealed_unknown
from kubectl_mesh.errors import Place
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.observed.mesh_state import RemoteSecret
from kubectl_mesh.stores import STORES
from kubectl_mesh.text import mesh_command, value_text, work_path

_BLIND = "istiod of the one cluster has no endpoints of the other: `no healthy upstream`"


_RENDER = f"run `{mesh_command('render')}`"


@dataclass(frozen=True, slots=True)
class SecretInTree:
    """What a directory holds for one cluster."""

    owner: str
    """The cluster that most names of the remote secret name."""
    secret: RemoteSecret | None
    """None if the right one is unchanged, and others are found next to it."""
    duplicates: tuple[RemoteSecret, ...]
    expected: RemoteSecret | None
    """As a render makes it."""
    namespace: str | None
    """Where the istiod that reads it looks; None if several do."""


@dataclass(frozen=True, slots=True)
class SecretFolder:
    """The remote secrets of one directory."""

    path: str
    """With the directory, and a slash at its end."""
    expected: frozenset[str]
    """The clusters that must be discovered from there."""
    secrets: tuple[SecretInTree, ...]


def group_secrets(tree: TreeContext) -> tuple[SecretFolder, ...]:
    """The remote secrets of the tree, by directory and by the cluster that they are for."""
    namespaces = {c.name: c.namespace for c in tree.topology.clusters}
    folders = []
    for name, cluster in tree.state.clusters.items():
        if name in tree.peers:
            wanted = () if tree.topology.has_remote_secret_bundle else tree.peers[name]
            folder = SecretFolder(f"{name}/{REMOTE_SECRETS_PREFIX}", frozenset(wanted), ())
            folders.append(
                _group_folder(tree, name, folder, cluster.remote_secrets, namespaces[name])
            )
    bundle = tree.state.shared_directories.get(BUNDLE_FOLDER)
    if bundle is not None:
        discovered = frozenset(n for peers in tree.peers.values() for n in peers)
        folder = SecretFolder(f"{BUNDLE_FOLDER}/", discovered, ())
        folders.append(_group_folder(tree, BUNDLE_FOLDER, folder, bundle.remote_secrets, None))
    return tuple(folders)


def _group_folder(
    tree: TreeContext,
    holder: str,
    folder: SecretFolder,
    secrets: Sequence[RemoteSecret],
    namespace: str | None,
) -> SecretFolder:
    owners: dict[str, list[RemoteSecret]] = {}
    for secret in secrets:
        owners.setdefault(_find_owner(secret, folder.expected), []).append(secret)
    expected = _expected_secrets(tree, holder)
    held = []
    for owner, mine in owners.items():
        own = f"{folder.path}{owner}.yaml"
        first, *more = sorted(mine, key=lambda s: (s.file != own, s.file))
        is_own_elsewhere = own in tree.unchanged_files and first.file != own
        held.append(
            SecretInTree(
                owner,
                None if is_own_elsewhere else first,
                (first, *more) if is_own_elsewhere else tuple(more),
                expected.get(owner),
                namespace,
            )
        )
    return replace(folder, secrets=tuple(held))


def _expected_secrets(tree: TreeContext, holder: str) -> Mapping[str, RemoteSecret]:
    if tree.expected_state is None:
        return {}
    made = tree.expected_state.clusters.get(holder) or tree.expected_state.shared_directories.get(
        holder
    )
    return {s.peer: s for s in made.remote_secrets} if made is not None else {}


def _file_stem(secret: RemoteSecret) -> str:
    return secret.file.rsplit("/", 1)[-1].removesuffix(".yaml")


def _list_titles(secret: RemoteSecret) -> dict[str, str | None]:
    """Every name that a remote secret has."""
    return {
        "data key": secret.peer,
        "metadata.name": secret.name.removeprefix("istio-remote-secret-"),
        "annotation networking.istio.io/cluster": secret.cluster_annotation,
        "file": _file_stem(secret),
    }


def _find_owner(secret: RemoteSecret, wanted: frozenset[str]) -> str:
    """Whose secret it is meant to be: the cluster that most of its names name."""
    counted = Counter(name for name in _list_titles(secret).values() if name in wanted)
    return (
        max(counted, key=lambda n: (counted[n], n == _file_stem(secret)))
        if counted
        else secret.peer
    )


class FolderCheck(ContentCheck):
    """A check of the remote secrets in each directory."""

    def find_in_tree(self, tree: TreeContext) -> Iterator[Finding]:
        for folder in tree.run_once(group_secrets):
            yield from self.find_in_folder(tree, folder)

    @abstractmethod
    def find_in_folder(self, tree: TreeContext, folder: SecretFolder) -> Iterator[Finding]:
        """What the check finds in one directory."""


class SecretCheck(FolderCheck):
    """A check of the remote secret of each cluster that must be discovered."""

    def find_in_folder(self, tree: TreeContext, folder: SecretFolder) -> Iterator[Finding]:
        for held in folder.secrets:
            if held.secret is not None and held.owner in folder.expected:
                yield from self.find_in_secret(tree, held, held.secret)

    @abstractmethod
    def find_in_secret(
        self, tree: TreeContext, held: SecretInTree, secret: RemoteSecret
    ) -> Iterator[Finding]:
        """What the check finds in one remote secret."""


class KubeconfigCheck(SecretCheck):
    """A check of the kubeconfig in each remote secret. What is encrypted says nothing of itself:
    the digests in the lock do, and a render compares them.
    """

    compares_inputs = True

    def find_in_secret(
        self, tree: TreeContext, held: SecretInTree, secret: RemoteSecret
    ) -> Iterator[Finding]:
        if STORES[secret.store].SHOWS_KUBECONFIGS:
            where = Place(secret.file, path=f"data.{secret.peer}")
            for what, code in self.find_faults(secret, held.expected):
                yield self.build_finding(tree, where, what, code)

    @abstractmethod
    def find_faults(
        self, secret: RemoteSecret, expected: RemoteSecret | None
    ) -> Iterator[tuple[str, str]]:
        """What is wrong, each with its code."""

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return sealed_unknown(inputs)


class RemoteMissing(FolderCheck):
    id = "remote-missing"
    category = "tree"
    severity = ERROR
    sentence = "there is a remote secret for every cluster that a cluster discovers"
    prevents = _BLIND
    remedy = "Render, which makes it; where the topology's `peers` is what changed, state it there."
    needs = Needs.INPUTS | Needs.CONTENT

    compares_inputs = True

    def find_in_folder(self, tree: TreeContext, folder: SecretFolder) -> Iterator[Finding]:
        for owner in sorted(folder.expected - {held.owner for held in folder.secrets}):
            file = f"{folder.path}{owner}.yaml"
            is_pending = tree.rendered_files is not None and file not in tree.rendered_files
            if file in tree.unchanged_files or is_pending:
                continue
            what, fix = f'is not there: "{owner}" is not discovered', f"{_RENDER}, which makes it"
            yield self.build_finding(tree, Place(file), what, "remote-secret-missing", fix)


class RemoteExtra(FolderCheck):
    id = "remote-extra"
    category = "tree"
    severity = ERROR
    sentence = "there is no remote secret but for the clusters that a cluster discovers"
    prevents = (
        "endpoints of a cluster that is no part of the mesh, or `Unauthorized` and an istiod that"
        " waits for it"
    )
    remedy = (
        "Render, which removes it. Then delete the Secret from the cluster (`kubectl apply` deletes"
        " nothing; Argo CD and Flux delete it on merge)."
    )
    needs = Needs.INPUTS | Needs.CONTENT

    compares_inputs = True

    def find_in_folder(self, tree: TreeContext, folder: SecretFolder) -> Iterator[Finding]:
        fix = f"{_RENDER}, which removes it, and delete the Secret from the cluster"
        for held in folder.secrets:
            if held.secret is None or held.owner in folder.expected:
                continue
            why, code = (
                ("is no cluster of the topology", "remote-secret-of-unknown-cluster")
                if held.owner not in tree.peers
                else ("is not among those that it discovers", "remote-secret-of-no-peer")
            )
            what = f"is for {value_text(held.owner)}, which {why}"
            yield self.build_finding(tree, Place(held.secret.file), what, code, fix)


class RemoteDouble(FolderCheck):
    id = "remote-double"
    category = "tree"
    severity = ERROR
    sentence = "no cluster is in two remote secrets of another"
    prevents = (
        "istiod: `cluster has already been registered`: the one that comes first counts, the other"
        " is passed over"
    )
    remedy = (
        "Take away the one that `render` did not make; if it is in the cluster, delete it there"
        " too."
    )
    needs = Needs.INPUTS | Needs.CONTENT

    def find_in_folder(self, tree: TreeContext, folder: SecretFolder) -> Iterator[Finding]:
        fix = f"take it away, and {_RENDER}"
        for held in folder.secrets:
            own = f"{folder.path}{held.owner}.yaml".rsplit("/", 1)[-1]
            what = f'is a second remote secret for "{held.owner}", beside {own}'
            for secret in held.duplicates:
                yield self.build_finding(
                    tree, Place(secret.file), what, "remote-secret-doubled", fix
                )


class RemoteNames(SecretCheck):
    id = "remote-names"
    category = "tree"
    severity = ERROR
    sentence = "a remote secret's data key, name, annotation and file name the same cluster"
    prevents = (
        "istiod knows the cluster by the data key alone: endpoints under a name that no subset,"
        " network or trust setting knows"
    )
    remedy = (
        "Render, which makes the file anew; a cluster gets another name by `clusterName` in"
        " topology.yaml."
    )
    needs = Needs.INPUTS | Needs.CONTENT

    compares_inputs = True

    def find_in_secret(
        self, tree: TreeContext, held: SecretInTree, secret: RemoteSecret
    ) -> Iterator[Finding]:
        owner = held.owner
        other = {title: name for title, name in _list_titles(secret).items() if name != owner}
        if not other:
            return
        said = ", ".join(
            f"its {title} {'is missing' if name is None else f'says {value_text(name)}'}"
            for title, name in other.items()
        )
        path = (
            f"data.{secret.peer}"
            if "data key" in other
            else "metadata.name"
            if "metadata.name" in other
            else "metadata.annotations"
        )
        where, what = Place(secret.file, path=path), f'is that of "{owner}", but {said}'
        yield self.build_finding(tree, where, what, "remote-secret-names-differ")


class RemoteSeen(SecretCheck):
    id = "remote-seen"
    category = "tree"
    severity = ERROR
    sentence = "every remote secret has the label and the namespace by which istiod finds it"
    prevents = "no line in istiod's log, and no endpoints of the cluster"
    remedy = "Render, which makes the file anew."
    needs = Needs.INPUTS | Needs.CONTENT

    def find_in_secret(
        self, tree: TreeContext, held: SecretInTree, secret: RemoteSecret
    ) -> Iterator[Finding]:
        if not secret.has_label:
            where = Place(secret.file, path="metadata.labels")
            what = 'has no label istio/multiCluster: "true", so istiod passes over it'
            yield self.build_finding(tree, where, what, "remote-secret-not-labelled")
        namespace = held.namespace
        if namespace is not None and secret.namespace not in (None, namespace):
            where = Place(secret.file, path="metadata.namespace")
            what = (
                f"is for the namespace {value_text(secret.namespace)}, and istiod looks in"
                f" {value_text(namespace)}"
            )
            yield self.build_finding(tree, where, what, "remote-secret-in-other-namespace")


class RemoteServer(KubeconfigCheck):
    id = "remote-server"
    category = "tree"
    severity = ERROR
    sentence = "every remote secret leads by https to the API server that the inputs name"
    prevents = (
        "istiod: `failed to list … connection refused`, or `x509: certificate is valid for …`"
    )
    remedy = "State the right server in topology.yaml (`contexts.CTX.server`) and render."
    needs = Needs.INPUTS | Needs.CONTENT

    def find_faults(
        self, secret: RemoteSecret, expected: RemoteSecret | None
    ) -> Iterator[tuple[str, str]]:
        server = secret.server
        if server is None:
            yield "names no server", "server-missing"
        elif expected is not None and (server, secret.tls_server_name) == (
            expected.server,
            expected.tls_server_name,
        ):
            return  # what the inputs say is judged there
        elif not server.startswith("https://") or url_fault(server):
            yield "leads to its server by something else than an https URL", "server-url-invalid"
        elif is_loopback(server):
            what = "leads to a loopback address, which is another cluster's own"
            yield what, "server-loopback"
        elif expected is not None:
            different = (
                f"{value_text(server)}, not {value_text(expected.server)}"
                if server != expected.server
                else "another tls-server-name"
            )
            yield f"leads to {different}, as the inputs say", "server-differs"


class RemoteCa(KubeconfigCheck):
    id = "remote-ca"
    category = "tree"
    severity = ERROR
    sentence = "every remote secret holds the CA of that server"
    prevents = "istiod: `x509: certificate signed by unknown authority`"
    remedy = f"Put the CA of the API server into {work_path('clusters/NAME.crt')} and render."
    needs = Needs.INPUTS | Needs.CONTENT

    def find_faults(
        self, secret: RemoteSecret, expected: RemoteSecret | None
    ) -> Iterator[tuple[str, str]]:
        if secret.is_insecure or secret.ca_digest is None:
            yield "holds no CA by which the server is verified", "server-ca-missing"
        elif expected is not None and secret.ca_digest != expected.ca_digest:
            yield "holds another CA of the server than the inputs", "server-ca-differs"


class RemoteLogin(KubeconfigCheck):
    id = "remote-login"
    category = "tree"
    severity = ERROR
    sentence = "every remote secret logs in by the credential that the inputs hold"
    prevents = "istiod: `Unauthorized`, and no endpoints of the cluster"
    remedy = (
        f"Where the one in {work_path('credentials/')} is right, render; else fetch the one that is"
        " right into it first."
    )
    needs = Needs.COMPARISON | Needs.CONTENT

    def find_faults(
        self, secret: RemoteSecret, expected: RemoteSecret | None
    ) -> Iterator[tuple[str, str]]:
        if expected is not None and (
            secret.login_kind != expected.login_kind or secret.login_digest != expected.login_digest
        ):
            yield "logs in by another credential than the one that is here", "login-differs"
