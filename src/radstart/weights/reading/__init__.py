"""Files of weights -> tensors by name; no pickle is ever executed."""
