"""Experiments as arrays of SLURM jobs, without a manager that must be reachable.

- ``request``: what is asked of the cluster.
- ``parameters``: the parameters of all trials, known before the first one starts.
- ``cluster``: SLURM's own commands.
- ``task``: what runs on a node, a trial each.
- ``record``: the experiment's folder, and how far its trials are.
- ``launch``: starting, resuming, cancelling and watching.
"""
