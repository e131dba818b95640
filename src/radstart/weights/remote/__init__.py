"""Weights over the network, out of archives, kept on this machine."""
