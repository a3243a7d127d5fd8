"""Run configurations: typed models, their YAML files and overrides."""
