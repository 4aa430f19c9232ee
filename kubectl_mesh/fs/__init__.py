"""Files, folders and programs: how the package reads, writes and runs what is outside it."""
