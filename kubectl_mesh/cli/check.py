"""`kubectl mesh check`"""

import os
import re
import sys
from datetime import timedelta

import click

from kubectl_mesh.cli import common


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 30d, 12h, 4w or 1y."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = re.fullmatch(r"([0-9]{1,6})([hdwy])", str(value))
        if match is None:
            self.fail(f'"{value}" is no time such as 30d, 12h, 4w or 1y', param, ctx)
        return timedelta(hours=int(match[1]) * {"h": 1, "d": 24, "w": 168, "y": 8760}[match[2]])


@click.command(name="check")
@common.directory
@click.option("--out", metavar="FOLDER", help="Where the tree is.  [default: out in DIR]")
@click.option("--fail-within", type=Duration(), metavar="TIME", help="Make it an error if a certificate expires within this time, such as 30d.")
@click.option("--token-age", type=Duration(), metavar="TIME", help="Make it an error if a token was made longer ago than this, such as 90d.")
@common.kubeconfig
@common.output
def command(directory: str, out: str | None, fail_within: timedelta | None, token_age: timedelta | None, kubeconfig: str | None, output: str) -> int:
    """Tell every problem that can be told offline, in topology, certificates and rendered tree.

    Exit code 1 if there is an error; warnings leave it at 0.
    """
    from kubectl_mesh import checks, generations, report
    from kubectl_mesh.cli import bounds, compose, workdir
    from kubectl_mesh.compare import compare, strangers
    from kubectl_mesh.errors import MeshError, Problem

    folder = out if out is not None else workdir.join(directory, "out")
    errors: list[Problem] = []
    warnings: list[Problem] = []
    skipped: frozenset[str] = frozenset()
    later = ("servers", "credentials", "gateways", "certificates", "tree", "git")
    bounds.check_folders(directory, out)
    if not os.path.lexists(workdir.join(directory, workdir.TOPOLOGY)):
        workdir.read_topology(directory)  # says what is missing: there is nothing to answer
    inputs: workdir.Inputs | None = None
    try:
        topology = workdir.read_topology(directory)
        inputs = workdir.gather(directory, kubeconfig, errors, topology)
        errors += bounds.in_clear(inputs, folder) + bounds.let_through(inputs)
        if any(e.id != "git-ignored" for e in errors):
            skipped = frozenset(("tree",))
        at = workdir.now()
        rendered = compose.make(inputs, at, folder, throwaway=True)
        if fail_within is not None:
            errors += workdir.located(directory, checks.expiry_findings(rendered.pki, at, fail_within))
        tokens = checks.token_findings(rendered.plan, at, fail_within, token_age)
        errors += workdir.located(directory, tokens[0], (p.where.file for p in tokens[0]))
        warnings += workdir.located(directory, tokens[1], (p.where.file for p in tokens[1]))
        warnings += (*rendered.warnings, *checks.pending_findings(rendered.plan, inputs.broken))
        if not skipped:
            changes = compare(folder, rendered.tree, inputs.topology.mesh_id)
            cut = [*report.withdrawn(rendered.plan, changes, folder), *generations.skipped(rendered.plan, changes)]
            found = checks.tree_findings(changes, bool(rendered.pki.new), folder, strangers(folder, rendered.tree, changes))
            errors += cut or found[0]
            warnings += (*found[1], *report.reconnected(rendered.plan, changes))
    except MeshError as error:
        errors += error.problems
        skipped = frozenset(later if not any(p.id for p in errors) else ("tree",))
    if inputs is not None:
        errors += bounds.tracked(inputs, folder)
    if inputs is not None and not inputs.kept:
        skipped |= {"certificates"}  # those of the render in mind are throw-away
    if inputs is not None and not inputs.logins:
        skipped |= {"token-unique", "token-readable"}
    told = {e.where.file for e in errors if e.id in ("certs-expiring", "crl-expiring")}
    results = checks.results(
        dict.fromkeys(errors), [w for w in dict.fromkeys(warnings) if w.id not in ("certs-expiring", "crl-expiring") or w.where.file not in told], skipped
    )
    if output == "json":
        common.put_json(checks.value(results))
    else:
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        marks = ("√", "‼", "×", "-") if encoding.startswith("utf") else ("ok", "!!", "x", "-")
        common.put_text(checks.text(results, marks))
    return 1 if any(r.status == "error" for r in results) else 0
