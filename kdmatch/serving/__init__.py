"""From a trained matcher to a scored search page: export, serve, call."""
