"""Errors, whole files, hashes, random streams, progress: what every room may use."""
