"""The machines of an experiment with ``trainingService: remote``.

- ``machines``: what is known about them, and how ssh reaches them.
- ``probe``: looks at a machine; runs there, whatever is installed.
- ``check``: whether they fit, before anything is started.
"""
