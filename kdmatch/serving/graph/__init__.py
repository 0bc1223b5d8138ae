"""Inference graphs of their own: the score of the Keras model, less of its work.

Weights are constants, the tokens of a page lie in one vector without padding,
the query of a page is read once, and layers are folded into each other where
that is exact. Everything is written with TensorFlow's own operations.
"""

# Raised with each change of these graphs: a run's exports of an older one are made anew.
REVISION = 2
