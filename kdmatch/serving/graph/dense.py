"""Products of matrices, with constant weights and of a batch."""

import numpy as np
import tensorflow as tf


def dense(x: tf.Tensor, weights: tuple[np.ndarray, np.ndarray]) -> tf.Tensor:
    """`x @ kernel + bias` in the type of `x`, two operations that TensorFlow fuses."""
    kernel, bias = (tf.constant(one, x.dtype) for one in weights)
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def batch_product(a: tf.Tensor, b: tf.Tensor, transpose_b: bool = False) -> tf.Tensor:
    """`tf.matmul` of float32 `(batch, n, k)` and `(batch, k, m)`, for small n, k and m.

    `tf.matmul` becomes oneDNN's, which compiles a kernel for each shape that it has
    not met lately; pages differ in shape, and their products are small. The third
    version of the operation stays Eigen's.
    """
    return tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=tf.float32, adj_y=transpose_b)
