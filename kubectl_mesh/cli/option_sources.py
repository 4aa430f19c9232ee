"""How the values of options were stated."""

import click
from click.core import ParameterSource


def find_option_sources(*names: str) -> dict[str, str]:
    """The flag or the variable of the environment that states each value of the command that runs;
    empty for a default.
    """
    ctx = click.get_current_context()
    options = {p.name: p for p in ctx.command.params}
    return {name: _source_of(ctx, options[name]) for name in names}


def _source_of(ctx: click.Context, option: click.Parameter) -> str:
    by = ctx.get_parameter_source(str(option.name))
    if by in (None, ParameterSource.DEFAULT):
        return ""
    return str(option.envvar) if by == ParameterSource.ENVIRONMENT else option.opts[0]
