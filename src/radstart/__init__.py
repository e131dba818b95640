"""radstart: which starting weights, how to fine-tune, and is the difference real?"""

__version__ = "0.1.0"
