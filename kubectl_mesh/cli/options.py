"""Options that commands share, and how a command gets several of them as one value."""

import dataclasses
import functools
import re
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import click

from kubectl_mesh.cli import common

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 30d, 12h, 4w or 1y."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        match = re.fullmatch(r"([0-9]{1,6})([hdwy])", str(value))
        if match is None:
            self.fail(f'"{value}" is no time such as 30d, 12h, 4w or 1y', param, ctx)
        return timedelta(hours=int(match[1]) * {"h": 1, "d": 24, "w": 168, "y": 8760}[match[2]])


def repeatable_option(
    flag: str, name: str, metavar: str, complete: Callable[..., Any], help_text: str
) -> Callable[[F], F]:
    """An option that may be given again; `complete` completes its values."""
    return click.option(
        flag, name, multiple=True, metavar=metavar, shell_complete=complete, help=help_text
    )


def clusters_option(text: str, flag: str = "--cluster", name: str = "clusters") -> Callable[[F], F]:
    """An option that names clusters, and may be given again."""
    return repeatable_option(flag, name, "NAME", common.complete_contexts, text)


def format_option(*formats: str) -> Callable[[F], F]:
    """The option `-o`; the first format is the default."""
    *others, last = formats
    return click.option(
        "-o",
        "output",
        type=click.Choice(formats),
        default=formats[0],
        metavar="FORMAT",
        help=f"{', '.join(others)} or {last}.  [default: {formats[0]}]",
    )


def collect_options(name: str, source: str) -> Callable[[F], F]:
    """Passes the options that are fields of a value class as one value, in the argument `name`.

    `source` is the class as `module:Class` below `kubectl_mesh.operations`; it is imported when the
    command runs.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            module, _, kind = source.partition(":")
            value_class = getattr(import_module(f"kubectl_mesh.operations.{module}"), kind)
            fields = {f.name: values.pop(f.name) for f in dataclasses.fields(value_class)}
            return function(**values, **{name: value_class(**fields)})

        return call  # type: ignore[return-value]

    return decorate


paths_option = collect_options("paths", "paths:Paths")
"""Passes -C, --out and --kubeconfig as one `Paths`."""
