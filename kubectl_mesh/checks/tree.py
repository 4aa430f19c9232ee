"""The checks of the rendered tree as a whole: what a render would change, what was edited, what is
sealed.
"""

from collections.abc import Iterable, Iterator

from kubectl_mesh.checks.cacerts import judge_cacerts
from kubectl_mesh.checks.check import LeftoverCheck, StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, Finding, InputFacts, Needs, TreeContext
from kubectl_mesh.checks.drift import Drift, FolderDrift
from kubectl_mesh.checks.pending import PendingCheck
from kubectl_mesh.checks.unknown_answers import version_unknown
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import MESH_LOCK
from kubectl_mesh.text import mesh_command, single_line, work_path

_RENDER = f"run `{mesh_command('render')}`"
_REMAKE = f"{_RENDER}, which makes it anew"


class TreeCurrent(LeftoverCheck):
    id = "tree-current"
    category = "tree"
    severity = ERROR
    sentence = "the rendered tree is what a render would make"
    prevents = "clusters that run what no review has seen"
    remedy = f"Run `{mesh_command('render')}`, read the diff, and commit it."
    needs = Needs.COMPARISON

    def find_in_tree(self, tree: TreeContext) -> Iterable[Finding]:
        return self.select_own(tree.run_once(judge_cacerts))

    def find_leftovers(self, drift: Drift) -> Iterator[Finding]:
        if drift.is_refused:
            return
        if drift.makes_certificates:
            what = "certificates are missing that a render would make"
            yield self._outdated(Place("certs"), what, "certificates-not-made")
        for folder in drift.folders:
            yield from self._find_in_folder(folder)

    def _find_in_folder(self, folder: FolderDrift) -> Iterator[Finding]:
        if folder.change.action == "create":
            yield self._outdated(folder.place, "is not rendered yet", "cluster-not-rendered")
        elif folder.change.action == "remove":
            what, fix = "belongs to no cluster of the topology", f"{_RENDER}, which removes it"
            yield self._outdated(folder.place, what, "directory-of-no-cluster", fix)
        elif folder.change.repairs_lock:
            yield self._outdated(
                folder.file(MESH_LOCK), "cannot be read", "lock-unreadable", _REMAKE
            )
        elif folder.outdated:
            first, *more = [p for p in folder.outdated if p != MESH_LOCK] or folder.outdated
            some = first + (f" and {len(more)} more" if more else "")
            what = f"is not what a render would make: {some} would change"
            yield self._outdated(folder.place, what, "directory-outdated")

    def _outdated(self, where: Place, what: str, code: str, fix: str = _RENDER) -> Finding:
        return Finding(self.severity, Problem(where, what, fix, self.id, code=code))


class TreeEdited(LeftoverCheck):
    id = "tree-edited"
    category = "tree"
    severity = ERROR
    sentence = "no file of the tree was edited by hand"
    prevents = "an edit that the next render undoes"
    remedy = (
        "State in topology.yaml or base.yaml what the edit was for, and render, which makes the"
        " file anew."
    )
    needs = Needs.COMPARISON

    def find_leftovers(self, drift: Drift) -> Iterator[Finding]:
        for folder in () if drift.is_refused else drift.folders:
            for change in folder.edited:
                what, code = (
                    ("was deleted by hand", "file-deleted-by-hand")
                    if change.action == "create"
                    else ("was edited by hand", "file-edited-by-hand")
                )
                problem = Problem(folder.file(change.path), what, _REMAKE, self.id, code=code)
                yield Finding(self.severity, problem)


class TreeStale(LeftoverCheck):
    id = "tree-stale"
    category = "tree"
    severity = ERROR
    sentence = "no file is left in the tree that a render no longer makes"
    prevents = "an object that stays in the cluster, or comes back with the next apply"
    remedy = (
        "Render, which removes the file. Then delete the object from the cluster (`kubectl apply`"
        " deletes nothing; Argo CD and Flux delete it on merge)."
    )
    needs = Needs.COMPARISON

    def find_leftovers(self, drift: Drift) -> Iterator[Finding]:
        fix = f"{_RENDER}, which removes it; what `kubectl apply` made of it is deleted by hand"
        for folder in () if drift.is_refused else drift.folders:
            for path in folder.stale if folder.change.action not in ("create", "remove") else ():
                where, what = folder.file(path), "is no longer rendered"
                problem = Problem(where, what, fix, self.id, code="file-no-longer-rendered")
                yield Finding(self.severity, problem)


class TreeWithdrawn(StageCheck):
    id = "tree-withdrawn"
    category = "tree"
    severity = ERROR
    sentence = "no remote secret in use would go for want of a token or a server"
    prevents = "a cluster that its peers suddenly do not see"
    remedy = (
        f"Put back the token or the server; or take the cluster out by `{mesh_command('remove')}`."
    )
    needs = Needs.COMPARISON


