"""Converts dumps of a running mesh (`kubectl get -o yaml`) into the files of a working directory,
or reports what is inconsistent.

The caller loads the documents, each with the context of its cluster. Messages never contain a value
of a Secret.
"""
