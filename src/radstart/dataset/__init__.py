"""Rows, pixel shards, units, parts, audit, budgets, working copies: a dataset and its uses."""

from radstart.dataset.audit import Audit, Leakage, audit, resolve
from radstart.dataset.budgets import draw_budget
from radstart.dataset.copies import channel_statistics, working_copy
from radstart.dataset.given import given_split
from radstart.dataset.hashes import perceptual_hash, perceptual_hashes
from radstart.dataset.parts import PARTS, Given, Parts, assign_parts, part_of_split
from radstart.dataset.similar import Similar, similar_hashes
from radstart.dataset.split import Split, open_split, split_dataset
from radstart.dataset.split_spec import SplitSpec
from radstart.dataset.store import Dataset, open_dataset, save_dataset
from radstart.dataset.tables import MORE_SCHEMA, ROW_SCHEMA, TARGET, codes, natural, text
from radstart.dataset.units import Units, count_duplicates, find_units
from radstart.dataset.views import square_views

__all__ = [
    "MORE_SCHEMA",
    "PARTS",
    "ROW_SCHEMA",
    "TARGET",
    "Audit",
    "Dataset",
    "Given",
    "Leakage",
    "Parts",
    "Similar",
    "Split",
    "SplitSpec",
    "Units",
    "assign_parts",
    "audit",
    "channel_statistics",
    "codes",
    "count_duplicates",
    "draw_budget",
    "find_units",
    "given_split",
    "natural",
    "open_dataset",
    "open_split",
    "part_of_split",
    "perceptual_hash",
    "perceptual_hashes",
    "resolve",
    "save_dataset",
    "similar_hashes",
    "split_dataset",
    "square_views",
    "text",
    "working_copy",
]
