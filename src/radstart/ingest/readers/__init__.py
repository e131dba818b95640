"""Readers: a path becomes pixels, or a reason why not."""

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.raster import SUFFIXES, read_raster

__all__ = ["SUFFIXES", "Unreadable", "read_raster"]
