"""What the students learn from: a BERT cross-encoder and a LightGBM ranker."""
