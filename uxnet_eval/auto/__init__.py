"""``uxnet auto``: from a folder of scans to a trained ensemble, within the given hours.

Each module knows only those named before it.

- ``schedule``: what each stage does, and how long it is predicted to take.
- ``timing``: real steps, timed on this machine and these data.
- ``needs``: the seconds that each part of a schedule takes, from a timing.
- ``fitting``: the schedule that fits the hours.
- ``planning``: width, patch and batch, from timings; the YAML file.
- ``record``: what the folder remembers of its stages.
- ``progress``: one line for all stages.
- ``ensembles``: the scores of the final trainings, and which of them segments new scans.
- ``outcome``: the final table.
- ``trainings``: the trainings of a stage, here or as trials of NNI.
- ``stages``: what each stage runs.
- ``run``: all stages, resumable.
"""