class TreeInUse(StageCheck):
    id = "tree-in-use"
    category = "tree"
    severity = ERROR
    sentence = (
        "nothing would leave the tree of a cluster while another cluster uses it: a reader and its"
        " token, a gateway, an address, an exposed istiod"
    )
    prevents = (
        "`Unauthorized` in every istiod that reads the cluster, or `no healthy upstream` between"
        " networks"
    )
    remedy = "Take the steps that the finding gives, in their order."
    needs = Needs.COMPARISON


class IdentityChange(StageCheck):
    id = "identity-change"
    category = "tree"
    severity = ERROR
    sentence = (
        "no running cluster would get another name, network, namespace, trust domain, data plane,"
        " control plane or revision in one step"
    )
    prevents = (
        "connections between workloads of the old and of the new identity that fail, in whatever"
        " order clusters apply the change"
    )
    remedy = "Take the steps that the finding gives, in their order."
    needs = Needs.COMPARISON


class SecretChange(StageCheck):
    id = "secret-change"
    category = "tree"
    severity = ERROR
    sentence = (
        "no remote secret changes for an istiod that loses the cluster by that; where it cannot be"
        " known, it is a warning"
    )
    prevents = (
        "`no healthy upstream` for a cluster that runs, until istiod restarts (Istio's issue"
        " 61043); `istioctl proxy-config endpoints` shows it"
    )
    remedy = (
        "Upgrade Istio to 1.30.4 or later first; or render `--with-restarts`, and restart istiod"
        " right after each apply."
    )
    needs = Needs.COMPARISON

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class SealedCurrent(StageCheck):
    id = "sealed-current"
    category = "tree"
    severity = ERROR
    sentence = "everything that is sealed is what it should be, or can be sealed anew here"
    prevents = "a cluster that keeps an old key or token, since nobody here has the new one"
    remedy = "Render where the keys and credentials are."
    needs = Needs.COMPARISON


class SealedProven(StageCheck):
    id = "sealed-proven"
    category = "tree"
    severity = WARNING
    sentence = (
        "the seal key is there where keys and tokens are, so that what is sealed can be compared"
        " with them"
    )
    prevents = "a cluster that keeps an old key or token, and nobody is told"
    remedy = (
        f"Put back {work_path('certs/seal-key')}, or seal everything anew:"
        f" `{mesh_command('render --reseal')}`."
    )
    needs = Needs.COMPARISON


class RecipientShared(StageCheck):
    id = "recipient-shared"
    category = "tree"
    severity = WARNING
    sentence = "no cluster's recipient or controller opens the secrets of another"
    prevents = "who breaks into one cluster has the CA key of another, from git"
    remedy = (
        "Give each cluster an age identity of its own, and state its recipient under the cluster."
    )
    needs = Needs.COMPARISON


class SealingCertificate(StageCheck):
    id = "sealing-certificate"
    category = "tree"
    severity = ERROR
    sentence = "what is sealed is sealed for a controller that runs"
    prevents = "`no key could decrypt secret`, and an istiod that waits for cacerts"
    remedy = (
        "Fetch the controller's certificate again by the command that the finding gives, and"
        " render."
    )
    needs = Needs.COMPARISON


class SealingExpiring(StageCheck):
    id = "sealing-expiring"
    category = "tree"
    severity = WARNING
    sentence = "no controller's certificate is about to expire"
    prevents = "a render that has to wait for a new certificate"
    remedy = "Fetch the controller's certificate again; it makes a new one every 30 days."
    needs = Needs.COMPARISON


class SealingPending(PendingCheck):
    id = "sealing-pending"
    category = "tree"
    severity = WARNING
    sentence = "the certificate of every Sealed Secrets controller is there"
    prevents = "a cluster that is not rendered"
    remedy = "Fetch the certificate by the command that the finding gives, and render."
    needs = Needs.COMPARISON


class TreeForeign(LeftoverCheck):
    id = "tree-foreign"
    category = "tree"
    severity = WARNING
    sentence = "nothing but kubectl mesh's files is in the tree"
    prevents = "a file that one believes to be rendered"
    remedy = "Move it out of the tree: whoever finds it there takes it for rendered."
    needs = Needs.COMPARISON

    def find_leftovers(self, drift: Drift) -> Iterator[Finding]:
        places = [f.file(single_line(path)) for f in drift.folders for path in f.foreign]
        for place in (*places, *drift.foreign_entries):
            what, fix = "is not of kubectl mesh's making", "move it elsewhere"
            problem = Problem(place, what, fix, self.id, code="file-not-rendered")
            yield Finding(self.severity, problem)
