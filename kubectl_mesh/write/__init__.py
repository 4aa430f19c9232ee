"""write: changes become files, so that a reader finds each directory old or new, whatever kills the run.

A directory of `out/` is built beside the old one and exchanged with it in one system call (renameat2, RENAME_EXCHANGE); it
can be rendered again, so nothing waits for the disk. What cannot be made again (`certs/`, the topology) is synced before it
gets its name; where keys and certificates in use are replaced, `certs/` is exchanged as a whole. Private files are born 0600
in folders born 0700. No symbolic link is followed: every step goes by descriptor.
"""

from kubectl_mesh.write.exchange import STAGE_CERTS, exchange_certificates
from kubectl_mesh.write.files import ASK, STAGE, make_folder
from kubectl_mesh.write.kept import add_files, replace_file, write_certificates
from kubectl_mesh.write.lock import LOCK_FILE, locked
from kubectl_mesh.write.tree import clear, write_tree

__all__ = [
    "ASK",
    "LOCK_FILE",
    "STAGE",
    "STAGE_CERTS",
    "add_files",
    "clear",
    "exchange_certificates",
    "locked",
    "make_folder",
    "replace_file",
    "write_certificates",
    "write_tree",
]
