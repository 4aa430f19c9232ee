"""`kubectl mesh certs rotate-root`: a new root in three steps, each one change of certs/ and one render."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import common
from kubectl_mesh.cli.check import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubectl_mesh.cli.workdir import Inputs
    from kubectl_mesh.model import Exchange
    from kubectl_mesh.pki import Wanted
    from kubectl_mesh.pki.rotation import Holdings, Rotation

tree = click.option("--out", metavar="FOLDER", help="Where the tree is.  [default: out in DIR]")
seen = click.option(
    "--seen-for", type=Duration(), metavar="TIME", help="How long every cluster has been seen to hold the step before, such as 24h; the tool cannot see it."
)


@click.group(name="rotate-root")
def command() -> None:
    """Replace the root in three steps: trust both, sign with the new, drop the old.

    Each step is one change of certs/, then a render, a review, and an apply, in any order of the clusters. `status` tells what must be
    seen in every cluster before the next one.
    """


@command.command(name="begin")
@common.directory
@click.option("--root", "root", metavar="FILE", type=click.Path(), help="The new root, made elsewhere; with `issuer: csr`.")
@click.option("--with-restarts", is_flag=True, help="Rotate where Istio takes other roots only at restarts; each step tells which.")
def begin(directory: str, root: str | None, with_restarts: bool) -> None:
    """Make a new root and trust it beside the old one, which signs on."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki import rotation

    def made(inputs: "Inputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None") -> "Exchange":
        if on is not None:
            path = f"{workdir.join(directory, 'certs')}/rotation.json"
            raise refuse(path, f"says that a rotation is on ({on.step}), and a second one waits for it", "finish it with advance, or go back with abort")
        _able(inputs, with_restarts)
        if (inputs.topology.issuer == "csr") != (root is not None):
            path = workdir.join(directory, workdir.TOPOLOGY)
            if root is not None:
                raise refuse("--root", f"is for a root that somebody else holds, and {path} says issuer: local", "leave it out, or write issuer: csr")
            raise refuse(path, "says issuer: csr: the new root is made by whoever holds it", "name it with --root FILE")
        given = None
        if root is not None:
            body = workdir.read_file(root)
            if body is None:
                raise refuse(root, "is not there", "name the new root's certificate")
            given = (root, body)
        return rotation.begin(wanted, have, workdir.now(), given, common.progress("making keys:"))

    _step(directory, made)


@command.command(name="advance")
@common.directory
@tree
@seen
def advance(directory: str, out: str | None, seen_for: timedelta | None) -> None:
    """Go to the next step, once every cluster has been seen to hold the one before."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.pki import rotation

    def made(inputs: "Inputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None") -> "Exchange":
        on = _on(directory, on)
        _rendered(inputs, have, on, out)
        _waited(inputs, on, seen_for)
        return rotation.advance(on, wanted, have, workdir.now(), local=inputs.topology.issuer == "local", progress=common.progress("making keys:"))

    _step(directory, made)


@command.command(name="abort")
@common.directory
def abort(directory: str) -> None:
    """Go back, as long as the old root is trusted; what follows is told."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki import rotation

    def made(inputs: "Inputs", have: "Holdings", wanted: "Wanted", on: "Rotation | None") -> "Exchange":
        on = _on(directory, on)
        if on.step not in rotation.ABORTS:
            what = "the old root is dropped" if on.step == "drop-old" else "the rotation is on its way back already"
            fix = "finish with advance, and rotate to a new root" if on.step == "drop-old" else "go on with advance"
            raise refuse(f"{workdir.join(directory, 'certs')}/rotation.json", f"says {on.step}: {what}", fix)
        key = _old_key(directory, inputs, on) if on.step == "sign-new" else None
        local = inputs.topology.issuer == "local"
        return rotation.abort(on, wanted, have, key, workdir.now(), local=local, progress=common.progress("making keys:"))

    _step(directory, made)


@command.command(name="status")
@common.directory
@tree
@common.output
def status(directory: str, out: str | None, output: str) -> None:
    """Tell where the rotation stands, what has it, and what must be seen before the next step."""
    from kubectl_mesh.cli import certs_renew
    from kubectl_mesh.pki import rotation

    inputs = certs_renew.gather(directory)
    on = rotation.read(inputs.kept)
    value = _value(inputs, _holdings(inputs), on, out)
    if output == "json":
        common.put_json(value)
    elif on is None:
        common.put_text("no rotation is on\n")
    else:
        lacking = [d["cluster"] for d in value["directories"] if not d["rendered"]]
        lines = [f"not rendered yet in {value['tree']}: {', '.join(lacking)}"] if lacking else [f"rendered in {value['tree']}: all clusters"]
        common.put_text("\n".join([*_told(inputs, on), *lines]) + "\n")


