"""`kubectl mesh certs rotate-root`: a new root in three steps, each one change of certs/ and one
render.
"""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.check import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubectl_mesh.model import Exchange
    from kubectl_mesh.operations.checked_inputs import CheckedInputs
    from kubectl_mesh.pki.rotation import Rotation
    from kubectl_mesh.pki.steps import Holdings
    from kubectl_mesh.pki.wanted import Wanted

seen = click.option(
    "--seen-for",
    type=Duration(),
    metavar="TIME",
    help=(
        "How long every cluster has been seen to hold the step before, such as 24h; the tool cannot"
        " see it."
    ),
)


@click.group(name="rotate-root")
def command() -> None:
    """Replace the root in three steps, while traffic flows.

    Trust both, sign with the new, drop the old. Each step is one change of certs/, then a render, a
    review, and an apply, in any order of the clusters. `status` tells what must be seen in every
    cluster before the next one.
    """


@command.command(name="begin")
@common.directory
@click.option(
    "--root",
    "root",
    metavar="FILE",
    type=click.Path(),
    help="The new root, made elsewhere; with `issuer: csr`.",
)
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Rotate where Istio takes other roots only at restarts; each step tells which.",
)
@common.tree
def begin(directory: str, root: str | None, with_restarts: bool, out: str | None) -> None:
    """Make a new root and trust it beside the old one, which signs on."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.operations import root_rotation
    from kubectl_mesh.pki import steps
    from kubectl_mesh.workdir.places import TOPOLOGY

    def made(
        inputs: "CheckedInputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None"
    ) -> "Exchange":
        if on is not None:
            path = f"{join(directory, 'certs')}/rotation.json"
            back = ", or go back with abort" if on.step in ("trust-both", "sign-new") else ""
            raise refuse(
                path,
                f"says that a rotation is on ({on.step}), and a second one waits for it",
                f"finish it with advance{back}",
            )
        root_rotation.able(inputs, with_restarts)
        if (inputs.topology.issuer == "csr") != (root is not None):
            path = join(directory, TOPOLOGY)
            if root is not None:
                raise refuse(
                    "--root",
                    f"is for a root that somebody else holds, and {path} says issuer: local",
                    "leave it out, or write issuer: csr",
                )
            raise refuse(
                path,
                "says issuer: csr: the new root is made by whoever holds it",
                "name it with --root FILE",
            )
        given = None
        if root is not None:
            body = read_file(root, "certificates")
            if body is None:
                raise refuse(root, "is not there", "name the new root's certificate")
            given = (root, body)
        return steps.begin(wanted, have, clock.now(), given, common.progress("making keys:"))

    _step(directory, out, made)


@command.command(name="advance")
@common.directory
@common.tree
@seen
def advance(directory: str, out: str | None, seen_for: timedelta | None) -> None:
    """Go to the next step, once every cluster holds the one before."""
    from kubectl_mesh.operations import root_rotation
    from kubectl_mesh.pki import steps

    def made(
        inputs: "CheckedInputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None"
    ) -> "Exchange":
        on = _on(directory, on)
        root_rotation.rendered(inputs, have, on, out)
        root_rotation.waited(inputs, on, seen_for)
        return steps.advance(
            on,
            wanted,
            have,
            clock.now(),
            local=inputs.topology.issuer == "local",
            progress=common.progress("making keys:"),
        )

    _step(directory, out, made)


@command.command(name="abort")
@common.directory
@common.tree
def abort(directory: str, out: str | None) -> None:
    """Go back, as long as the old root is trusted."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations import root_rotation
    from kubectl_mesh.pki import rotation, steps

    def made(
        inputs: "CheckedInputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None"
    ) -> "Exchange":
        on = _on(directory, on)
        if on.step not in rotation.ABORTS:
            what = (
                "the old root is dropped"
                if on.step == "drop-old"
                else "the rotation is on its way back already"
            )
            fix = (
                "finish with advance, and rotate to a new root"
                if on.step == "drop-old"
                else "go on with advance"
            )
            raise refuse(
                f"{join(directory, 'certs')}/rotation.json",
                f"says {on.step}: {what}",
                fix,
            )
        key = root_rotation.old_key(directory, inputs, on) if on.step == "sign-new" else None
        local = inputs.topology.issuer == "local"
        if on.union and key is None:
            have = replace(have, former=root_rotation.former(directory, inputs))
        return steps.abort(
            on,
            wanted,
            have,
            key,
            clock.now(),
            local=local,
            progress=common.progress("making keys:"),
        )

    _step(directory, out, made)


