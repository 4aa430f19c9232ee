"""The one list of what a change from one state of a mesh to another means for running clusters."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.observed.lazy_state import exclude_clusters
from kubectl_mesh.observed.mesh_state import MeshState
from kubectl_mesh.safety.apply_steps import Constraint, Order
from kubectl_mesh.safety.calls import list_call_constraints, list_lost_calls, list_unknown_calls
from kubectl_mesh.safety.gateways import find_lost_gateways
from kubectl_mesh.safety.identity import (
    find_name_changes,
    find_placement_changes,
    find_revision_changes,
)
from kubectl_mesh.safety.mesh_pair import MeshPair
from kubectl_mesh.safety.order import MeshChange, find_order
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.readers import find_lost_readers
from kubectl_mesh.safety.reconnections import find_reconnections
from kubectl_mesh.safety.refusal import IN_USE_CHECK, Refusal
from kubectl_mesh.safety.remote_secrets import withdrawal_problems
from kubectl_mesh.safety.removals import list_removals
from kubectl_mesh.safety.roots import find_root_refusals, issuer_change_problems
from kubectl_mesh.safety.tokens import (
    early_removal_problems,
    expired_token_problems,
    skipped_step_problems,
)
from kubectl_mesh.targets.teardown import Leaving
from kubectl_mesh.text import marked_text


@dataclass(frozen=True, slots=True)
class Review:
    """The review of a change: what it means for running clusters."""

    refusals: tuple[Refusal, ...] = ()
    """The changes that running clusters do not survive."""
    restart_refusals: tuple[Refusal, ...] = ()
    """Changes of remote secrets after which istiod has to restart, which have to be agreed to."""
    restarts: tuple[Problem, ...] = ()
    """The same where they are agreed to: what to run."""
    issuer_warnings: tuple[Problem, ...] = ()
    """That another issuer has the root, where only the clusters know whether it is the same."""
    login_warnings: tuple[Problem, ...] = ()
    """Changes of remote secrets after which istiod may have to restart."""
    unknown_problems: tuple[Problem, ...] = ()
    """What cannot be known offline."""
    removals: Leaving = field(default_factory=Leaving)
    """What leaves the tree but is in the clusters, of a change that is not refused."""

    call_constraints: tuple[Constraint, ...] = ()
    """Who has to apply the change before whom so that no call between clusters fails."""
    unknown_calls: tuple[str, ...] = ()
    """What cannot be known offline of the calls between clusters."""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What to take care of, whether or not restarts are agreed to."""
        return (*self.issuer_warnings, *self.login_warnings)

    def list_warnings(self) -> tuple[Problem, ...]:
        """What a render that is not refused warns of."""
        return (*self.issuer_warnings, *self.restarts, *self.login_warnings, *self.unknown_problems)

    def find_order(self, change: MeshChange) -> Order:
        """The order in which clusters may apply the change; it has none where it is refused."""
        return find_order(change, self.refusals, self.call_constraints, self.unknown_calls)

    def list_problems(self, *, with_restarts: bool = False) -> list[Problem]:
        """Why the change is refused; `with_restarts` accepts changes after which istiod has to
        restart.
        """
        refusals = (*self.refusals, *(() if with_restarts else self.restart_refusals))
        return list(dict.fromkeys(refusal.to_problem() for refusal in refusals))


def review_change(
    old: MeshState, new: MeshState, out: str, render: PlannedRender | None = None
) -> Review:
    """What a change from one state of a mesh to another means for running clusters.

    `old` is the tree that they run, `new` the one that replaces it; `out` is the folder as messages
    show it. `render` says what is known of a render that makes `new`; its refusals name the way out
    for a tree that no cluster runs.

    A change is refused where something leaves the tree of one cluster while another cluster uses
    it, or where a cluster gets another identity while others know the old one: in every order of
    applying there is a state that fails. What only one cluster loses with its own consent (a peer
    that the topology takes out of discovery, a cluster that is removed) is not refused here.

    Sources: istio pilot/pkg/networking/plugin/authn/util.go and pilot/pkg/model/push_context.go
    (trust domains and their aliases), pilot/pkg/serviceregistry/kube/controller/network.go
    (networks and gateways), pkg/kube/multicluster/secretcontroller.go (remote secrets).
    """
    if render is None:
        mesh = MeshPair(old, new, out)
        return _with_calls(Review(tuple(_tree_refusals(mesh) or list_lost_calls(mesh))), mesh)
    running = render.running_changes
    mesh = _running_mesh(old, new, out, render)
    refusals = _running_refusals(mesh, old, new, render)
    if not refusals and render.is_changing:
        refusals = [replace(r, has_way_out=True) for r in list_lost_calls(mesh)]
    refusals += [Refusal(p) for p in expired_token_problems(out, render)]
    logins = find_reconnections(render.plan, running, render.login_changes, out)
    all_logins = (
        find_reconnections(render.plan, render.changes, render.login_changes, out)
        if render.unapplied_clusters
        else logins
    )
    found = Review(
        tuple(refusals),
        tuple(_with_way_out(logins.refusals, render)),
        tuple(all_logins.restarts),
        tuple(issuer_change_problems(old, new, render)),
        tuple(all_logins.warnings),
        tuple(_unknown_problems(out, render)),
        list_removals(new, render, render.existing_files or {}) if not refusals else Leaving(),
    )
    return _with_calls(found, mesh) if render.is_changing else found