def _step(directory: str, made: "Callable[[Inputs, Holdings, Wanted, Rotation | None], Exchange]") -> None:
    """One change of certs/, made under the lock, and what it asks for."""
    from kubectl_mesh.cli import certs_renew, workdir
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.pki import Wanted, rotation
    from kubectl_mesh.pki.names import NEXT_KEY
    from kubectl_mesh.write import exchange_certificates, locked

    with locked(directory):
        inputs = certs_renew.gather(directory)
        topology = inputs.topology
        spaces = {c.name: c.namespace for c in topology.clusters if c.primary is None}
        kind = topology.key_type or inputs.target.KEY_TYPE
        wanted = Wanted(topology.organization, kind, topology.root_days, topology.intermediate_days, spaces)
        try:
            change = made(inputs, _holdings(inputs), wanted, rotation.read(inputs.kept))
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        certs_renew.kept_out(inputs, archive=True, more=(f"certs/{NEXT_KEY}",))
        exchange_certificates(directory, change)
        inputs = certs_renew.gather(directory)
    on = rotation.read(inputs.kept)
    common.put_text("\n".join(_told(inputs, on) if on is not None else ["the rotation is over"]) + "\n")
    if on is None:
        from kubectl_mesh import rollout

        click.echo(f"next: `kubectl mesh render{rollout.dash(directory)}`, which no longer asks istiod and the proxies for several roots", err=True)


def _holdings(inputs: "Inputs") -> "Holdings":
    from kubectl_mesh.pki.rotation import Holdings

    return Holdings(inputs.kept, inputs.folders, inputs.archived)


def _on(directory: str, on: "Rotation | None") -> "Rotation":
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import refuse

    if on is None:
        raise refuse(workdir.join(directory, "certs"), "has no rotation that is on", "begin one with `kubectl mesh certs rotate-root begin`")
    return on


def _able(inputs: "Inputs", with_restarts: bool) -> None:
    """Refuses where running clusters could not follow, or only by restarts that nobody has agreed to."""
    from kubectl_mesh import rollout
    from kubectl_mesh.errors import MeshError, Problem

    topology = inputs.topology
    place = topology.document.place
    broken = [
        Problem(
            c.place,
            f"runs Istio {version}, and 1.25.1 gives the proxies one root of a bundle only (Istio's issue 55793)",
            "bring it to another release first; 1.25.0 and 1.25.2 are" + (", and state which of 1.25 it is" if version == "1.25" else ""),
        )
        for c, version in rollout.broken(topology.clusters)
    ]
    if broken:
        raise MeshError(broken)
    slow = rollout.by_restart(topology.clusters, inputs.target.KIND, ambient=topology.ambient)
    if slow and not with_restarts:
        names = ", ".join(c.name for c in slow[:3]) + (f" and {len(slow) - 3} more" if len(slow) > 3 else "")
        if topology.ambient:
            what = "says dataPlane: ambient: ztunnel takes other roots only when it restarts, which cuts what runs over it (Istio's issue 47427)"
        else:
            what = f"names clusters that take other roots only when istiod or Citadel restarts, as before Istio 1.20 ({names})"
        raise MeshError([Problem(place(), what, "with --with-restarts each step tells what to restart, in which order")])


def _rendered(inputs: "Inputs", have: "Holdings", on: "Rotation", out: str | None) -> None:
    """Refuses while the tree, on disk or in the last commit, does not have the step."""
    from kubectl_mesh.cli import trust, workdir
    from kubectl_mesh.errors import MeshError

    folder = out if out is not None else workdir.join(inputs.directory, "out")
    wanted = _wanted(inputs, have)
    problems = trust.behind(folder, trust.of_tree(folder, wanted), wanted, "run `kubectl mesh render`, apply it everywhere, and see that it is there")
    committed = trust.of_commit(folder, wanted)
    if committed and not problems:
        there = {name: t for name, t in wanted.items() if name in committed}
        problems = trust.behind(f"HEAD:{folder}", committed, there, "commit what was rendered, and have it applied everywhere")
    unsigned = [] if on.step not in ("sign-new", "sign-old") else [n for n, t in wanted.items() if (t.signer == on.new) != (on.step == "sign-new")]
    if unsigned:
        from kubectl_mesh.errors import Place, Problem

        fix = f"renew them: `kubectl mesh certs renew {' '.join(unsigned)}`, then `certs import`, render and apply"
        which = "new" if on.step == "sign-new" else "old"
        problems = [
            Problem(Place(workdir.join(inputs.directory, "certs")), f"has intermediates that the {which} root did not sign: {', '.join(unsigned)}", fix)
        ]
    if problems:
        raise MeshError(problems)


