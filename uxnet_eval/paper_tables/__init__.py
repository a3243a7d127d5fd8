"""The paper's two tables, with the results of one's own trainings beside the published figures."""
