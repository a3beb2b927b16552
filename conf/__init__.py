"""The configuration of the command line: YAML files in groups. This file makes them a package, which Hydra needs."""
