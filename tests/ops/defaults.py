"""What every function does when nothing is said, and what Keras 3 and PyTorch do.

This table is the one place that says so. The tests hold the code (and PyTorch, where it is installed) to it, and
docs/semantics.md prints it.
"""

from __future__ import annotations

from typing import NamedTuple


class Default(NamedTuple):
    """`call`, or the name with x alone, gives what `formula` gives in NumPy and `torch` in PyTorch.

    `keras` and `remark` say what the other two do when nothing is said.
    """

    signature: str
    formula: str
    torch: str
    remark: str = "same"
    keras: str = "same"
    call: str = ""

    @property
    def name(self) -> str:
        return self.signature.split("(")[0]

    @property
    def called(self) -> str:
        return self.call or f"{self.name}(x)"

    def row(self) -> str:
        """The line of the table in docs/semantics.md."""
        test = f"`test_defaults.py::test_default[{self.name}]`"
        return f"| `{self.signature}` | `{self.formula}` | {self.keras} | `{self.torch}`: {self.remark} | {test} |"


REDUCED = "axis=None, keepdims=False"
NEEDS_DIM = "there without a default"
MEAN = "the mean over samples"
PROBABILITIES = "from probabilities"

DEFAULTS = [
    Default(f"sum(x, {REDUCED})", "np.sum(x)", "torch.sum(x)"),
    Default(f"mean(x, {REDUCED})", "np.mean(x)", "torch.mean(x)"),
    Default(f"max(x, {REDUCED})", "np.max(x)", "torch.amax(x)", "`torch.max` gives one of the tied"),
    Default(f"min(x, {REDUCED})", "np.min(x)", "torch.amin(x)", "`torch.min` gives one of the tied"),
    Default(f"prod(x, {REDUCED})", "np.prod(x)", "torch.prod(x)"),
    Default(f"all(x, {REDUCED})", "np.all(x)", "torch.all(x != 0)"),
    Default(f"any(x, {REDUCED})", "np.any(x)", "torch.any(x != 0)"),
    Default(f"logsumexp(x, {REDUCED})", "np.log(np.sum(np.exp(x)))", "torch.logsumexp(x, (0, 1))", NEEDS_DIM),
    Default(
        "var(x, axis=None, ddof=0, keepdims=False)",
        "np.mean(np.square(x - np.mean(x)))",
        "torch.var(x, correction=0)",
        "`correction=1`",
    ),
    Default(
        "std(x, axis=None, ddof=0, keepdims=False)",
        "np.sqrt(np.mean(np.square(x - np.mean(x))))",
        "torch.std(x, correction=0)",
        "`correction=1`",
    ),
    Default("cumsum(x, axis=None)", "np.cumsum(np.ravel(x))", "torch.cumsum(x.ravel(), 0)", NEEDS_DIM),
    Default("argmax(x, axis=None)", "np.argmax(np.ravel(x))", "torch.argmax(x)"),
    Default("argmin(x, axis=None)", "np.argmin(np.ravel(x))", "torch.argmin(x)"),
    Default(
        "norm(x, ord=None, axis=None, keepdims=False)",
        "np.sqrt(np.sum(np.square(x)))",
        "torch.linalg.norm(x)",
    ),
    Default(
        "standardize(x, *, axis, epsilon)",
        "(x - np.mean(x, 0)) / np.sqrt(np.var(x, 0) + 1e-3)",
        "F.batch_norm(x, None, None, training=True, eps=1e-3)",
        "`eps=1e-5`",
        "0.001 in the layer",
        "standardize(x, axis=0, epsilon=1e-3)",
    ),
    Default("relu(x)", "np.where(x > 0, x, 0)", "F.relu(x)"),
    Default(
        "leaky_relu(x, alpha=0.3)",
        "np.where(x > 0, x, 0.3 * x)",
        "F.leaky_relu(x, 0.3)",
        "0.01",
        "0.3 in the layer, 0.2 in the function; called `negative_slope`",
    ),
    Default(
        "prelu(x, alpha)",
        "np.where(x > 0, x, 0.25 * x)",
        "F.prelu(x, torch.full((1,), 0.25, dtype=x.dtype))",
        "the layer begins with 0.25",
        "the layer begins with 0, as here",
        "prelu(x, np.full(1, 0.25))",
    ),
    Default(
        "rrelu(x, lower=1 / 8, upper=1 / 3, *, training=True, seed=None, rng=None)",
        "np.where(x > 0, x, 11 / 48 * x)",
        "F.rrelu(x)",
        "`training=False`",
        "has none; the paper draws the reciprocal of the slope",
        "rrelu(x, training=False)",
    ),
    Default("elu(x, alpha=1.0)", "np.where(x > 0, x, np.expm1(np.minimum(x, 0)))", "F.elu(x)"),
    Default("celu(x, alpha=1.0)", "np.where(x > 0, x, np.expm1(np.minimum(x, 0)))", "F.celu(x)"),
    Default(
        "selu(x)",
        "1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))",
        "F.selu(x)",
    ),
    Default("gelu(x, approximate=False)", "x * normal_cdf(x)", "F.gelu(x)"),
    Default("silu(x)", "x / (1 + np.exp(-x))", "F.silu(x)"),
    Default("mish(x)", "x * np.tanh(np.log1p(np.exp(x)))", "F.mish(x)"),
    Default("softsign(x)", "x / (1 + np.abs(x))", "F.softsign(x)"),
    Default("softplus(x)", "np.log1p(np.exp(x))", "F.softplus(x)", "a straight line above 20"),
    Default(
        "hard_sigmoid(x)",
        "np.clip(x + 3, 0, 6) / 6",
        "F.hardsigmoid(x)",
        keras="same; Keras 2 had `clip(0.2 * x + 0.5, 0, 1)`",
    ),
    Default("softmax(x, axis=-1)", "np.exp(x) / np.sum(np.exp(x), -1, keepdims=True)", "F.softmax(x, -1)", NEEDS_DIM),
    Default(
        "log_softmax(x, axis=-1)",
        "x - np.log(np.sum(np.exp(x), -1, keepdims=True))",
        "F.log_softmax(x, -1)",
        NEEDS_DIM,
    ),
    Default(
        "dropout(x, rate, *, seed=None, rng=None)",
        "x",
        "F.dropout(x, 0.0)",
        "0.5",
        "same, in the layer",
        "dropout(x, 0.0)",
    ),
    Default(
        "alpha_dropout(x, rate, *, seed=None, rng=None)",
        "x",
        "F.alpha_dropout(x, 0.0)",
        "0.5, and `training=False`",
        "same, in the layer",
        "alpha_dropout(x, 0.0)",
    ),
    Default(
        "sparse_softmax_crossentropy(labels, logits)",
        "np.log(np.sum(np.exp(x), -1)) - x[[0, 1, 2], [1, 0, 3]]",
        'F.cross_entropy(x, torch.tensor([1, 0, 3]), reduction="none")',
        MEAN,
        PROBABILITIES,
        "sparse_softmax_crossentropy([1, 0, 3], x)",
    ),
    Default(
        "softmax_crossentropy(targets, logits)",
        "np.log(np.sum(np.exp(x), -1)) - np.mean(x, -1)",
        'F.cross_entropy(x, torch.full_like(x, 0.25), reduction="none")',
        MEAN,
        PROBABILITIES,
        "softmax_crossentropy(np.full((3, 4), 0.25), x)",
    ),
    Default(
        "sigmoid_crossentropy(targets, logits)",
        "np.log1p(np.exp(x)) - 0.25 * x",
        'F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.25), reduction="none")',
        MEAN,
        PROBABILITIES,
        "sigmoid_crossentropy(0.25, x)",
    ),
    Default("transpose(x, axes=None)", "x.T", "x.T", "`torch.transpose` swaps two axes"),
    Default("squeeze(x, axis=None)", "np.squeeze(x)", "torch.squeeze(x)"),
    Default("flip(x, axis=None)", "x[::-1, ::-1]", "torch.flip(x, (0, 1))", NEEDS_DIM, "there without a default"),
    Default("concatenate(arrays, axis=0)", "np.vstack([x, x])", "torch.cat([x, x])", call="concatenate([x, x])"),
    Default("stack(arrays, axis=0)", "np.array([x, x])", "torch.stack([x, x])", call="stack([x, x])"),
    Default(
        "split(x, indices_or_sections, axis=0)",
        "np.split(x, 3)",
        "torch.tensor_split(x, 3)",
        "`torch.split` takes the length of a part",
        call="split(x, 3)",
    ),
    Default(
        "take(x, indices, axis=None)",
        "np.ravel(x)[[5, 5]]",
        "torch.take(x, torch.tensor([5, 5]))",
        call="take(x, [5, 5])",
    ),
    Default(
        "clip(x, a_min=None, a_max=None)", "np.minimum(x, 0.5)", "torch.clip(x, max=0.5)", call="clip(x, None, 0.5)"
    ),
    Default(
        'pad(x, pad_width, mode="constant", constant_values=0.0)',
        "np.pad(x, 1)",
        "F.pad(x, (1, 1, 1, 1))",
        "pairs for the last axis first",
        call="pad(x, 1)",
    ),
]


def table() -> str:
    """The table as docs/semantics.md prints it."""
    lines = ["| here | is, in NumPy | Keras 3 | PyTorch | test |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(default.row() for default in DEFAULTS)])
