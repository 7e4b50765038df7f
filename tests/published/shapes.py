"""Images of one or two shapes, made as they are needed, after Shapeset-3 x 2 of Glorot & Bengio (2010), section 2.1."""

import numpy as np

SIDE = 16
TRIANGLE, PARALLELOGRAM, ELLIPSE, NOTHING = range(4)
CLASSES = np.array(
    [
        (TRIANGLE, NOTHING),
        (PARALLELOGRAM, NOTHING),
        (ELLIPSE, NOTHING),
        (TRIANGLE, TRIANGLE),
        (PARALLELOGRAM, PARALLELOGRAM),
        (ELLIPSE, ELLIPSE),
        (TRIANGLE, PARALLELOGRAM),
        (TRIANGLE, ELLIPSE),
        (PARALLELOGRAM, ELLIPSE),
    ]
)


def shapes(n, rng):
    """n images of 16 x 16 pixels, 1 inside a shape and -1 outside, and their classes, of 9."""
    labels = rng.integers(len(CLASSES), size=n)
    images = np.zeros((n, SIDE, SIDE), bool)
    for kinds in CLASSES[labels].T:
        images |= _drawn(kinds[:, None, None], rng)
    return np.where(images, 1, -1).astype(np.float32), labels


def _drawn(kinds, rng):
    """Shapes of these kinds, each moved, turned, stretched and sheared at random."""

    def drawn(low, high):
        return rng.uniform(low, high, kinds.shape)

    grid = np.linspace(-1, 1, SIDE)
    size = drawn(0.35, 0.55)
    x, y = (grid - drawn(-0.5, 0.5)) / size, (grid[:, None] - drawn(-0.5, 0.5)) / size
    angle = drawn(0, 2 * np.pi)
    v = (np.cos(angle) * y - np.sin(angle) * x) / drawn(0.6, 1.0)
    u = np.cos(angle) * x + np.sin(angle) * y + drawn(-0.5, 0.5) * v
    triangle = (v >= -0.7) & (v <= 0.9 - 1.8 * np.abs(u))
    parallelogram = np.maximum(np.abs(u), np.abs(v)) <= 0.8
    ellipse = u * u + v * v <= 1
    return np.choose(kinds, [triangle, parallelogram, ellipse, np.zeros_like(ellipse)])
