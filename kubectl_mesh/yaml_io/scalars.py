"""What a text in YAML means to every reader alike, and which may not stand there; sizes of what was
read.
"""

import re
from functools import lru_cache

from kubectl_mesh.model import Json
from kubectl_mesh.text import FORMAT_CHARACTERS, value_text

BOOLEAN_WORDS = {"y", "n", "yes", "no", "on", "off"}
NULL_WORDS = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+\Z")
# Everything that YAML 1.1 or 1.2 takes for a number, a date, a boolean, a merge or a default key.
# PyYAML, sigs.k8s.io/yaml and ruamel.yaml disagree about these, so none of them may stand unquoted.
_AMBIGUOUS = re.compile(
    r"""(?: [-+]?[0-9][0-9_,]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?
          | [-+]_[0-9_]* | [-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?
          | [-+]?0[bB][01_]+ | [-+]?0[oO][0-7_]+ | [-+]?0[xX][0-9a-fA-F_]+
          | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
          | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
          | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\ ].*)?
          | [yYnN] | yes|Yes|YES | no|No|NO | on|On|ON | off|Off|OFF
          | = | <<
        )\Z""",
    re.VERBOSE,
)
# What kubectl refuses to read back, even escaped; and beyond ASCII, where ranges are slow to
# compile.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@lru_cache(maxsize=1)
def _wide_control() -> re.Pattern[str]:
    return re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


@lru_cache(maxsize=1)
def invisible_pattern() -> re.Pattern[str]:
    """Characters that make a text look other than it is read (Unicode's bidirectional controls,
    zero-width and other format characters).
    """
    return re.compile(f"[{FORMAT_CHARACTERS}]")


def find_invalid_character(text: str) -> re.Match[str] | None:
    """The first character of a value that not every reader takes or shows."""
    return (
        _CONTROL.search(text)
        if text.isascii()
        else invisible_pattern().search(text) or _wide_control().search(text)
    )


def plain_value(text: str) -> Json:
    """An unquoted scalar's value, if YAML 1.1 and 1.2 agree on it; a `ValueError` that says so if
    they do not.
    """
    if text in NULL_WORDS:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text) and text != "-0":
        if len(text.lstrip("-")) > 19 or not -(2**63) <= int(text) < 2**63:
            raise ValueError(f"the number {value_text(text)} does not fit into 64 bits")
        return int(text)
    if _FLOAT.match(text):
        if repr(float(text)) != text:
            raise ValueError(f"the number {value_text(text)} is read as {float(text)!r}")
        return float(text)
    if _AMBIGUOUS.match(text):
        raise ValueError(f"the unquoted {value_text(text)} is not read alike by every program")
    return text


def count_nodes(value: Json) -> int:
    """How many nodes of YAML a value has."""
    if isinstance(value, dict):
        return 1 + sum(1 + count_nodes(v) for v in value.values())
    return 1 + sum(map(count_nodes, value)) if isinstance(value, list) else 1


def nesting_depth(value: Json) -> int:
    """How many levels deep a value is nested."""
    if isinstance(value, dict):
        return 1 + max(map(nesting_depth, value.values()), default=0)
    return 1 + max(map(nesting_depth, value), default=0) if isinstance(value, list) else 0


def copy_value(value: Json) -> Json:
    """The value once more, with no part shared."""
    if isinstance(value, dict):
        return {k: copy_value(v) for k, v in value.items()}
    return [copy_value(v) for v in value] if isinstance(value, list) else value
