"""What all layers share: a dtype, a name, and learning the input shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import constraints, initializers, ops, regularizers
from tinygrad_bn.errors import AxisError, DtypeError, NotBuiltError, SettingError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.module import Module, Shape, called, spelled
from tinygrad_bn.module.settings import flag, floating, natural, optional
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Parameter, Rule


class Layer(Module):
    """A module that learns the shape of its inputs, and so of its parameters, at its first call.

    A subclass keeps the arguments of its constructor under their own names, makes its parameters in `build`, and
    computes in `forward`.

    Args:
        name: what messages call it until it is part of a model, where its path does.
        dtype: of its parameters and results; inputs are cast to it.
        trainable: whether its parameters are learned.
        input_shape: of one sample, without the batch axis; where it is given, nothing has to be called first.

    Attributes:
        batch_shape: of its inputs, None for the length of the batch; None altogether while it is not known.
        built: whether it has its parameters.
    """

    batch_shape: Shape | None = None
    built: bool = False
    _checks: ClassVar = {"dtype": lambda layer, _, dtype: floating(layer, dtype)}
    _settled: tuple[str, ...] = ("dtype", "input_shape")
    _axes_at_least: tuple[str, ...] = ("batch", "...")

    def __init__(
        self, *, name: str | None = None, dtype: Any = np.float32, trainable: bool = True, input_shape: Any = None
    ) -> None:
        self.name = name
        self.dtype = dtype
        self._trainable = flag(self, "trainable", trainable)
        self.input_shape = input_shape

    def __getattr__(self, name: str) -> Any:
        own, shape, why = vars(self), self.batch_shape, ""
        if "input_shape" not in own:
            why = ": super().__init__() has not been called"
        elif not self.built and shape is None:
            why = " yet: the parameters of a layer come with its first call"
        elif shape is not None and not self.built and not name.startswith("_") and "_building" not in own:
            own["_building"] = True  # `build` itself may ask for what is not there
            try:
                self.built_for(shape)
            finally:
                del own["_building"]
            return getattr(self, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{why}", name=name, obj=self)

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "input_shape" and not self.built:
            self.batch_shape = None if value is None else (None, *sample_shape(self, value))
        return value

    def build(self, input_shape: Shape) -> None:
        """Make the parameters for inputs of this shape. A subclass makes its own, and then calls this."""
        self.batch_shape = tuple(input_shape)
        self.built = True

    def built_for(self, input_shape: Shape) -> None:
        """Let it `build`, once, also where a subclass's method does not call that above it."""
        self.build(input_shape)
        Layer.build(self, input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the results for inputs of this shape."""
        return input_shape

    def parameter(
        self, name: str, shape: Sequence[Any], initializer: Any, regularizer: Any = None, constraint: Any = None
    ) -> Parameter:
        """A new parameter of this layer; initializer, regularizer and constraint as objects or names.

        One that was set before the layer is built stays, with what it has of these.

        Raises:
            SettingError: the constraint cannot be applied to such a parameter: no step would get past it.
            ShapeError, TypeError: what was set before has another shape, or is no parameter.
        """
        held = None if self.built else vars(self).get(name)
        if held is not None:
            if not isinstance(held, Parameter):
                raise self.error(TypeError, f"expects {name} to be a Parameter; got {held!r:.60}")
            if held.shape != tuple(shape):
                raise self.error(ShapeError, f"expects {name} of shape {tuple(shape)}; got {held.shape}")
            return held
        made = Parameter(
            initializers.get(initializer)(shape, dtype=self.dtype),
            name=name,
            trainable=self.trainable,
            regularizer=regularizers.get(regularizer),
        )
        made.constraint = self.applicable(constraints.get(constraint), made)
        return made

    def initializer_of(self, name: str) -> initializers.Initializer:
        """What draws its parameter of this name, which its setting of that name and `_initializer` says."""
        return initializers.get(getattr(self, f"{name}_initializer"))

    def applicable(self, constraint: Rule | None, parameter: Parameter) -> Rule | None:
        """The constraint, once it has been tried on the values of the parameter.

        Raises:
            SettingError: it fails, or gives values of another shape.
        """
        if constraint is None:
            return None
        cause, wrong = None, ""
        try:
            with using(gradients=False, recorder=None):
                shape = np.shape(constraint(Tensor(parameter.numpy())))
            if shape not in ((), parameter.shape):
                wrong = f"it gives values of shape {shape}"
        except Exception as error:
            cause, wrong = error, str(error)
        if wrong:
            kept = f"{parameter.name} of shape {parameter.shape}"
            raise self.error(SettingError, f"cannot apply {constraint!r} to its {kept}: {wrong}") from cause
        return constraint

    def accept(self, x: Any) -> Any:
        """`x` as an array or Tensor of the layer's dtype; the first one tells the input shape."""
        if not isinstance(x, (Tensor, np.ndarray)):
            x = as_array(x)
        dtype = x.value.dtype if isinstance(x, Tensor) else x.dtype
        if dtype is not self.dtype and dtype != self.dtype:
            if dtype.kind not in "fiub":
                raise self.error(DtypeError, f"expects real numbers; got {dtype}")
            x = x.astype(self.dtype)
        if not self.built:
            if x.ndim < len(self._axes_at_least) - 1:
                raise self.expects(f"x of shape ({', '.join(self._axes_at_least)})", x)
            self.built_for(self.batch_shape or (None, *x.shape[1:]))
        return x

    def misfit(self, x: Any) -> Exception:
        """The error of an `x` whose shape is not the one that the layer was built for."""
        return self.expects(f"x of shape {spelled(self.batch_shape)}", x)

    def insist(self, x: Any) -> None:
        """Raise unless each sample has the shape that the layer was built for."""
        if self.batch_shape is None or x.shape[1:] != self.batch_shape[1:]:
            raise self.misfit(x)

    def ensure_built(self, path: str = "") -> None:
        if not self.built and self.batch_shape is not None:
            self.built_for(self.batch_shape)
        if not self.built and type(self).build is not Layer.build:
            raise NotBuiltError(
                f"{called(self, path)} has no parameters yet, because it does not know the shape of its inputs: "
                "call it once, or give it input_shape, or put an Input in front"
            )

    def known_output_shape(self) -> Shape | None:
        return None if self.batch_shape is None else self.output_shape(self.batch_shape)

    def settings(self) -> dict[str, tuple[Any, Any]]:
        common = {"name": None, "dtype": "float32", "input_shape": None}
        kept = {"name": self.name, "dtype": self.dtype.name, "input_shape": self.input_shape}
        return {**super().settings(), **{option: (kept[option], common[option]) for option in common}}


class RandomLayer(Layer):
    """A layer that draws in training.

    Args:
        seed: starts a generator of its own, whenever it is set.
        rng: where to draw from, instead. Without either it draws from the shared stream of its kind, such as "dropout".
    """

    _rng: np.random.Generator | None
    _checks: ClassVar = {"seed": optional(partial(natural, least=0))}

    def __init__(self, seed: int | None, rng: np.random.Generator | None, **options: Any) -> None:
        super().__init__(**options)
        if seed is not None and rng is not None:
            raise self.error(SettingError, "expects seed or rng; got both")
        self.seed = seed
        if rng is not None:
            self._rng = ops.generator(rng)

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "seed":
            self._rng = None if value is None else ops.generator(None, value)
        return value


def initializing(layer: Layer, name: str, value: Any) -> Any:
    """`value`, if it is an initializer, or the name of one. Raises a SettingError if it is neither."""
    initializers.get(value, type(layer).__name__)
    return value


def positions(layer: Layer, name: str, axes: Any, rank: int) -> tuple[int, ...]:
    """One axis or several as positions counted from the front.

    Raises:
        AxisError: `layer` was given, as `name`, axes that are not there, or named twice, or the batch.
    """
    given = axes if isinstance(axes, (list, tuple)) else (axes,)
    numbers = [a for a in given if isinstance(a, (int, np.integer)) and not isinstance(a, bool)]
    found = tuple(int(a) % rank for a in numbers if -rank <= a < rank)
    if len(found) != len(given) or len(set(found)) != len(found) or 0 in found:
        raise layer.error(AxisError, f"expects {name} to name some of the axes 1 to {rank - 1}; got {axes!r}")
    return found


def sample_shape(layer: Layer, shape: Any) -> tuple[int, ...]:
    """A shape without its batch axis, given as one length or several.

    Raises:
        ShapeError: it is not made of positive lengths.
    """
    try:
        lengths = tuple(length.__index__() for length in (shape if hasattr(shape, "__iter__") else (shape,)))
    except AttributeError:
        lengths = (0,)
    if min(lengths, default=1) < 1:
        raise ShapeError(f"{type(layer).__name__} expects the shape of one sample, such as (28, 28); got {shape!r}")
    return lengths
