"""What a check is. A new one is a class in the file of its category, and a line in `table`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from kubectl_mesh.checks.context import (
    RENDER,
    WARNING,
    CheckContext,
    Finding,
    InputFacts,
    Needs,
    TreeContext,
)
from kubectl_mesh.checks.drift import Drift
from kubectl_mesh.errors import Place
from kubectl_mesh.text import keep_values

PAGE = "docs/checks.md"
"""Where the checks are explained, each under a heading that is its id."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What no file shows, and the command that shows it."""

    what: str
    command: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", keep_values(self.what))
        object.__setattr__(self, "command", keep_values(self.command))


class Check(ABC):
    """A check: what it asks, what it prevents, and how it finds problems."""

    id: ClassVar[str]
    """Stable: it never changes its meaning."""
    category: ClassVar[str]
    severity: ClassVar[str]
    """The severity of its findings, if a finding does not say another."""
    sentence: ClassVar[str]
    """What it asks, behind "asks that"."""
    prevents: ClassVar[str]
    """What one would see in a cluster."""
    remedy: ClassVar[str]
    """What to do in general; a finding has a fix of its own."""
    needs: ClassVar[Needs] = Needs.INPUTS
    """What must be there. Without it the check is skipped."""
    error_replaces_warning: ClassVar[bool] = False
    """An error about a file says what a warning about the same file says."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "remedy" in vars(cls):
            cls.remedy = keep_values(cls.remedy)

    @property
    def page(self) -> str:
        """Where the check is explained."""
        return f"{PAGE}#{self.id}"

    @abstractmethod
    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        """What the check finds, besides the problems of earlier stages that have its id."""

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        """What stays unknown offline though nothing was found; None if files prove it."""
        return None

    def select_own(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings of this check among those of a pass that several checks read."""
        return (f for f in findings if f.problem.id == self.id)


class StageCheck(Check):
    """A check whose problems earlier stages find. They arrive with its id (`Problem.id`)."""

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        return ()


class ContentCheck(Check):
    """A check of what the rendered tree says."""

    compares_inputs: ClassVar[bool] = False
    """It compares the tree with the inputs, so a render fixes what it finds."""

    @abstractmethod
    def find_in_tree(self, tree: TreeContext) -> Iterable[Finding]:
        """What the check finds in the tree."""

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        if context.tree is None:
            return
        covered = self.covered_files(context.tree)
        for finding in self.find_in_tree(context.tree):
            if finding.severity == WARNING or finding.problem.where.file not in covered:
                yield finding

    def covered_files(self, tree: TreeContext) -> frozenset[str]:
        """The files that another error covers."""
        return tree.explained_files | tree.unreadable

    def build_finding(
        self, tree: TreeContext, where: Place, what: str, code: str, fix: str = RENDER
    ) -> Finding:
        """A finding about a file of the tree, given with its directory."""
        return Finding(self.severity, tree.problem(where, what, self.id, code, fix))


class LeftoverCheck(ContentCheck):
    """A check that reports differences between tree and render that no other finding covers."""

    def find_in_tree(self, tree: TreeContext) -> Iterable[Finding]:
        return ()

    @abstractmethod
    def find_leftovers(self, drift: Drift) -> Iterable[Finding]:
        """What the check finds in the differences."""
