"""Generated images with a known truth, for the demonstration and the tests."""

from radstart.phantom.images import KINDS, Phantom, write_phantom

__all__ = ["KINDS", "Phantom", "write_phantom"]
