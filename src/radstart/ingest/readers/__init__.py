"""Readers: a path becomes pixels, or a reason why not."""

from radstart.ingest.readers.raster import SUFFIXES, Unreadable, read_raster

__all__ = ["SUFFIXES", "Unreadable", "read_raster"]
