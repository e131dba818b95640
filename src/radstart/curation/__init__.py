"""What is wrong with a dataset: duplicates, leakage, shortcuts, outliers, what tells a patient."""

from radstart.curation.inspecting import Inspection, inspect_dataset

__all__ = ["Inspection", "inspect_dataset"]
