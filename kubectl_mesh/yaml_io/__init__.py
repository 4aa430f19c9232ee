"""YAML and JSON: read with places, written so that every reader agrees, judged by schemas, edited
in place.
"""
