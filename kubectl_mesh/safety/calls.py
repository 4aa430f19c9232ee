"""Calls between clusters that a change would break, as the model of `connectivity` decides it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from kubectl_mesh.connectivity.changes import Counterexample, Decision
from kubectl_mesh.errors import Problem
from kubectl_mesh.safety.apply_steps import Constraint
from kubectl_mesh.safety.mesh_pair import MeshPair
from kubectl_mesh.safety.refusal import IN_USE_CHECK, Refusal, names_text
from kubectl_mesh.text import count_text

_FIX = (
    "make two changes of it, each rendered and applied in every cluster before the next:\n  1. add"
    " what the clusters are to use, and keep what they use now\n  2. remove what no cluster uses"
    " any more"
)
_COMMANDS = 3
"""How many commands a sentence has."""


def list_lost_calls(mesh: MeshPair) -> list[Refusal]:
    """Calls that fail in every order in which clusters may apply a change."""
    found = []
    for examples in _group_examples(mesh.decision.losses).values():
        example = examples[0]
        names = sorted({name for one in examples for name in (one.caller, *one.progress)})
        problem = Problem(
            mesh.file_place(min(example.progress, default=example.caller)),
            f"{example_text(example)}{_more_text(examples)}",
            _FIX,
            IN_USE_CHECK,
            code="call-would-fail",
        )
        found.append(Refusal(problem, tuple(names)))
    return found


def example_text(example: Counterexample) -> str:
    """A counterexample as a sentence: who has applied the change, who has not, and what fails."""
    applied, waiting = example.applied_clusters, example.waiting_clusters
    states = [
        f"{names_text(names)} {'has' if len(names) == 1 else 'have'}{words}"
        for names, words in ((applied, " applied this"), (waiting, " not"))
        if names
    ]
    state = f"once {' and '.join(states)}, " if states else ""
    kept = sorted({what for progress in example.progress.values() for what in progress.kept})
    while_text = (
        f" while workloads keep their old {' and '.join(map(_kept_text, kept))}" if kept else ""
    )
    fails = f"calls from {example.caller} to {example.callee} fail{while_text}"
    return f"{state}{fails}: {example.fault.why}"


def _kept_text(what: str) -> str:
    return {"injected": "settings"}.get(what, what)


def _more_text(examples: Sequence[Counterexample]) -> str:
    pairs = {(one.caller, one.callee) for one in examples}
    return (
        f" ({count_text(len(pairs) - 1, 'more pair')} of clusters in the same way)"
        if len(pairs) > 1
        else ""
    )


def _group_examples(
    examples: Sequence[Counterexample],
) -> Mapping[str, list[Counterexample]]:
    """Counterexamples by the code of their fault."""
    found: dict[str, list[Counterexample]] = {}
    for example in examples:
        found.setdefault(example.fault.code, []).append(example)
    return found


def list_call_constraints(decision: Decision) -> Iterator[Constraint]:
    """Who has to apply the change before whom so that no call fails."""
    groups: dict[tuple[str, str], set[str]] = {}
    for rule in decision.order:
        groups.setdefault((rule.first, rule.example.fault.code), set()).add(rule.then)
    examples = {(rule.first, rule.example.fault.code): rule.example for rule in decision.order}
    for key, after in groups.items():
        example = examples[key]
        reason = (
            f"{key[0]} before {names_text(sorted(after))}: otherwise calls from {example.caller} to"
            f" {example.callee} fail for a while, because {example.fault.why}"
        )
        yield Constraint(frozenset((key[0],)), frozenset(after), reason)


def list_unknown_calls(decision: Decision, contexts: Mapping[str, str]) -> Iterator[str]:
    """What cannot be known offline of the calls, with the commands that show it.

    `contexts` are those of the clusters, by name.
    """
    for examples in _group_examples(decision.unknown).values():
        fault = examples[0].fault
        what = f"{fault.why}{_more_text(examples)} cannot be known offline"
        where = dict.fromkeys(one.fault.cluster for one in examples if one.fault.command)
        commands = [
            f"`{fault.command} {shlex.quote(f'--context={contexts.get(name) or name}')}`"
            for name in where
        ]
        listed = ", ".join(commands[:_COMMANDS])
        more = (
            f", and the same for {len(commands) - _COMMANDS} more"
            if len(commands) > _COMMANDS
            else ""
        )
        yield f"{what}; once it is applied, this shows it: {listed}{more}" if commands else what
