"""How fast a page is scored: by every engine in one run, and under load."""
