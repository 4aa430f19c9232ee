"""The checks of what is not known yet."""

from collections.abc import Iterator

from kubectl_mesh.checks.check import Check
from kubectl_mesh.checks.context import CheckContext, Finding
from kubectl_mesh.errors import Problem
from kubectl_mesh.text import marked_text


class PendingCheck(Check):
    """A check that something is known. Its id is the kind of a `Pending` and `-pending`."""

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        inputs = context.inputs
        if inputs is None or inputs.plan is None:
            return
        for pending in inputs.plan.pending:
            kind, subject = pending.kind, pending.subject
            is_broken = (kind, subject) in inputs.broken_inputs or (
                kind == "token" and ("server", subject) in inputs.broken_inputs
            )
            if self.id != f"{kind}-pending" or is_broken:
                continue
            where = (
                inputs.plan.topology.document.field_place("networks", subject)
                if kind == "gateway"
                else inputs.plan.members[subject].cluster.place
            )
            what = (
                f"{pending.what} is not known, which holds back {marked_text(pending.holds_back)}"
            )
            problem = Problem(
                where, what, f"run: {marked_text(pending.command)}", self.id, code=self.id
            )
            yield Finding(self.severity, problem)
