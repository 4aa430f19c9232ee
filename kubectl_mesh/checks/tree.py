"""The checks of the rendered tree as a whole: what a render would change, what was edited, what is
sealed.
"""

from collections.abc import Container, Sequence

from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import LOCK, FolderChange
from kubectl_mesh.text import one_line

CHECKS = (
    Check(
        "tree-current",
        "tree",
        ERROR,
        "the rendered tree is what a render would make",
        "clusters that run what no review has seen",
        "Run `kubectl mesh render`, read the diff, and commit it.",
    ),
    Check(
        "tree-edited",
        "tree",
        ERROR,
        "no file of the tree was edited by hand",
        "an edit that the next render undoes",
        "State in topology.yaml or base.yaml what the edit was for, and render, which makes the"
        " file anew.",
    ),
    Check(
        "tree-stale",
        "tree",
        ERROR,
        "no file is left in the tree that a render no longer makes",
        "an object that stays in the cluster, or comes back with the next apply",
        "Render, which removes the file. Then delete the object from the cluster (`kubectl apply`"
        " deletes nothing; Argo CD and Flux delete it on merge).",
    ),
    Check(
        "tree-withdrawn",
        "tree",
        ERROR,
        "no remote secret in use would go for want of a token or a server",
        "a cluster that its peers suddenly do not see",
        "Put back the token or the server; or take the cluster out by `kubectl mesh remove`.",
    ),
    Check(
        "tree-in-use",
        "tree",
        ERROR,
        "nothing would leave the tree of a cluster while another cluster uses it: a reader and its"
        " token, a gateway, an address, an exposed istiod",
        "`Unauthorized` in every istiod that reads the cluster, or `no healthy upstream` between"
        " networks",
        "Take the steps that the finding gives, in their order.",
    ),
    Check(
        "identity-change",
        "tree",
        ERROR,
        "no running cluster would get another name, network, namespace, trust domain, data plane,"
        " control plane or revision in one step",
        "connections between workloads of the old and of the new identity that fail, in whatever"
        " order clusters apply the change",
        "Take the steps that the finding gives, in their order.",
    ),
    Check(
        "secret-change",
        "tree",
        ERROR,
        "no remote secret changes for an istiod that loses the cluster by that; where it cannot be"
        " known, it is a warning",
        "`no healthy upstream` for a cluster that runs, until istiod restarts (Istio's issue"
        " 61043); `istioctl proxy-config endpoints` shows it",
        "Upgrade Istio to 1.30.4 or later first; or render `--with-restarts`, and restart istiod"
        " right after each apply.",
    ),
    Check(
        "sealed-current",
        "tree",
        ERROR,
        "everything that is sealed is what it should be, or can be sealed anew here",
        "a cluster that keeps an old key or token, since nobody here has the new one",
        "Render where the keys and credentials are.",
    ),
    Check(
        "sealed-proven",
        "tree",
        WARNING,
        "the seal key is there where keys and tokens are, so that what is sealed can be compared"
        " with them",
        "a cluster that keeps an old key or token, and nobody is told",
        "Put back certs/seal-key, or seal everything anew: `kubectl mesh render --reseal`.",
    ),
    Check(
        "recipient-shared",
        "tree",
        WARNING,
        "no cluster's recipient or controller opens the secrets of another",
        "who breaks into one cluster has the CA key of another, from git",
        "Give each cluster an age identity of its own, and state its recipient under the cluster.",
    ),
    Check(
        "sealing-certificate",
        "tree",
        ERROR,
        "what is sealed is sealed for a controller that runs",
        "`no key could decrypt secret`, and an istiod that waits for cacerts",
        "Fetch the controller's certificate again by the command that the finding gives, and"
        " render.",
    ),
    Check(
        "sealing-expiring",
        "tree",
        WARNING,
        "no controller's certificate is about to expire",
        "a render that has to wait for a new certificate",
        "Fetch the controller's certificate again; it makes a new one every 30 days.",
    ),
    Check(
        "sealing-pending",
        "tree",
        WARNING,
        "the certificate of every Sealed Secrets controller is there",
        "a cluster that is not rendered",
        "Fetch the certificate by the command that the finding gives, and render.",
    ),
    Check(
        "tree-foreign",
        "tree",
        WARNING,
        "nothing but kubectl mesh's files is in the tree",
        "a file that one believes to be rendered",
        "Move it out of the tree: whoever finds it there takes it for rendered.",
    ),
)


def tree_findings(
    changes: Sequence[FolderChange],
    made: bool,
    out: str,
    strangers: Sequence[str],
    told: Container[str] = (),
) -> tuple[list[Problem], list[Problem]]:
    """What differs between the tree and a render: errors and warnings. `told` are files of which
    another check has told already.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    if made:
        errors.append(
            Problem(
                Place("certs"),
                "certificates are missing that a render would make",
                "run `kubectl mesh render`",
                "tree-current",
            )
        )
    for change in changes:
        base = f"{out}/{change.name}"
        rest = [c for c in change.changes if f"{base}/{c.path}" not in told]
        edited = [c for c in rest if c.edited]
        errors += [
            Problem(
                Place(f"{base}/{c.path}"),
                "was deleted by hand" if c.action == "create" else "was edited by hand",
                "run `kubectl mesh render`, which makes it anew",
                "tree-edited",
            )
            for c in edited
        ]
        if change.action == "create":
            errors.append(
                Problem(
                    Place(base), "is not rendered yet", "run `kubectl mesh render`", "tree-current"
                )
            )
        elif change.action == "remove":
            errors.append(
                Problem(
                    Place(base),
                    "belongs to no cluster of the topology",
                    "run `kubectl mesh render`, which removes it",
                    "tree-current",
                )
            )
        else:
            stale = [c.path for c in rest if c.action == "remove" and not c.edited]
            fix = (
                "run `kubectl mesh render`, which removes it; what `kubectl apply` made of it is"
                " deleted by hand"
            )
            errors += [
                Problem(Place(f"{base}/{path}"), "is no longer rendered", fix, "tree-stale")
                for path in stale
            ]
            differs = [c.path for c in rest if c.action in ("create", "update") and not c.edited]
            # The lock lists the others: it differs with them.
            alone = differs == [LOCK] and bool(edited or stale or len(rest) < len(change.changes))
            if change.repaired:
                errors.append(
                    Problem(
                        Place(f"{base}/{LOCK}"),
                        "cannot be read",
                        "run `kubectl mesh render`, which makes it anew",
                        "tree-current",
                    )
                )
            elif differs and not alone:
                named = [path for path in differs if path != LOCK] or differs
                some = named[0] + (f" and {len(named) - 1} more" if len(named) > 1 else "")
                errors.append(
                    Problem(
                        Place(base),
                        f"is not what a render would make: {some} would change",
                        "run `kubectl mesh render`",
                        "tree-current",
                    )
                )
            loose = [c.path for c in change.changes if c.action == "tighten"]
            warnings += [
                Problem(
                    Place(f"{base}/{path}"),
                    "holds a secret, but others may read it",
                    "run `kubectl mesh render`",
                    "private-mode",
                )
                for path in loose
            ]
        warnings += [
            Problem(
                Place(f"{base}/{one_line(path)}"),
                "is not of kubectl mesh's making",
                "move it elsewhere",
                "tree-foreign",
            )
            for path in change.foreign
            if f"{base}/{path}" not in told
        ]
    warnings += [
        Problem(
            Place(f"{out}/{one_line(name)}"),
            "is not of kubectl mesh's making",
            "move it elsewhere",
            "tree-foreign",
        )
        for name in strangers
    ]
    return errors, warnings
