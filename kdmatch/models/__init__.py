"""Keras Functional matchers: BERT, ALBERT, TextCNN and TextCNN with attention."""
