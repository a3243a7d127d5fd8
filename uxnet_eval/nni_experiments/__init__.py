"""NNI experiments: starting them, and reading what they recorded."""