def _wanted(inputs: "Inputs", have: "Holdings") -> dict[str, Any]:
    from kubectl_mesh.pki.rotation import trusts

    return dict(trusts(have.kept, [c.name for c in inputs.topology.clusters if c.primary is None]))


def _wait(inputs: "Inputs", on: "Rotation") -> timedelta:
    """How long every cluster must have held a step before the next one."""
    from kubectl_mesh.leaves import longest
    from kubectl_mesh.pki.rotation import WAITS
    from kubectl_mesh.rollout import OLD

    return longest(inputs.base, citadel=inputs.target.KIND == OLD) if on.step in WAITS else timedelta()


def _waited(inputs: "Inputs", on: "Rotation", seen_for: timedelta | None) -> None:
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.pki.rotation import early

    if found := early(on, seen_for, _wait(inputs, on), workdir.now()):
        raise MeshError([found])


def _old_key(directory: str, inputs: "Inputs", on: "Rotation") -> bytes | None:
    """The key of an old root, out of the archive."""
    from kubectl_mesh.cli import workdir

    for mark in on.old:
        for name in inputs.archived:
            if name == f"root-{mark[:8]}" or name.startswith(f"root-{mark[:8]}-"):
                body = workdir.read_file(os.path.join(workdir.join(directory, "certs"), "archive", name, "root-key.pem"))
                if body is not None:
                    return body
    return None


def _told(inputs: "Inputs", on: "Rotation") -> list[str]:
    """What a step is, what it asks for, and the ways on and back."""
    from kubectl_mesh import rollout
    from kubectl_mesh.cli.workdir import join
    from kubectl_mesh.pki.rotation import FOLLOWS

    topology, kind = inputs.topology, inputs.target.KIND
    where = rollout.dash(inputs.directory)
    lines = [f"{on.step}: {rollout.MEANS[on.step]}", "", f"1. kubectl mesh render{where}; look at the difference, and apply it, in any order"]
    if on.step == "trust-both" and len(rollout.by_restart(topology.clusters, kind, ambient=topology.ambient)) < len(topology.clusters):
        lines += [
            "   ISTIO_MULTIROOT_MESH and PROXY_CONFIG_XDS_AGENT are rendered while a rotation is on, unless base.yaml has them:",
            "   istiod restarts by that; a pod takes the second when it restarts, else it gets new roots when its certificate is due",
        ]
    if topology.issuer == "csr" and on.step.startswith("sign"):
        lines[2:2] = [f"0. kubectl mesh certs renew{where} --all; have the {on.step[5:]} root sign the requests; certs import what comes back"]
    if topology.store == "external":
        lines += [f"   {rollout.by_hand(inputs.directory)}"]
    restarts = list(rollout.restarts(on.step, topology.clusters, kind, ambient=topology.ambient))
    if restarts:
        lines += ["   where it is applied, in this order:", *(f"     {line}" for line in restarts)]
    how = "NOT BEFORE of every Leaf is later than the restart" if topology.ambient else "these commands name every workload that lacks it"
    lines += [f"2. see that it is everywhere; {how}:"]
    lines += [f"     {line}" for line in rollout.seen(on.step, topology.clusters, kind, join(inputs.directory, "certs"), ambient=topology.ambient)]
    wait = _wait(inputs, on)
    least = rollout.hours(wait.total_seconds())
    then = FOLLOWS[on.step] or "the end"
    lines += [
        f"3. once every cluster has {f'had it for {least}' if wait else 'it'}: kubectl mesh certs rotate-root advance{where} --seen-for {least}  ({then})"
    ]
    return [*lines, f"back: {rollout.BACK[on.step]}"]


def _value(inputs: "Inputs", have: "Holdings", on: "Rotation | None", out: str | None) -> dict[str, Any]:
    """The state for programs; the schema is `report/certs-rotation`."""
    from kubectl_mesh.cli import trust, workdir
    from kubectl_mesh.pki.rotation import ABORTS, FOLLOWS

    folder = out if out is not None else workdir.join(inputs.directory, "out")
    wanted = _wanted(inputs, have) if "root-cert.pem" in have.kept else {}
    there = trust.of_tree(folder, wanted)
    return {
        "mesh": inputs.topology.mesh_id,
        "step": on.step if on is not None else None,
        "old": list(on.old) if on is not None else [],
        "new": on.new if on is not None else None,
        "since": f"{on.since:%Y-%m-%dT%H:%M:%SZ}" if on is not None else None,
        "next": (FOLLOWS[on.step] or "end") if on is not None else "begin",
        "abort": ABORTS.get(on.step) if on is not None else None,
        "waitSeconds": int(_wait(inputs, on).total_seconds()) if on is not None else 0,
        "tree": folder,
        "directories": [{"cluster": name, "rendered": there.get(name) == t, "signer": t.signer or None} for name, t in sorted(wanted.items())],
    }
