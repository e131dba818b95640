"""A network over many images; frozen features, computed once and kept."""

from radstart.features.forward import forward, frozen_features

__all__ = ["forward", "frozen_features"]
