"""Rows, pixel shards, units, parts, audit, budgets, working copies: a dataset and its uses."""

from radstart.dataset.audit import Audit, Leakage, audit, resolve
from radstart.dataset.budgets import draw_budget
from radstart.dataset.copies import channel_statistics, working_copy
from radstart.dataset.parts import PARTS, Parts, assign_parts
from radstart.dataset.store import Dataset, PixelWriter, open_dataset, save_dataset
from radstart.dataset.tables import natural, text
from radstart.dataset.units import Units, count_duplicates, find_units
from radstart.dataset.views import square_views

__all__ = [
    "PARTS",
    "Audit",
    "Dataset",
    "Leakage",
    "Parts",
    "PixelWriter",
    "Units",
    "assign_parts",
    "audit",
    "channel_statistics",
    "count_duplicates",
    "draw_budget",
    "find_units",
    "natural",
    "open_dataset",
    "resolve",
    "save_dataset",
    "square_views",
    "text",
    "working_copy",
]
