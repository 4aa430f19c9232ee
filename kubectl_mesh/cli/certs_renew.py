"""`kubectl mesh certs renew`"""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.check import Duration

if TYPE_CHECKING:
    from kubectl_mesh.model import Exchange
    from kubectl_mesh.operations.checked_inputs import CheckedInputs
    from kubectl_mesh.pki.wanted import Wanted


@click.command(name="renew")
@common.directory
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=common.complete_contexts)
@click.option("--all", "everyone", is_flag=True, help="Of every cluster.")
@click.option(
    "--within",
    type=Duration(),
    metavar="TIME",
    help="Of every cluster whose intermediate ends within this time, such as 60d.",
)
@click.option(
    "--keep-key",
    is_flag=True,
    help="Keep the key, and renew the certificate only; so it is while CRLs are in use.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what would be renewed.")
def command(
    directory: str,
    names: tuple[str, ...],
    everyone: bool,
    within: timedelta | None,
    keep_key: bool,
    dry_run: bool,
) -> None:
    """Renew intermediates under the root that signs now.

    The old ones go to certs/archive. Key, certificate and chain change together or not at all. With
    `issuer: csr` requests are written, for `certs import` to take in what comes back.
    """
    import contextlib

    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.exchange import exchange_certificates
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.pki.renew import ask, renew
    from kubectl_mesh.pki.wanted import Wanted
    from kubectl_mesh.safety import rollout
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import CRL, folder

    with contextlib.ExitStack() as held:
        if not dry_run:
            held.enter_context(locked(directory))
        inputs = gather(directory)
        topology = inputs.topology
        chosen = _chosen(inputs, names, everyone, within)
        spaces = {c.name: c.namespace for c in topology.clusters if c.name in chosen}
        # A dry run shows no key: it makes the quickest ones.
        kind = "ec-p256" if dry_run else topology.key_type or inputs.target.KEY_TYPE
        wanted = Wanted(
            topology.organization,
            kind,
            topology.root_days,
            topology.intermediate_days,
            spaces,
            organization_stated=topology.organization_stated,
        )
        progress = common.progress("making keys:")
        if not chosen:
            common.put_text("no intermediate is due\n")
            return
        if CRL in inputs.kept and not keep_key:
            # A proxy that goes by CRLs refuses a key that it has no CRL of, in whatever order they
            # are applied.
            keep_key = True
            common.say(
                "the keys stay, for proxies go by"
                f" {join(directory, 'certs')}/{CRL}, which knows no other"
            )
        try:
            if topology.issuer == "csr":
                put = ask(wanted, inputs.kept, progress, keep_key=keep_key)
            else:
                change = renew(
                    wanted, inputs.kept, inputs.archived, clock.now(), progress, keep_key=keep_key
                )
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        if topology.issuer == "csr":
            if not dry_run:
                common.say_if(private_files.keep_out(inputs))
                write_certificates(join(directory, "certs"), put)
            common.put_text(_asked(inputs, wanted, put, dry_run=dry_run))
            return
        if not dry_run:
            common.say_if(private_files.keep_out(inputs, private_files.ARCHIVED))
            exchange_certificates(directory, change)
    common.put_text(_renewed(inputs, wanted, change, keep_key=keep_key, dry_run=dry_run))
    common.say(
        "\n".join(
            rollout.renewed(
                [c for c in topology.clusters if folder(c.name) in change.moved], inputs.target.KIND
            )
        )
    )
    if not dry_run:
        follow_up(inputs)


def follow_up(inputs: "CheckedInputs") -> None:
    """What comes after a renewal."""
    from kubectl_mesh.safety import rollout

    common.say("next: `kubectl mesh render`, look at the difference, and apply it, in any order")
    if inputs.topology.store == "external":
        common.say(rollout.BY_HAND)


def gather(directory: str) -> "CheckedInputs":
    """The working directory of a mesh whose certificates are in it."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.workdir.places import TOPOLOGY

    inputs = load_inputs(directory, None, clock.machine())
    if not inputs.topology.own_intermediates:
        path = join(directory, TOPOLOGY)
        raise refuse(
            path,
            f"says issuer: {inputs.topology.issuer}, which makes and renews the certificates in the"
            " clusters",
            "renew them there",
        )
    return inputs


def _chosen(
    inputs: "CheckedInputs", names: tuple[str, ...], everyone: bool, within: timedelta | None
) -> list[str]:
    """The clusters that are meant, each with an intermediate that can be renewed."""
    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.pki.renew import expiring
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import folder

    if sum((bool(names), everyone, within is not None)) != 1:
        raise click.UsageError(
            "say whose, in one way: NAME..., --all or --within TIME", click.get_current_context()
        )
    topology = inputs.topology
    own = [c.name for c in topology.clusters if c.primary is None]
    if within is not None:
        try:
            return expiring(own, inputs.kept, clock.now(), within)
        except MeshError as error:
            raise MeshError(located(inputs.directory, error.problems)) from None
    wanted = (
        chosen_clusters(topology, names, "NAME")
        if names
        else frozenset(n for n in own if f"{folder(n)}/ca-cert.pem" in inputs.kept)
    )
    if served := sorted(wanted - set(own)):
        raise refuse(
            "NAME",
            f"{', '.join(served)} has no intermediate: another cluster's istiod signs there",
            "leave it out",
        )
    base = join(inputs.directory, "certs")
    lacking = [
        Problem(
            Place(f"{base}/{folder(n)}/ca-cert.pem"),
            "is not there, so there is nothing to renew",
            "run `kubectl mesh render`",
            "certs-complete",
        )
        for n in sorted(wanted)
        if f"{folder(n)}/ca-cert.pem" not in inputs.kept
    ]
    if lacking:
        raise MeshError(lacking)
    return sorted(wanted)


def _renewed(
    inputs: "CheckedInputs", wanted: "Wanted", change: "Exchange", *, keep_key: bool, dry_run: bool
) -> str:
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.x509.certificates import describe, load_certificates
    from kubectl_mesh.x509.layout import folder

    base = join(inputs.directory, "certs")
    lines = []
    for name in sorted(wanted.namespaces):
        made = describe(load_certificates(base, change.put[f"{folder(name)}/ca-cert.pem"])[0])
        key = "the same key" if keep_key else "a new key"
        lines.append(f"{'would renew' if dry_run else 'renewed'}  {base}/{folder(name)}")
        lines.append(
            f"  {'would be' if dry_run else 'is'} valid until {made.not_after:%Y-%m-%d}, with"
            f" {key}; the old one {'would go to' if dry_run else 'is now'}"
        )
        lines.append(f"  {base}/{change.moved[folder(name)]}")
    return "\n".join(lines) + "\n"


def _asked(
    inputs: "CheckedInputs", wanted: "Wanted", put: dict[str, bytes], *, dry_run: bool
) -> str:
    from kubectl_mesh.cli.certs import signing_commands
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.x509.layout import REQUEST, next_folder

    base = join(inputs.directory, "certs")
    names = sorted(wanted.namespaces)
    would = "would write" if dry_run else "wrote"
    lines = [
        f"{would if f'{next_folder(n)}/{REQUEST}' in put else 'kept'} "
        f" {base}/{next_folder(n)}/{REQUEST}\n"
        for n in names
    ]
    return "".join(lines) + (
        ""
        if dry_run
        else signing_commands(inputs.directory, names, wanted.intermediate_days, renewed=True)
    )
