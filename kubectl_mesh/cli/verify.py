"""`kubectl mesh verify`"""

from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubectl_mesh.model import OnDisk


@click.command(name="verify")
@common.directory
@common.tree
@click.option(
    "--identity",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="What a cluster opens its secrets by: an age identity, or its Sealed Secrets key.",
)
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Open this cluster's only; may be given again.",
)
@common.kubeconfig
def command(
    directory: str,
    out: str | None,
    identity: str,
    clusters: tuple[str, ...],
    kubeconfig: str | None,
) -> int:
    """Open what is sealed with the identity that a cluster has, and compare it with certificates,
    topology and lock.

    Exit code 1 if a file does not open, or holds something else. No secret is shown, and nothing is
    written.
    """
    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.operations import build, private_files
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.operations.sealed_tree import Sealed
    from kubectl_mesh.stores import store_of, verify
    from kubectl_mesh.text import count
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.yaml_io.manifest import parse, read

    folder = out if out is not None else join(directory, "out")
    private_files.check_folders(directory, out)
    inputs = load_inputs(directory, kubeconfig, clock.machine())
    topology = inputs.topology
    if not store_of(topology).ENCRYPTS:
        raise refuse(
            "verify",
            "opens what is sealed by the stores sops and sealed; the topology says store:"
            f" {topology.store}",
            "look at the tree itself",
        )
    body = read_file(identity, "key", pipe=True)
    if body is None:
        raise refuse(identity, "is not there", "name the file with the identity of a cluster")
    sealed = Sealed(inputs, folder)
    mine, opens = _opener(topology.store, identity, body, inputs.sealing)
    meant = verify.Meant()
    build.make(
        inputs,
        inputs.machine.now,
        folder,
        sealed=Sealed(inputs, folder, store=meant),
        throwaway=True,
    )
    only = chosen_clusters(topology, clusters) if clusters else None
    problems: list[Problem] = []
    lines: list[str] = []
    for name in dict.fromkeys(directory for directory, _ in meant.public):
        disk = sealed.read(name)
        paths = sorted(path for where, path in meant.public if where == name)
        if only is not None and name not in only:
            continue
        if disk is None or not disk.sealed:
            problems.append(
                Problem(
                    Place(f"{folder}/{name}"),
                    "is not sealed yet",
                    "run `kubectl mesh render`",
                    "tree-current",
                )
            )
            continue
        if only is None and not mine(name, disk):
            lines.append(f"other     {folder}/{name}  is sealed for others\n")
            continue
        before = len(problems)
        for path in paths:
            problems += verify.listed(f"{folder}/{name}", path, disk)
            if path not in disk.files:
                continue
            try:
                document = opens(name, disk.files[path][0])
            except ValueError as error:
                problems.append(
                    Problem(
                        Place(f"{folder}/{name}/{path}"),
                        str(error),
                        verify.REPAIR,
                        "sealed-current",
                    )
                )
                continue
            text = meant.text[name, path]
            problems += verify.compare(
                f"{folder}/{name}/{path}",
                document,
                parse(meant.public[name, path]),
                None if text is None else parse(text),
                read,
            )
        if len(problems) == before:
            lines.append(
                f"verified  {folder}/{name}  {count(len(paths), 'file')} open, and hold what they"
                " should\n"
            )
    common.put_text("".join(lines))
    if problems:
        common.tell(MeshError(problems).problems)
        return 1
    if not any(line.startswith("verified") for line in lines):
        raise refuse(
            identity, f"opens nothing in {folder}", "name the identity of one of its clusters"
        )
    return 0


def _opener(
    store: str, name: str, body: bytes, certificates: Any
) -> "tuple[Callable[[str, OnDisk], bool], Callable[[str, bytes], Any]]":
    """Whether a directory is for an identity, and what opens a file of it; raises a ValueError that
    says why not.
    """
    if store == "sealed":
        from kubectl_mesh.stores import sealed

        keys = sealed.private_keys(name, body)
        return (
            lambda directory, disk: sealed.is_for(keys, certificates.get(directory))
        ), lambda directory, file: sealed.unseal(keys, file)
    from kubectl_mesh.stores import age, sops

    unwrap = age.identities(name, body)
    return (
        lambda directory, disk: any(
            sops.is_for(disk.files[p][0], unwrap) for p in disk.sealed if p in disk.files
        )
    ), (lambda directory, file: sops.unseal(file, unwrap).document)
