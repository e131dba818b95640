"""Images of any kind, with or without a table, become a dataset."""

from radstart.ingest.archive import FOLDERS, IngestSpec, ingest
from radstart.ingest.columns import Columns
from radstart.ingest.folder import ingest_folder
from radstart.ingest.meaning import PRESETS, Rendering
from radstart.ingest.pipeline import Reading
from radstart.ingest.sample import Sample, sample_images

__all__ = [
    "FOLDERS",
    "PRESETS",
    "Columns",
    "IngestSpec",
    "Reading",
    "Rendering",
    "Sample",
    "ingest",
    "ingest_folder",
    "sample_images",
]
