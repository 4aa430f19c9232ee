"""`kubectl mesh certs`: certificates over the years, intermediates that somebody else signs, and
what goes into a store by hand.
"""

import os
import shlex
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import (
    certs_import_root,
    certs_in_use,
    certs_renew,
    certs_revoke,
    certs_rotate,
    certs_status,
    clock,
    common,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubectl_mesh.operations.checked_inputs import CheckedInputs


@click.group(name="certs")
def command() -> None:
    """Certificates over the years; intermediates that somebody else signs; what goes into a store
    by hand.
    """


command.add_command(certs_status.command)
command.add_command(certs_renew.command)
command.add_command(certs_rotate.command)
command.add_command(certs_import_root.command)
certs_revoke.register(command)


@command.command(name="csr")
@common.directory
@click.argument("names", nargs=-1, metavar="[NAME]...")
def csr(directory: str, names: tuple[str, ...]) -> None:
    """Write requests for clusters that await a certificate.

    And their keys; for those that are named, else for all that await one. Nothing that is there is
    replaced. The commands that sign the requests are printed.
    """
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.pki.requests import requests
    from kubectl_mesh.pki.wanted import Wanted
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import REQUEST, folder

    with locked(directory):
        inputs = _gather(directory)
        topology = inputs.topology
        only = chosen_clusters(topology, names, "NAME") if names else None
        if served := sorted(
            c.name
            for c in topology.clusters
            if only is not None and c.name in only and c.primary is not None
        ):
            raise refuse(
                "NAME",
                f"{', '.join(served)} has no intermediate: another cluster's istiod signs there",
                "leave it out",
            )
        asked = {
            c.name: c.namespace
            for c in topology.clusters
            if c.primary is None
            and (
                c.name in only
                if only is not None
                else f"{folder(c.name)}/ca-cert.pem" not in inputs.kept
            )
        }
        done = sorted(name for name in asked if f"{folder(name)}/ca-cert.pem" in inputs.kept)
        if done:
            what = f"{', '.join(done)} {'have' if len(done) > 1 else 'has'} a certificate already"
            raise refuse(
                "NAME", what, f"to have another, run `kubectl mesh certs renew {' '.join(done)}`"
            )
        kind = topology.key_type or inputs.target.KEY_TYPE
        wanted = Wanted(
            topology.organization,
            kind,
            0,
            topology.intermediate_days,
            asked,
            organization_stated=topology.organization_stated,
        )
        try:
            new = requests(wanted, inputs.kept, common.progress("making keys:"))
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        common.say_if(private_files.keep_out(inputs))
        write_certificates(join(directory, "certs"), new)
    base = join(directory, "certs")
    lines = [
        f"{'create' if f'{folder(n)}/{REQUEST}' in new else 'keep':7}"
        f" {base}/{folder(n)}/{REQUEST}\n"
        for n in sorted(asked)
    ]
    if not asked:
        lines = ["no cluster awaits a certificate\n"]
    common.put_text(
        "".join(lines)
        + (signing_commands(directory, sorted(asked), topology.intermediate_days) if asked else "")
    )


def signing_commands(directory: str, names: list[str], days: int, *, renewed: bool = False) -> str:
    """How the requests are signed, by whatever holds the root; `renewed`: those that follow an
    intermediate in use.
    """
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.x509.layout import folder, next_folder

    base = shlex.quote(join(directory, "certs"))
    place = next_folder if renewed else folder
    request = f"{base}/{place('$name')}/ca.csr"
    root = "" if renewed else " --root root-cert.pem"
    when = "" if renewed else ", the first time with the root"
    every = f"for name in {' '.join(names)}; do"
    extensions = r"""<(printf 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n')"""
    return f"""
Whoever holds the root signs them; ROOT-DIR, root-cert.pem and root-key.pem stand for where it is.
  kubectl mesh:
    kubectl mesh certs sign -C ROOT-DIR --days {days} --to signed {base}/{place("*")}/ca.csr
  openssl (bash):
    mkdir -p signed; {every} openssl x509 -req -sha256 -days {days} -CA root-cert.pem \
-CAkey root-key.pem -in {request} \\
      -copy_extensions copyall -extfile {extensions} -out signed/$name.pem; done
  step:
    mkdir -p signed; {every} step certificate sign --profile intermediate-ca --path-len 0 \
--not-after {days * 24}h {request} \\
      root-cert.pem root-key.pem > signed/$name.pem; done
  Vault (the mount is pki):
    mkdir -p signed; {every} vault write -field=certificate pki/root/sign-intermediate \
csr=@{request} use_csr_values=true \\
      max_path_length=0 ttl={days * 24}h > signed/$name.pem; done
What comes back is taken in{when}:
    {every} kubectl mesh certs import{root} $name signed/$name.pem; done
"""


@command.command(name="sign")
@common.directory
@click.argument("files", nargs=-1, required=True, metavar="REQUEST...", type=click.Path())
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=730,
    show_default=True,
    help="How long the certificates are valid; never longer than the root.",
)
@click.option(
    "--to", "to", required=True, metavar="FOLDER", help="Where the certificates go, as NAME.pem."
)
def sign(directory: str, files: tuple[str, ...], days: int, to: str) -> None:
    """Sign requests of `certs csr` with the root of this directory.

    They are for clusters of a mesh elsewhere. Look at what is asked for before you sign: `openssl
    req -in REQUEST -noout -text`.
    """
    from kubectl_mesh.errors import MeshError, Problem, refuse
    from kubectl_mesh.fs.durable import make_folder
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.owned_files import add_files
    from kubectl_mesh.fs.read import read_file, read_inside
    from kubectl_mesh.pki.requests import read_request
    from kubectl_mesh.pki.requests import sign as signed
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY

    kept: dict[str, bytes] = {}
    for name in (ROOT_CERT, ROOT_KEY):
        body = read_inside(
            directory, f"certs/{name}", "key" if name == ROOT_KEY else "certificates"
        )
        if body is not None:
            kept[name] = body
    problems: list[Problem] = []
    made: dict[str, tuple[str, bytes]] = {}
    for file in files:
        body = read_file(file, "certificates")
        try:
            if body is None:
                raise refuse(file, "is not there", "name a request")
            found = read_request(file, body)
            if found.cluster in made:
                raise refuse(
                    file,
                    f"asks for {found.cluster}, as {made[found.cluster][0]} does",
                    "sign them into folders of their own",
                )
            made[found.cluster] = (file, signed(found, kept, days, clock.now()))
        except MeshError as error:
            problems += located(directory, error.problems, given=files)
    if problems:
        raise MeshError(problems)
    make_folder(to)
    add_files(to, {f"{name}.pem": body for name, (_, body) in made.items()})
    common.put_text(
        "".join(f"signed  {file} as {to}/{name}.pem\n" for name, (file, _) in sorted(made.items()))
    )
    root = join(directory, f"certs/{ROOT_CERT}")
    common.say(
        f"next: give back {to}, the first time with {root}; where the requests come from, `certs"
        " import NAME FILE` takes it in"
    )


