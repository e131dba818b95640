"""Images of any kind, with or without a table, become a dataset."""

from radstart.ingest.columns import Columns
from radstart.ingest.folder import ingest_folder
from radstart.ingest.pipeline import Reading
from radstart.ingest.sample import Sample, sample_images

__all__ = ["Columns", "Reading", "Sample", "ingest_folder", "sample_images"]
