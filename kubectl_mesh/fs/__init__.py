"""Files, folders and programs: the only place where the package reads, writes and runs what is
outside of it.
"""
