"""The result of `verify` as text."""

from kubectl_mesh.operations.verify import VerifyResult
from kubectl_mesh.text import count_text


def verify_text(result: VerifyResult) -> str:
    """A line for each directory that is as it should be, or that is sealed for others."""
    return "".join(
        f"other     {folder.path}  is sealed for others\n"
        if folder.is_for_others
        else f"verified  {folder.path}  {count_text(folder.files, 'file')} open, and hold what they"
        " should\n"
        for folder in result.folders
    )
