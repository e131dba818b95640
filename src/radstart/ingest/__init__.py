"""A folder of images with a CSV, or class folders, becomes a dataset."""

from radstart.ingest.columns import Columns
from radstart.ingest.pipeline import ingest_folder
from radstart.ingest.sample import Sample, sample_images

__all__ = ["Columns", "Sample", "ingest_folder", "sample_images"]
