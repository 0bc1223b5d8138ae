"""The config of a run: every field with its default and what it does."""
