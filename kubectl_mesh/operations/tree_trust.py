"""What the rendered tree says of roots and signers, on disk and in the last commit; and what a
render may not do to it.
"""

import os
from collections.abc import Iterable, Mapping

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import LOCK, Tree
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.safety.root_exchange import ID
from kubectl_mesh.safety.root_order import mesh_change
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.workdir.git_ignore import committed


def of_lock(body: bytes | None) -> Trust | None:
    """What a lock says; None where it is not there, or says nothing of roots."""
    lock = parse_lock(body)
    if lock is None or not lock.context:
        return None
    # A lock names the signer where there are several roots.
    only = lock.roots[0] if len(lock.roots) == 1 and lock.intermediate else None
    return Trust(lock.roots, lock.signer or only, lock.intermediate, lock.crl)


def of_tree(out: str, names: Iterable[str]) -> dict[str, Trust]:
    """The tree as it is on disk."""
    found = {name: of_lock(read_file(os.path.join(out, name, LOCK), "lock")) for name in names}
    return {name: trust for name, trust in found.items() if trust is not None}


def of_commit(out: str, names: Iterable[str], environment: Mapping[str, str]) -> dict[str, Trust]:
    """The tree as the last commit has it; nothing where it has none."""
    bodies = (
        committed(out, [f"{name}/{LOCK}" for name in names], environment)
        if os.path.isdir(out)
        else {}
    )
    found = {path.rpartition("/")[0]: of_lock(body) for path, body in bodies.items()}
    return {name: trust for name, trust in found.items() if trust is not None}


def cut(
    out: str, before: Mapping[str, Trust], tree: Tree, names: Iterable[str], directory: str
) -> list[Problem]:
    """Where a render would lead running clusters, whose trees say `before`, to roots that they
    cannot go to.
    """
    after = {
        name: trust
        for name in names
        if name in tree and (trust := of_lock(tree[name][LOCK].body)) is not None
    }
    return [
        Problem(Place(join(out, name)), why, _fix(directory), ID)
        for name, why in mesh_change(before, after)
    ]


def _fix(directory: str) -> str:
    certs = join(directory, "certs")
    return f"change roots step by step with `kubectl mesh certs rotate-root`, or put {certs} back"


def behind(
    where: str, there: Mapping[str, Trust], wanted: Mapping[str, Trust], fix: str
) -> list[Problem]:
    """The clusters whose tree does not have what `certs/` has."""
    found = []
    for name, trust in sorted(wanted.items()):
        if name not in there:
            found.append(Problem(Place(join(where, name)), "is not rendered yet", fix))
        elif there[name].roots != trust.roots:
            found.append(Problem(Place(join(where, name)), "has other roots than certs/ has", fix))
        elif there[name].signer != trust.signer:
            found.append(
                Problem(
                    Place(join(where, name)), "is signed by another root than certs/ has it", fix
                )
            )
        elif trust.crl and there[name].crl != trust.crl:
            found.append(
                Problem(
                    Place(join(where, name)),
                    "has other CRLs than certs/ has, and the new root may sign only where proxies"
                    " have its own",
                    fix,
                )
            )
    return found
