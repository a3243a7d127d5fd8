"""From a data set's fingerprint to a plan."""
