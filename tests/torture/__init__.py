"""A campaign of faults against the commands: malformed inputs, kills, full disks and flipped bits.

``make torture`` runs all of it; ``tests/test_torture.py`` runs a small part.
"""
