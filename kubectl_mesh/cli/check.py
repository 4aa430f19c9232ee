"""`kubectl mesh check`"""

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
@common.kubeconfig
@common.output
def command(directory: str, out: str | None, fail_within: timedelta | None, kubeconfig: str | None, output: str) -> int:
    """Tell every problem that can be told offline, in topology, certificates and rendered tree.

    Exit code 1 if there is an error; warnings leave it at 0.
    """
    from kubectl_mesh import checks
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.cli.survey import survey

    results = survey(directory, out, kubeconfig, lambda _: workdir.now(), fail_within).results
    if output == "json":
        common.put_json(checks.value(results))
    else:
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        marks = ("√", "‼", "×", "-") if encoding.startswith("utf") else ("ok", "!!", "x", "-")
        common.put_text(checks.text(results, marks))
    return 1 if any(r.status == "error" for r in results) else 0
