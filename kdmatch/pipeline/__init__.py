"""The config, the stages and the run directory."""
