"""Text to ids inside the TensorFlow graph, the same for training and serving."""