@command.command(name="import")
@common.directory
@click.argument("name", metavar="NAME", shell_complete=common.complete_contexts)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--root",
    "root",
    metavar="FILE",
    type=click.Path(),
    help="The root that signed it; needed once, and kept as certs/root-cert.pem.",
)
@click.option(
    "--key",
    "key",
    metavar="FILE",
    type=click.Path(),
    help="The key of an intermediate that is in use already.",
)
def take(directory: str, name: str, file: str, root: str | None, key: str | None) -> None:
    """Take in the certificate that came back for a cluster.

    The file has the cluster's own first, then its issuers. Key, CA, path length, chain and dates
    are judged; what does not fit is refused, and nothing is changed. An intermediate that a running
    cluster signs with is taken in with its key: FILE is then what `kubectl get secret cacerts -o
    yaml` printed (or of istio-ca-secret), a folder with its PEM files, or a PEM file beside --key.
    """
    if key is not None or certs_in_use.in_use(file):
        certs_in_use.take(directory, name, file, root, key)
        return
    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.pki.requests import accept, follows
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.chain import outlives
    from kubectl_mesh.x509.layout import ROOT_CERT, folder

    bodies = {path: read_file(path, "certificates") for path in (file, root) if path is not None}
    if missing := [path for path, body in bodies.items() if body is None]:
        fixes = {file: "name the file that came back, or what was printed of cacerts"}
        raise MeshError(
            Problem(Place(path), "is not there", fixes.get(path, "name the root's certificate"))
            for path in missing
        )
    with locked(directory):
        inputs = _gather(directory)
        (cluster,) = chosen_clusters(inputs.topology, (name,), "NAME")
        trusted = None if root is None else (root, bodies[root] or b"")
        there = inputs.kept.get(ROOT_CERT)
        if trusted is not None and there is not None and there.split() != trusted[1].split():
            raise refuse(
                trusted[0],
                f"is another root than {join(directory, 'certs')}/{ROOT_CERT}",
                "leave --root out, or find out which is right",
            )
        if follows(cluster, inputs.kept):
            _follow(inputs, cluster, file, bodies[file] or b"")
            return
        try:
            new = accept(
                cluster,
                [c.name for c in inputs.topology.clusters],
                file,
                bodies[file] or b"",
                trusted,
                inputs.kept,
                clock.now(),
            )
            _fit(inputs, cluster, file, new)
        except MeshError as error:
            raise MeshError(located(directory, error.problems, given=(file, root))) from None
        common.say_if(private_files.keep_out(inputs))
        write_certificates(join(directory, "certs"), new)
    common.warn(outlives(file, {**inputs.kept, **new}, folder(cluster)))
    common.put_text("".join(f"create  {join(directory, 'certs')}/{path}\n" for path in sorted(new)))
    base = f"{join(directory, 'certs')}/{folder(cluster)}"
    common.say(
        f"next: look at it with `openssl x509 -in {shlex.quote(base)}/ca-cert.pem -noout -text`,"
        " then `kubectl mesh render`"
    )


