"""Prints commands of kubectl mesh with the options of this run, so that they can be pasted."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from kubectl_mesh.text import marked_text, plain_text, render_commands

if TYPE_CHECKING:
    from kubectl_mesh.errors import MeshError

RECORDED_OPTIONS = "kubectl_mesh.given"
_PLACE_OPTIONS = ("-C", "--out", "--kubeconfig")
"""The options that name places, in the order in which they are printed."""
_PIPES = ("/dev/fd/", "/proc/")


def record_option(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Option callback: records the value from the command line for printed commands."""
    if (
        param.name
        and ctx.get_parameter_source(param.name) == click.core.ParameterSource.COMMANDLINE
        and not str(value).startswith(_PIPES)
    ):
        ctx.meta.setdefault(RECORDED_OPTIONS, {})[param.opts[0]] = str(value)
    return value


def complete_commands(text: str) -> str:
    """The text, with the options of this run in its commands."""
    ctx = click.get_current_context(silent=True)
    return plain_text(text) if ctx is None else _fill_commands(text, ctx)


def complete_error(error: "MeshError", ctx: click.Context) -> "MeshError":
    """The error, with the options of this run in its commands."""
    from dataclasses import replace

    return error.with_problems(
        replace(
            p,
            what=_fill_commands(marked_text(p.what), ctx),
            fix=_fill_commands(marked_text(p.fix), ctx),
        )
        for p in error.problems
    )


def _fill_commands(text: str, ctx: click.Context) -> str:
    options: dict[str, str] = {
        name: ctx.meta.get(RECORDED_OPTIONS, {})[name]
        for name in _PLACE_OPTIONS
        if name in ctx.meta.get(RECORDED_OPTIONS, {})
    }
    if options.get("-C") in (".", ""):
        del options["-C"]
    if not options:
        return plain_text(text)
    top = ctx.find_root().command
    return plain_text(render_commands(text, lambda command: _add_options(command, options, top)))


def _add_options(text: str, options: Mapping[str, str], top: click.Command) -> str:
    """A command with those of the options that it takes and does not state."""
    words = text.split(" ")
    command, end = top, 2
    while isinstance(command, click.Group) and end < len(words):
        below = command.get_command(cast("click.Context", None), words[end])
        if below is None:
            break
        command, end = below, end + 1
    if isinstance(command, click.Group) or "--help" in words:
        return text
    takes = {name for param in command.params for name in param.opts}
    lacking = [
        f"{name} {shlex.quote(value)}"
        for name, value in options.items()
        if name in takes and name not in words[end:]
    ]
    return " ".join([*words[:end], *lacking, *words[end:]])
