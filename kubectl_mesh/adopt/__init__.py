"""adopt: what `kubectl get -o yaml` printed of a running mesh becomes the files of a working
directory, or `Problem`s that say what does not fit together.

Nothing here reads a file: the shell gives the loaded documents, each with the context of its
cluster. No value of a Secret is ever put into a message.
"""