def _follow(inputs: "CheckedInputs", cluster: str, file: str, pem: bytes) -> None:
    """Takes in an intermediate that follows the one in use, which goes to the archive."""
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.exchange import exchange_certificates
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.pki.renew import accept_next
    from kubectl_mesh.safety import rollout
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.chain import outlives
    from kubectl_mesh.x509.layout import folder

    try:
        change = accept_next(
            cluster,
            [c.name for c in inputs.topology.clusters],
            file,
            pem,
            inputs.kept,
            inputs.archived,
            clock.now(),
        )
        _fit(inputs, cluster, file, change.put)
    except MeshError as error:
        raise MeshError(located(inputs.directory, error.problems, given=(file,))) from None
    common.say_if(private_files.keep_out(inputs, private_files.ARCHIVED))
    exchange_certificates(inputs.directory, change)
    common.warn(outlives(file, change.put, folder(cluster)))
    base = join(inputs.directory, "certs")
    common.put_text(
        f"renewed  {base}/{folder(cluster)}\n  the old one is"
        f" {base}/{change.moved[folder(cluster)]}\n"
    )
    common.say(
        "\n".join(
            rollout.renewed(
                [c for c in inputs.topology.clusters if c.name == cluster], inputs.target.KIND
            )
        )
    )
    certs_renew.follow_up(inputs)


def _fit(inputs: "CheckedInputs", cluster: str, file: str, put: "Mapping[str, bytes]") -> None:
    """Refuses an intermediate of a root that does not sign at this step of a rotation."""
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.pki import rotation
    from kubectl_mesh.x509.layout import ROOT_CERT, folder

    chain, current = (
        put.get(f"{folder(cluster)}/cert-chain.pem"),
        inputs.kept.get(f"{folder(cluster)}/cert-chain.pem"),
    )
    if (
        chain is not None
        and ROOT_CERT in inputs.kept
        and (
            wrong := rotation.unfit(
                rotation.read(inputs.kept), file, chain, inputs.kept[ROOT_CERT], current
            )
        )
    ):
        raise MeshError(wrong)