def _with_calls(found: Review, mesh: MeshPair) -> Review:
    """A review with what the model of calls adds to a change that is not refused."""
    if found.refusals:
        return found
    return replace(
        found,
        call_constraints=tuple(list_call_constraints(mesh.decision)),
        unknown_calls=tuple(list_unknown_calls(mesh.decision, mesh.contexts)),
    )


def _running_mesh(old: MeshState, new: MeshState, out: str, render: PlannedRender) -> MeshPair:
    """What clusters run, and what the render makes of it."""
    running = exclude_clusters(old, render.unapplied_clusters) if render.unapplied_clusters else old
    return MeshPair(running, new, out, render.is_peer)


def _tree_refusals(mesh: MeshPair, render: PlannedRender | None = None) -> list[Refusal]:
    """The refusals of a change from one tree to the other."""
    moves = find_placement_changes(mesh)
    return [
        *find_name_changes(mesh),
        *moves,
        *find_revision_changes(mesh),
        *find_lost_readers(mesh, render),
        # Who moves takes its gateways along.
        *(find_lost_gateways(mesh) if not moves else ()),
    ]


def _running_refusals(
    mesh: MeshPair, old: MeshState, new: MeshState, render: PlannedRender
) -> list[Refusal]:
    """What clusters that run the existing tree, or the last commit, do not survive of a render."""
    out = mesh.out
    refusals: list[Refusal] = []
    commit_refusals: list[Refusal] = []
    if render.is_changing:
        refusals = [replace(r, has_way_out=True) for r in _tree_refusals(mesh, render)]
        known = {(r.problem.id, r.problem.where) for r in refusals}
        commit_refusals = [
            _with_commit_steps(r, out, render)
            for r in _commit_refusals(new, out, render)
            if (r.problem.id, r.problem.where) not in known
        ]
    # What the peers lack of a reader that does not exist yet, the refusal above explains.
    members = render.plan.members
    places = {members[n].cluster.place for r in refusals for n in r.readers}
    withdrawals = [
        p
        for p in withdrawal_problems(render.plan, render.running_changes, out)
        if p.where not in places
    ]
    early = (
        *skipped_step_problems(render.plan, render.running_changes),
        *early_removal_problems(render),
    )
    return [
        *refusals,
        *commit_refusals,
        *_with_way_out((*withdrawals, *early), render),
        *find_root_refusals(old, new, out, render),
    ]


def _with_way_out(problems: Iterable[Problem], render: PlannedRender) -> list[Refusal]:
    """Refusals that rest on the trees of all clusters."""
    names = tuple(sorted(render.running_clusters))
    return [Refusal(problem, names, has_way_out=True) for problem in problems]


def _commit_refusals(new: MeshState, out: str, render: PlannedRender) -> list[Refusal]:
    """What clusters that run the last commit do not survive: several renders may lie between it and
    this one.
    """
    if render.last_commit is None:
        return []
    return _tree_refusals(MeshPair(render.last_commit, new, out, render.is_peer))


def _with_commit_steps(refusal: Refusal, out: str, render: PlannedRender) -> Refusal:
    """A refusal that only the last commit shows, with the commit that it needs."""
    addition = (
        f"; the last commit does not hold what {out} holds, and clusters may still run that commit"
    )
    there = render.running_clusters
    deleted = [n for n in refusal.clusters if n not in there and n in render.plan.members]
    if deleted:
        paths = " ".join(shlex.quote(join_path(out, name)) for name in deleted)
        fix = f"put back what the last commit holds, and render again: git checkout HEAD -- {paths}"
        return replace(refusal, problem=replace(refusal.problem, fix=fix), addition=addition)
    fix = (
        f"let each step reach the clusters before the next:\n  1. commit what is in {out}, and have"
        " it applied in every cluster\n  2. render again"
    )
    return replace(
        refusal,
        problem=replace(refusal.problem, fix=fix),
        addition=addition,
        has_way_out=there.issuperset(refusal.clusters),
    )


def _unknown_problems(out: str, render: PlannedRender) -> list[Problem]:
    """Why it cannot be known whether clusters that run the last commit survive the render."""
    rest = "; so it cannot be known whether clusters that run the last commit survive this render"
    return [
        Problem(
            Place(out),
            f"{marked_text(p.what)}{rest}",
            p.fix,
            IN_USE_CHECK,
            code="last-commit-unreadable",
        )
        for p in (render.last_commit_problems if render.is_changing else ())
    ]
