"""Weights folders with a card, and networks exported with their convention inside."""