@command.command(name="export")
@common.directory
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Of this cluster only; may be given again.",
)
@click.option(
    "--to",
    "to",
    metavar="FOLDER",
    help=(
        "Write it as NAME/cacerts.json, for nobody else to read. Without it, only what belongs"
        " where is told."
    ),
)
def export(directory: str, clusters: tuple[str, ...], to: str | None) -> None:
    """Tell what the store `external` has to hold, and write it.

    Each cluster pushes its own token into the store; the CA material of `certs/` is put there by
    whoever has it.
    """
    import json

    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.fs.durable import make_folder
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.owned_files import add_files
    from kubectl_mesh.operations import build
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.stores import external
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.git_ignore import exposed
    from kubectl_mesh.workdir.places import TOPOLOGY

    inputs = load_inputs(directory, None, clock.machine())
    topology = inputs.topology
    if topology.store != "external":
        raise refuse(
            join(directory, TOPOLOGY),
            f"says store: {topology.store}; only the store external is filled by hand",
            "write store: external",
        )
    only = chosen_clusters(topology, clusters) if clusters else None
    chosen = [
        c for c in topology.clusters if c.primary is None and (only is None or c.name in only)
    ]
    if not topology.own_intermediates:
        common.put_text(
            f"nothing is put there by hand: {topology.issuer} makes the certificates, and each"
            " cluster pushes its own token\n"
        )
        return
    pki = build.certificates(
        inputs, clock.now(), frozenset(c.name for c in topology.clusters), throwaway=True
    )
    base = join(directory, "certs")
    if pki.new:
        raise refuse(
            base,
            "has no intermediate yet for some cluster",
            "run `kubectl mesh render` first, which makes them",
        )
    waiting = [c.name for c in chosen if c.name not in pki.intermediates]
    if waiting:
        raise refuse(
            base, f"has no certificate yet for {', '.join(waiting)}", "run `kubectl mesh certs csr`"
        )
    bodies: dict[str, bytes] = {}
    problems = []
    for cluster in chosen:
        found = pki.intermediates[cluster.name]
        if found.ca_key is None:
            problems.append(
                Problem(
                    Place(f"{base}/intermediate-{cluster.name}/ca-key.pem"),
                    "is not here, and cannot be put into the store",
                    "put it back",
                )
            )
            continue
        parts: Mapping[str, bytes] = {
            "ca-cert.pem": found.ca_cert,
            "ca-key.pem": found.ca_key,
            "cert-chain.pem": found.cert_chain,
            "root-cert.pem": found.root_cert,
        }
        bodies[f"{cluster.name}/cacerts.json"] = (
            json.dumps({name: body.decode() for name, body in parts.items()}, indent=2).encode()
            + b"\n"
        )
    if to is None:
        lines = [
            f"{external.cacerts_path(topology, c)}  {', '.join(external.FILES)}\n" for c in chosen
        ]
        common.put_text("".join(lines))
        common.say("with --to FOLDER these are written as JSON, for the client of the store")
        return
    if problems:
        raise MeshError(problems)
    if bare := exposed(to, list(bodies), os.environ):
        raise refuse(
            to,
            f"lies in a git work tree that would take {bare[0]}",
            "name a folder outside of it, or one that is ignored",
        )
    make_folder(to, 0o700)
    add_files(to, bodies, private=True)
    lines = [f"{external.cacerts_path(topology, c)}  {to}/{c.name}/cacerts.json\n" for c in chosen]
    first = chosen[0]
    path, file = (
        external.cacerts_path(topology, first),
        shlex.quote(f"{to}/{first.name}/cacerts.json"),
    )
    common.put_text("".join(lines))
    common.say(
        f"put each where it belongs, such as:\n  vault kv put -mount=secret {path} @{file}\n"
        f"  aws secretsmanager create-secret --name {path} --secret-string file://{file}\n"
        f"then delete {to}",
    )


def _gather(directory: str) -> "CheckedInputs":
    """The working directory, for an issuer that these verbs are for."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.workdir.places import TOPOLOGY

    inputs = load_inputs(directory, None, clock.machine())
    if inputs.topology.issuer != "csr":
        path = join(directory, TOPOLOGY)
        what = (
            f"says issuer: {inputs.topology.issuer}; requests are for intermediates that somebody"
            " else signs"
        )
        raise refuse(path, what, "write `certificates: {issuer: csr}`")
    return inputs