@command.command(name="status")
@common.directory
@common.tree
@common.output
def status(directory: str, out: str | None, output: str) -> None:
    """Tell where the rotation stands, and what must be seen next."""
    from kubectl_mesh.cli import certs_renew
    from kubectl_mesh.operations import root_rotation
    from kubectl_mesh.pki import rotation

    inputs = certs_renew.gather(directory)
    on = rotation.read(inputs.kept)
    value = root_rotation.value(inputs, _holdings(inputs), on, out)
    if output == "json":
        common.put_json(value)
    elif on is None:
        common.put_text("no rotation is on\n")
    else:
        lacking = [d["cluster"] for d in value["directories"] if not d["rendered"]]
        lines = (
            [f"not rendered yet in {value['tree']}: {', '.join(lacking)}"]
            if lacking
            else [f"rendered in {value['tree']}: all clusters"]
        )
        common.put_text("\n".join([*root_rotation.told(inputs, on), *lines]) + "\n")


def _step(
    directory: str,
    out: str | None,
    made: "Callable[[CheckedInputs, Holdings, Wanted, Rotation | None], Exchange]",
) -> None:
    """One change of certs/, made under the lock, and what it asks for."""
    from kubectl_mesh.cli import certs_renew
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.exchange import exchange_certificates
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.operations import private_files, root_rotation
    from kubectl_mesh.pki import rotation
    from kubectl_mesh.pki.wanted import Wanted
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import NEXT_KEY

    with locked(directory):
        inputs = certs_renew.gather(directory)
        topology = inputs.topology
        # What a render would refuse to write is not begun either: no key is made for it.
        if exposed := private_files.in_clear(
            inputs, out if out is not None else join(directory, "out")
        ):
            raise MeshError(exposed)
        spaces = {c.name: c.namespace for c in topology.clusters if c.primary is None}
        kind = topology.key_type or inputs.target.KEY_TYPE
        wanted = Wanted(
            topology.organization,
            kind,
            topology.root_days,
            topology.intermediate_days,
            spaces,
            organization_stated=topology.organization_stated,
        )
        try:
            change = made(inputs, _holdings(inputs), wanted, rotation.read(inputs.kept))
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        common.say_if(
            private_files.keep_out(inputs, (*private_files.ARCHIVED, f"certs/{NEXT_KEY}"))
        )
        exchange_certificates(directory, change)
        inputs = certs_renew.gather(directory)
    on = rotation.read(inputs.kept)
    common.put_text(
        "\n".join(root_rotation.told(inputs, on) if on is not None else ["the rotation is over"])
        + "\n"
    )
    if on is None:
        common.say(
            "next: `kubectl mesh render`, which no longer asks istiod and the proxies for several"
            " roots"
        )


def _holdings(inputs: "CheckedInputs") -> "Holdings":
    from kubectl_mesh.pki.steps import Holdings

    return Holdings(inputs.kept, inputs.folders, inputs.archived)


def _on(directory: str, on: "Rotation | None") -> "Rotation":
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join

    if on is None:
        raise refuse(
            join(directory, "certs"),
            "has no rotation that is on",
            "begin one with `kubectl mesh certs rotate-root begin`",
        )
    return on
