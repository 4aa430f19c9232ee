"""The checks of what git would take into a commit."""

from kubectl_mesh.checks.result import ERROR, Check

CHECKS = (
    Check(
        "git-ignored",
        "git",
        ERROR,
        "no private key or token can get into a commit unless the topology says so",
        "a key that everyone has who has the repository",
        "Add the lines that the finding gives to .gitignore, or choose a store that seals: sops,"
        " sealed or external.",
    ),
    Check(
        "git-tracked",
        "git",
        ERROR,
        "no file that git tracks holds a key or a login in clear, but for a tree of the store"
        " plain",
        "a key that everyone has who has the repository, now and later, for git forgets nothing",
        "Take the file out of git (`git rm --cached`), and take what it holds for known to others:"
        " make it anew, and revoke the old.",
    ),
)
