"""Losses, the Distiller and the training loop around it."""
