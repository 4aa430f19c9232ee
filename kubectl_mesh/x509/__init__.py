"""Certificates as values: parsing, file names, and chains to roots."""
