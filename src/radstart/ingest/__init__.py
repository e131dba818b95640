"""Images of any kind, with or without a table, become a dataset.

The room is also the verb: `radstart.ingest("PACS", out="DATASET")`.
"""

import sys
from types import ModuleType

from radstart.ingest.archive import FOLDERS, IngestSpec, dataset_lines, ingest, ingest_sources
from radstart.ingest.columns import Columns
from radstart.ingest.folder import ingest_folder
from radstart.ingest.linked import is_dataset, link_dataset
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
    "dataset_lines",
    "ingest",
    "ingest_folder",
    "ingest_sources",
    "is_dataset",
    "link_dataset",
    "sample_images",
]


class _Room(ModuleType):
    __call__ = staticmethod(ingest_sources)


sys.modules[__name__].__class__ = _Room
