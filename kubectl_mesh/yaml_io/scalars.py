"""The meaning of YAML scalars on which all readers agree, characters that are not allowed, and
sizes of values.
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
# Every text that YAML 1.1 or 1.2 reads as a number, a date, a boolean, a merge or a default key.
# PyYAML, sigs.k8s.io/yaml and ruamel.yaml disagree about these, so all of them need quotes.
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
# Characters that kubectl rejects, even escaped. Those outside ASCII have a pattern of their own,
# because ranges there are slow to compile.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@lru_cache(maxsize=1)
def _wide_control() -> re.Pattern[str]:
    return re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


@lru_cache(maxsize=1)
def invisible_pattern() -> re.Pattern[str]:
    """A pattern of characters that disguise a text: Unicode's bidirectional controls, zero-width
    and other format characters.
    """
    return re.compile(f"[{FORMAT_CHARACTERS}]")


def find_invalid_character(text: str) -> re.Match[str] | None:
    """The first character of a value that some readers reject or do not show; None if there is
    none.
    """
    return (
        _CONTROL.search(text)
        if text.isascii()
        else invisible_pattern().search(text) or _wide_control().search(text)
    )


def plain_value(text: str) -> Json:
    """The value of an unquoted scalar on which YAML 1.1 and 1.2 agree; raises a `ValueError` if
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
    """The number of YAML nodes of a value."""
    if isinstance(value, dict):
        return 1 + sum(1 + count_nodes(v) for v in value.values())
    return 1 + sum(map(count_nodes, value)) if isinstance(value, list) else 1


def nesting_depth(value: Json) -> int:
    """The number of levels of a value."""
    if isinstance(value, dict):
        return 1 + max(map(nesting_depth, value.values()), default=0)
    return 1 + max(map(nesting_depth, value), default=0) if isinstance(value, list) else 0


def copy_value(value: Json) -> Json:
    """A copy of a value that shares no part with it."""
    if isinstance(value, dict):
        return {k: copy_value(v) for k, v in value.items()}
    return [copy_value(v) for v in value] if isinstance(value, list) else value
