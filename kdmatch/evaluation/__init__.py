"""Ranking metrics with bootstrap intervals, latency, and the documents made from them."""
