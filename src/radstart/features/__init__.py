"""A network over many images; frozen features, computed once and kept."""

from radstart.features.forward import features_key, forward, frozen_features

__all__ = ["features_key", "forward", "frozen_features"]
