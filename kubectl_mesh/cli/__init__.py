"""The shell: verbs, streams, exit codes; the one place with a clock and an environment.

A verb is a module of this folder with a click command `command`; it imports what it needs when it
runs, so that `--help` and completion cost little more than click.
"""

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from kubectl_mesh import __version__

COMMANDS = {
    "init": "Make a working directory: topology, control plane, root certificate.",
    "adopt": "Adopt a running mesh from what `kubectl get` printed of it.",
    "add": "Add a cluster to the topology.",
    "remove": "Remove a cluster from the topology.",
    "render": "Render the mesh: a directory of manifests per cluster.",
    "check": "Tell every problem that can be told offline.",
    "explain": "Tell what an error comes from in this mesh.",
    "diff": "Show what a change does to the mesh.",
    "certs": "Look at certificates, renew, rotate, revoke; have them signed elsewhere.",
    "tokens": "Move the peers of a cluster to another token.",
    "verify": "Open what is sealed, and compare it with what should be in it.",
    "describe": "Show clusters, certificates, remote secrets, gateways.",
    "graph": "Draw the mesh: Mermaid, SVG, DOT, or a page to look around in.",
    "teardown": "Print the commands that take Istio off the clusters.",
    "schema": "Print a JSON Schema, or where the schemas are.",
    "completion": "Print a completion script for a shell.",
    "version": "Print the version.",
}
"""Every verb, in the order of a mesh's life, with the line that the help has for it."""


class CommandGroup(click.Group):
    """A group that imports a verb when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"kubectl_mesh.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from kubectl_mesh.text import did_you_mean

            raise click.UsageError(
                f'there is no verb "{args[0]}"{did_you_mean(args[0], COMMANDS)}', ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            from kubectl_mesh.errors import MeshError

            if not isinstance(error, MeshError):
                raise
            from kubectl_mesh.cli import printed_commands

            raise printed_commands.complete_error(error, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB [OPTIONS]",
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="kubectl mesh", message="%(prog)s %(version)s")
@click.pass_context
def root_command(ctx: click.Context) -> None:
    """The compiler for multi-cluster service meshes.

    One file, topology.yaml, says which Kubernetes clusters form an Istio mesh. `render` turns it,
    offline, into a directory of manifests per cluster, to be reviewed as a diff and applied.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process: 0 for done, 1 for a negative answer, 2 for an error."""
    warnings.simplefilter(
        "ignore"
    )  # of libraries, for those who write programs; they name places of this machine
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name that the terminal cannot show is no reason to fail
    code = run_command(args)
    if args is not None:
        sys.exit(code)
    exit_process(code)


def exit_process(code: int) -> None:
    """Ends the process at once, because freeing thousands of values one by one takes time."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(code)


def run_command(args: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code; errors are printed on stderr."""
    os.umask(
        os.umask(0o077) & 0o077 | 0o022
    )  # Nothing that is written here is for others to change, and all of it for its owner.
    try:
        result: Any = root_command.main(
            args=args,
            prog_name="kubectl mesh",
            complete_var="_KUBECTL_MESH_COMPLETE",
            standalone_mode=False,
        )
        code = result if isinstance(result, int) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # before click 8.2 it was no error
            click.echo(error.format_message())
            return 0
        verb = next(
            (word for word in (args if args is not None else sys.argv[1:]) if word in COMMANDS),
            None,
        )
        where = (
            f"{error.ctx.command_path} --help"
            if error.ctx is not None
            else f"kubectl mesh {verb} --help"
            if verb
            else "kubectl mesh --help"
        )
        said = " ".join(
            error.format_message().split()
        )  # click puts the choices of an argument on lines of their own
        _print_error(f"error: {said}\n  see: {where}")
    except (click.Abort, KeyboardInterrupt):
        _print_error("stopped; what was being written is whole, old or new")
    except SystemExit as end:
        if not end.code:  # what was asked for is a completion
            return 0
        # click ends with 1 where whoever read the output has enough of it.
    except BrokenPipeError:
        # Whoever read the output has enough of it; the descriptor is replaced so that the
        # interpreter's last flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # noqa: BLE001 -- the one edge at which errors become sentences
        _print_error("\n".join((*getattr(error, "__notes__", ()), _error_text(error))))
    return 2


_ROOM = "make room, and run it again; what was being written is whole, old or new"
_RIGHT = "ask its owner for the right to do this"
_FIXES = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EACCES: _RIGHT, errno.EPERM: _RIGHT}
"""What to do about what the system says."""


def _error_text(error: Exception) -> str:
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.text import can_be_secret

    if isinstance(error, MeshError):
        return "\n".join(f"error: {problem}" for problem in error.problems)
    if isinstance(error, OSError) and error.strerror:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        fix = _FIXES.get(error.errno or 0, "")
        return (
            f"error: {name + ': ' if name and not can_be_secret(name) else ''}{error.strerror}"
            + (f"\n  fix: {fix}" if fix else "")
        )
    # The message of an unknown exception may hold anything, a secret too; its kind and place
    # suffice for a report.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = (
        f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        if trace is not None
        else "?"
    )
    return (
        f"error: kubectl mesh has a fault of its own ({type(error).__name__} at {place}); please"
        " report it with the topology, less what is secret"
    )


def _print_error(text: str) -> None:
    from kubectl_mesh.text import escape_for_terminal, plain_text

    with contextlib.suppress(OSError):
        click.echo(escape_for_terminal(plain_text(text)), err=True)


def complete() -> None:
    """`kubectl_complete-mesh`, which kubectl (1.26 and later) asks for completions: a word a line,
    then `:4` (no file names).
    """
    from click.shell_completion import ShellComplete

    words = sys.argv[1:]
    shell = ShellComplete(root_command, {}, "kubectl mesh", "_KUBECTL_MESH_COMPLETE")
    try:
        found = shell.get_completions(words[:-1], words[-1] if words else "")
    except Exception:  # noqa: BLE001 -- a completion that fails completes nothing
        found = []
    with contextlib.suppress(OSError):
        for item in found:
            if item.type == "plain":
                click.echo(item.value + (f"\t{item.help}" if item.help else ""))
        click.echo(":4")
