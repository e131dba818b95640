"""A folder of images with a CSV, or class folders, becomes a dataset."""

from radstart.ingest.columns import Columns
from radstart.ingest.pipeline import ingest_folder

__all__ = ["Columns", "ingest_folder"]
