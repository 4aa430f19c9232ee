"""What functions may be called: rules that hold for every module of the package."""

import ast
import re
from collections.abc import Iterator

from tests.support.package_source import list_modules

MOST_SINGLE_WORDS = 0.40
"""The share of public functions whose name is one word."""
RIDDLES = frozenset(("of", "read", "take", "whole", "made", "told", "held", "kept"))
"""Names that say nothing without a noun."""
IRREGULAR = re.compile(
    "begun|bound|broken|brought|built|come|cut|done|drawn|driven|fallen|felt|forgotten|found|frozen|given"
    "|gone|grown|heard|hidden|known|laid|left|lent|lost|meant|met|paid|proven|risen|said|sent|seen"
    "|shown|shut|sold|sought|spelt|split|spoken|spent|stood|stuck|sworn|taken|taught|thought|thrown"
    "|torn|understood|won|worn|written"
)
"""Participles that do not end in -ed."""
NOT_PARTICIPLES = frozenset(("embed", "feed", "need", "seed", "shed", "speed"))
"""Words in -ed that are none."""
NOT_YET: set[str] = set()
"""Names that still break the rules, as path:name; each goes with its renaming."""


def public_names() -> Iterator[tuple[str, str, bool]]:
    """Every public function, method and property of the package: its path, its name, whether it is a property.

    Those of private classes and those inside of functions are none.
    """

    def walk(path: str, prefix: str, body: list[ast.stmt]) -> Iterator[tuple[str, str, bool]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from walk(path, f"{node.name}.", node.body)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                decorators = {ast.unparse(d).rpartition(".")[2] for d in node.decorator_list}
                yield (
                    path,
                    prefix + node.name,
                    bool(decorators & {"property", "cached_property", "setter"}),
                )

    for path, tree, _ in list_modules():
        yield from walk(path, "", tree.body)


def is_participle(word: str) -> bool:
    """Whether a name of one word is a past participle, by its ending or by the list."""
    return bool(IRREGULAR.fullmatch(word)) or (
        word.endswith("ed") and "_" not in word and word not in NOT_PARTICIPLES
    )


def test_no_name_is_a_bare_participle() -> None:
    """A function is called by a verb or by what it returns, a property by what it holds."""
    found = set()
    for path, name, _ in public_names():
        word = name.rpartition(".")[2]
        if word in RIDDLES or is_participle(word):
            found.add(f"{path}:{name}")
    assert sorted(found - NOT_YET) == []
    assert sorted(NOT_YET - found) == [], "renamed or removed: take them out of NOT_YET"


def test_few_functions_are_one_word() -> None:
    """One word is enough only where the module says the noun. Properties are nouns, and do not count."""
    names = [name.rpartition(".")[2] for _, name, is_property in public_names() if not is_property]
    single = [name for name in names if "_" not in name]
    assert len(single) <= MOST_SINGLE_WORDS * len(names), sorted(single)
