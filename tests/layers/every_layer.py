"""Every layer, made in every way that matters, with the shape of a batch for it: a new one is added here."""

import numpy as np

from tinygrad_bn import layers

LAYERS = [
    (lambda **o: layers.Input((5,), **o), (4, 5)),
    (lambda **o: layers.Dense(3, "tanh", bias_initializer="random_normal", **o), (4, 5)),
    (lambda **o: layers.Dense(3, layers.PReLU(dtype=o.get("dtype", "float32")), use_bias=False, **o), (4, 2, 5)),
    (lambda **o: layers.Flatten(**o), (4, 2, 3)),
    (lambda **o: layers.Activation("softplus", **o), (4, 5)),
    (lambda **o: layers.Activation(layers.PReLU(dtype=o.get("dtype", "float32")), **o), (4, 5)),
    (lambda **o: layers.ReLU(**o), (4, 5)),
    (lambda **o: layers.LeakyReLU(0.2, **o), (4, 5)),
    (lambda **o: layers.PReLU("random_normal", **o), (4, 5)),
    (lambda **o: layers.PReLU("ones", shared_axes=[1], **o), (4, 2, 5)),
    (lambda **o: layers.RReLU(seed=1, **o), (4, 5)),
    (lambda **o: layers.ELU(0.7, **o), (4, 5)),
    (lambda **o: layers.SELU(**o), (4, 5)),
    (lambda **o: layers.Softmax(**o), (4, 5)),
    (lambda **o: layers.Dropout(0.4, seed=1, **o), (4, 5)),
    (lambda **o: layers.AlphaDropout(0.4, seed=1, **o), (4, 5)),
    (lambda **o: layers.GaussianNoise(0.4, seed=1, **o), (4, 5)),
    (lambda **o: layers.BatchNormalization(gamma_initializer="random_normal", **o), (6, 5)),
    (lambda **o: layers.BatchNormalization(axis=1, **o), (4, 2, 3)),
    (lambda **o: layers.BatchNormalization(axis=[1, 2], unbiased=True, **o), (4, 2, 3)),
    (lambda **o: layers.BatchNormalization(center=False, scale=False, **o), (4, 5)),
    (lambda **o: layers.LayerNormalization(beta_initializer="random_normal", **o), (4, 5)),
    (lambda **o: layers.LayerNormalization(axis=[1, 2], **o), (4, 2, 3)),
    (lambda **o: layers.Normalization(mean=0.5, variance=2.0, **o), (4, 5)),
    (lambda **o: layers.Normalization([1, 2], mean=0.5, variance=2.0, invert=True, **o), (4, 2, 3)),
]


def sample(shape, dtype=np.float64):
    """Values away from 0, where some layers have a kink."""
    x = np.random.default_rng(0).normal(size=shape)
    return (x + 0.2 * np.sign(x)).astype(dtype)
