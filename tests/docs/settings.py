"""What every public class and method does when nothing is said, and what Keras 3 and PyTorch do.

This table is the one place that says so. The tests hold the code to it, and Keras and PyTorch where they are installed;
docs/semantics.md prints it. What functions of arrays do stands in tests/ops/defaults.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Peer(NamedTuple):
    """What comes nearest to ours in another library.

    Args:
        path: its name there, from the top of the library on.
        differs: for each of our arguments whose default is not the same under the same name, the one there, such as
            "lr=0.001"; one that has no default there is its name alone, one that does not exist there is empty.
        remark: what else there is to say.
    """

    path: str
    differs: Mapping[str, str] = MappingProxyType({})
    remark: str = ""

    def cell(self, name: str) -> str:
        called = self.path.rpartition(".")[2]
        said = [f"`{other}`" for other in dict.fromkeys(self.differs.values()) if other]
        lacking = [f"`{own}`" for own, other in self.differs.items() if not other]
        said += [f"no {', '.join(lacking)}"] if lacking else []
        told = "; ".join([", ".join(said) or "same", *([self.remark] if self.remark else [])])
        return told if called == name else f"`{called}`: {told}"


class Setting(NamedTuple):
    """The defaults of one of ours, but for `seed`, `rng` and `input_shape`, which are None, and those of all layers."""

    here: str
    keras: Peer | None = None
    torch: Peer | None = None
    remark: str = ""

    @property
    def path(self) -> str:
        return self.here.partition("(")[0]

    def row(self) -> str:
        """The line of the table in docs/semantics.md."""
        name = self.path.rpartition(".")[2]
        cells = ["none" if peer is None else peer.cell(name) for peer in (self.keras, self.torch)]
        return f"| `{self.here}`{self.remark and ': '}{self.remark} | {' | '.join(cells)} |"


def peers(kind: str, names: dict[str, str]) -> tuple[Peer, Peer]:
    """Keras's of the same name, and PyTorch's."""
    return Peer(f"optimizers.{kind}"), Peer(f"optim.{'NAdam' if kind == 'Nadam' else kind}", names)


BETAS = {"beta_1": "betas=(0.9, 0.999)", "beta_2": "betas=(0.9, 0.999)", "epsilon": "eps=1e-08"}
LOGITS = {"from_logits": ""}
NO_INITIALIZERS = {"beta_initializer": "", "gamma_initializer": ""}

SETTINGS = [
    # Optimizers
    Setting(
        "optimizers.Optimizer(weight_decay=None, clipvalue=None, clipnorm=None, global_clipnorm=None, "
        "nonfinite='keep')",
        Peer("optimizers.SGD", {"nonfinite": ""}, "all others alike"),
        Peer(
            "optim.SGD",
            {"weight_decay": "weight_decay=0", "clipvalue": "", "clipnorm": "", "global_clipnorm": "", "nonfinite": ""},
            "all others but AdamW alike; decay is part of the gradient there",
        ),
    ),
    Setting(
        "optimizers.SGD(learning_rate=0.01, momentum=0.0, nesterov=False)",
        *peers("SGD", {"learning_rate": "lr=0.001"}),
    ),
    Setting(
        "optimizers.RMSprop(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False)",
        *peers("RMSprop", {"learning_rate": "lr=0.01", "rho": "alpha=0.99", "epsilon": "eps=1e-08"}),
    ),
    Setting(
        "optimizers.Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False)",
        *peers("Adam", {"learning_rate": "lr=0.001", **BETAS}),
    ),
    Setting(
        "optimizers.AdamW(learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07, "
        "amsgrad=False)",
        *peers("AdamW", {"learning_rate": "lr=0.001", "weight_decay": "weight_decay=0.01", **BETAS}),
    ),
    Setting(
        "optimizers.Nadam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)",
        *peers("Nadam", {"learning_rate": "lr=0.002", **BETAS}),
    ),
    Setting(
        "optimizers.Adagrad(learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07)",
        *peers(
            "Adagrad",
            {
                "learning_rate": "lr=0.01",
                "initial_accumulator_value": "initial_accumulator_value=0",
                "epsilon": "eps=1e-10",
            },
        ),
    ),
    # Schedules
    Setting("schedules.ExponentialDecay(staircase=False)", Peer("optimizers.schedules.ExponentialDecay")),
    Setting("schedules.PowerDecay(power=1.0)"),
    Setting(
        "schedules.CosineDecay(alpha=0.0, warmup_target=None, warmup_steps=0)",
        Peer("optimizers.schedules.CosineDecay"),
        Peer("optim.lr_scheduler.CosineAnnealingLR", {"alpha": "eta_min=0.0", "warmup_target": "", "warmup_steps": ""}),
    ),
    Setting(
        "schedules.OneCycle(start_learning_rate=None, last_steps=None, last_learning_rate=None)",
        None,
        Peer(
            "optim.lr_scheduler.OneCycleLR",
            {
                "start_learning_rate": "div_factor=25.0",
                "last_steps": "",
                "last_learning_rate": "final_div_factor=10000.0",
            },
            "cosines, up for 30 % of the steps",
        ),
        "a tenth of the maximum, a tenth of the steps and one, a thousandth of the start",
    ),
    # Losses, and the rules of parameters
    Setting("losses.Huber(delta=1.0)", Peer("losses.Huber"), Peer("nn.HuberLoss")),
    Setting(
        "losses.BinaryCrossentropy(from_logits=False)",
        Peer("losses.BinaryCrossentropy"),
        Peer("nn.BCELoss", LOGITS, "`BCEWithLogitsLoss` takes them"),
    ),
    Setting(
        "losses.CategoricalCrossentropy(from_logits=False)",
        Peer("losses.CategoricalCrossentropy"),
        Peer("nn.CrossEntropyLoss", LOGITS, "it takes nothing else"),
    ),
    Setting(
        "losses.SparseCategoricalCrossentropy(from_logits=False)",
        Peer("losses.SparseCategoricalCrossentropy"),
        Peer("nn.CrossEntropyLoss", LOGITS, "it takes nothing else"),
    ),
    Setting("regularizers.L1(l1=0.01)", Peer("regularizers.L1")),
    Setting("regularizers.L2(l2=0.01)", Peer("regularizers.L2")),
    Setting("regularizers.L1L2(l1=0.0, l2=0.0)", Peer("regularizers.L1L2")),
    Setting("constraints.MaxNorm(max_value=2, axis=0)", Peer("constraints.MaxNorm")),
    Setting("constraints.UnitNorm(axis=0)", Peer("constraints.UnitNorm")),
    # Layers and initializers
    Setting(
        "layers.Dense(activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros', "
        "kernel_regularizer=None, bias_regularizer=None, kernel_constraint=None, bias_constraint=None)",
        Peer("layers.Dense"),
        Peer(
            "nn.Linear",
            {
                "activation": "",
                "use_bias": "bias=True",
                "kernel_initializer": "",
                "bias_initializer": "",
                "kernel_regularizer": "",
                "bias_regularizer": "",
                "kernel_constraint": "",
                "bias_constraint": "",
            },
            "both from U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))",
        ),
    ),
    Setting(
        "layers.LeakyReLU(alpha=0.3)",
        Peer("layers.LeakyReLU", {"alpha": "negative_slope=0.3"}),
        Peer("nn.LeakyReLU", {"alpha": "negative_slope=0.01"}),
    ),
    Setting(
        "layers.PReLU(alpha_initializer='zeros', shared_axes=None)",
        Peer("layers.PReLU"),
        Peer("nn.PReLU", {"alpha_initializer": "init=0.25", "shared_axes": "num_parameters=1"}),
    ),
    Setting("layers.RReLU(lower=0.125, upper=0.3333333333333333)", None, Peer("nn.RReLU")),
    Setting("layers.ELU(alpha=1.0)", Peer("layers.ELU"), Peer("nn.ELU")),
    Setting("layers.Softmax(axis=-1)", Peer("layers.Softmax"), Peer("nn.Softmax", {"axis": "dim=None"})),
    Setting(
        "layers.BatchNormalization(axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True, "
        "beta_initializer='zeros', gamma_initializer='ones', unbiased=False)",
        Peer("layers.BatchNormalization", {"unbiased": ""}),
        Peer(
            "nn.BatchNorm1d",
            {
                "axis": "",
                "momentum": "momentum=0.1",
                "epsilon": "eps=1e-05",
                "center": "affine=True",
                "scale": "affine=True",
                **NO_INITIALIZERS,
                "unbiased": "",
            },
            "its momentum is the weight of the new one; unbiased",
        ),
    ),
    Setting(
        "layers.LayerNormalization(axis=-1, epsilon=0.001, center=True, scale=True, beta_initializer='zeros', "
        "gamma_initializer='ones')",
        Peer("layers.LayerNormalization"),
        Peer(
            "nn.LayerNorm",
            {
                "axis": "normalized_shape",
                "epsilon": "eps=1e-05",
                "center": "bias=True",
                "scale": "elementwise_affine=True",
                **NO_INITIALIZERS,
            },
        ),
    ),
    Setting("layers.Normalization(axis=-1, mean=None, variance=None, invert=False)", Peer("layers.Normalization")),
    Setting(
        "initializers.VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal')",
        Peer("initializers.VarianceScaling"),
    ),
    Setting(
        "initializers.RandomNormal(mean=0.0, stddev=0.05)",
        Peer("initializers.RandomNormal"),
        Peer("nn.init.normal_", {"stddev": "std=1.0"}),
    ),
    Setting(
        "initializers.RandomUniform(minval=-0.05, maxval=0.05)",
        Peer("initializers.RandomUniform"),
        Peer("nn.init.uniform_", {"minval": "a=0.0", "maxval": "b=1.0"}),
    ),
    Setting(
        "initializers.TruncatedNormal(mean=0.0, stddev=0.05)",
        Peer("initializers.TruncatedNormal"),
        Peer("nn.init.trunc_normal_", {"stddev": "std=1.0"}, "bounds are `a=-2.0`, `b=2.0`"),
    ),
    Setting(
        "initializers.Constant(value=0.0)",
        Peer("initializers.Constant"),
        Peer("nn.init.constant_", {"value": "val"}),
    ),
    Setting(
        "initializers.Orthogonal(gain=1.0)",
        Peer("initializers.Orthogonal"),
        Peer("nn.init.orthogonal_"),
    ),
    # Training
    Setting(
        "Model.compile(metrics=())",
        Peer("Model.compile", {"metrics": "metrics=None"}, "there `optimizer='rmsprop'` and `loss=None` have defaults"),
    ),
    Setting(
        "Model.fit(batch_size=32, epochs=1, initial_epoch=None, validation_data=None, validation_split=0.0, "
        "callbacks=(), shuffle=True, verbose='auto', executor=None)",
        Peer(
            "Model.fit",
            {
                "batch_size": "batch_size=None",
                "initial_epoch": "initial_epoch=0",
                "callbacks": "callbacks=None",
                "executor": "",
            },
            "its None is 32",
        ),
        None,
        "`initial_epoch` is 0, or where a loaded training stood",
    ),
    Setting(
        "Model.evaluate(batch_size=32, return_dict=False, verbose=0)",
        Peer("Model.evaluate", {"batch_size": "batch_size=None", "verbose": "verbose='auto'"}, "its None is 32"),
    ),
    Setting(
        "Model.predict(batch_size=32)",
        Peer("Model.predict", {"batch_size": "batch_size=None"}, "its None is 32"),
    ),
    Setting("Model.measure(executor=None)"),
    Setting("Model.export_c(x=None, batch_size=1)"),
    Setting("Model.save(weights_only=False, training_state=False)"),
    Setting("Model.load(training_state=False)"),
    # Callbacks
    Setting(
        "callbacks.EarlyStopping(monitor='val_loss', min_delta=0.0, patience=0, verbose=0, mode='auto', "
        "baseline=None, restore_best_weights=False, start_from_epoch=0)",
        Peer("callbacks.EarlyStopping"),
    ),
    Setting(
        "callbacks.ReduceLROnPlateau(monitor='val_loss', factor=0.1, patience=10, verbose=0, mode='auto', "
        "min_delta=0.0001, cooldown=0, min_lr=0.0)",
        Peer("callbacks.ReduceLROnPlateau"),
        Peer(
            "optim.lr_scheduler.ReduceLROnPlateau",
            {"monitor": "", "verbose": "", "mode": "mode='min'", "min_delta": "threshold=0.0001"},
            "its threshold is relative",
        ),
    ),
    Setting(
        "callbacks.ModelCheckpoint(monitor='val_loss', verbose=0, save_best_only=False, save_weights_only=False, "
        "mode='auto', save_freq='epoch', initial_value_threshold=None, training_state=False)",
        Peer("callbacks.ModelCheckpoint", {"training_state": ""}),
    ),
    Setting("callbacks.CSVLogger(separator=',', append=False)", Peer("callbacks.CSVLogger")),
    Setting("callbacks.GradientFlow(every=1)"),
    Setting("callbacks.ProgressBar(style='auto', title=None, leave=True)"),
    # Functions
    Setting(
        "clip_grad_norm(norm_type=2, nonfinite='raise')",
        None,
        Peer("nn.utils.clip_grad_norm_", {"nonfinite": "error_if_nonfinite=False"}),
    ),
    Setting("clip_by_global_norm(norm_type=2)"),
    Setting("tensor(dtype=None, requires_grad=False)", remark="floats become float32, arrays keep theirs"),
    Setting(
        "gradients(grad_outputs=None, create_graph=False, allow_unused=False)",
        None,
        Peer("autograd.grad", {"allow_unused": "allow_unused=None"}, "None is False, unless `materialize_grads`"),
    ),
    Setting("grad(argnums=0)", None, Peer("func.grad")),
    Setting("value_and_grad(argnums=0)", None, Peer("func.grad_and_value")),
    Setting("jacobian(argnums=0)", None, Peer("func.jacrev")),
    Setting("hessian(argnums=0)", None, Peer("func.hessian")),
    Setting(
        "gradcheck(order=1, step=None, tolerance=1e-06, max_elements=100)",
        None,
        Peer(
            "autograd.gradcheck",
            {"order": "", "step": "eps=1e-06", "tolerance": "rtol=0.001", "max_elements": ""},
            "`gradgradcheck` has the second order",
        ),
    ),
    Setting("lsuv(orthogonal=True, tolerance=0.02, iterations=20)"),
    Setting("recalibrate_batch_normalization(batch_size=32)"),
    Setting("fold_batch_normalization(x=None, partial=False)"),
    Setting("self_normalization(x=None)"),
    Setting("draw(names=None, updates=False, gradients=False, fold=False)"),
    Setting("capture(function=None, executor=None)"),
]


def table() -> str:
    """The table as docs/semantics.md prints it."""
    return "\n".join(["| here | Keras 3 | PyTorch |", "|---|---|---|", *(setting.row() for setting in SETTINGS)])
