"""Module: what has parameters. It keeps no list of them; it walks its own attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import DtypeError, NotBuiltError, SettingError, ShapeError
from tinygrad_bn.mode import changed, current, epoch, using
from tinygrad_bn.module.arrays import read_arrays, values, write_arrays
from tinygrad_bn.module.settings import Checked, flag
from tinygrad_bn.module.summary import Shape, Summary, spelled
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors import as_array
from tinygrad_bn.variables import Parameter, State, Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.module.audit import Audit


class Module(Checked):
    """A function with parameters: its attributes that are variables, modules, or lists and dicts of them.

    A subclass sets attributes and defines `forward`. The path of an attribute, such as `layers.3.kernel`, is its only
    name; what can be reached by two paths counts once, under the first.

    Attributes:
        training: whether it runs as in training where no call says otherwise; new modules do.
        counters: the names of attributes that change whenever it runs, which a captured step does not look at.
    """

    training: bool = True
    counters: ClassVar[tuple[str, ...]] = ()
    _trainable: bool = True
    _checks: ClassVar = {"training": flag}

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a `call` that nobody calls, as those who come from Keras write it."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if callable(own.get("call")) and "forward" not in own and not _mentions(cls.forward, "call"):
            raise TypeError(
                f"{cls.__name__} defines call, which nothing would call: define forward(self, x) instead. "
                "Whether it runs as in training, self.in_training says"
            )

    def __call__(self, x: Any, *, training: bool | None = None) -> Any:
        """forward(x), in training or in inference mode; None leaves that to the modules.

        Raises:
            ShapeError, DtypeError: `x` does not fit; the message names the module by its path.
        """
        try:
            if training is not None:
                with using(training=flag(self, "training", training)):
                    return self(x)
            recorder = current().recorder
            if recorder is not None:
                return self._recorded(x, recorder)
            return self.forward(self.accept(x))
        except (ShapeError, DtypeError, SettingError) as error:
            if not isinstance(error, SettingError) or "module" in vars(error):
                locate(error, self)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but never lose a variable to an array: that would neither be learned nor saved."""
        held = vars(self).get(name)
        if isinstance(held, Variable) and not isinstance(value, (Variable, Module, type(None))):
            kind = type(held).__name__
            raise TypeError(
                f"{called(self)}.{name} is a {kind}: give it values by .{name}.assign(...); got {value!r:.60}"
            )
        if (recorder := current().recorder) is not None:
            recorder.sets(self, name, value)
        super().__setattr__(name, value)
        changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        changed()

    def _recorded(self, x: Any, recorder: Recorder) -> Any:
        recorder.enter(self)
        try:
            return self.forward(self.accept(x))
        finally:
            recorder.leave(self)

    def accept(self, x: Any) -> Any:
        """`x` as `forward` is to see it."""
        return x

    def forward(self, x: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x)")

    # How it runs

    @property
    def in_training(self) -> bool:
        """Whether the present call runs as in training: what `training=` said, else this module's own mode."""
        said = current().training
        return self.training if said is None else said

    def train(self, mode: bool = True) -> Self:
        """Put it and all modules under it into training mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put it and all modules under it into inference mode."""
        return self.train(False)

    @property
    def trainable(self) -> bool:
        """Whether it is learned; setting it also sets every module and parameter under it."""
        return self._trainable

    @trainable.setter
    def trainable(self, wanted: bool) -> None:
        wanted = flag(self, "trainable", wanted)
        for _, found in walk(self):
            if isinstance(found, Module):
                found._trainable = wanted
            elif isinstance(found, Parameter):
                found.trainable = wanted

    def zero_grad(self) -> None:
        """Forget the gradients of the parameters."""
        for _, found in walk(self):
            if isinstance(found, Parameter):
                found.grad = None

    # What it holds

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Path and module: itself, under the empty path, and all modules under it."""
        return ((path, found) for path, found in walk(self) if isinstance(found, Module))

    def modules(self) -> Iterator[Module]:
        """Itself and all modules under it."""
        return (module for _, module in self.named_modules())

    def named_variables(self) -> Iterator[tuple[str, Variable]]:
        """Path and variable: all parameters and states.

        Raises:
            NotBuiltError: a layer does not know its input shape yet, and so has none.
        """
        before, things = epoch(), []
        for path, found in walk(self):
            things.append((path, found))
            if isinstance(found, Module):
                found.ensure_built(path)
        if epoch() != before:  # something was built, and may have put variables where the walk had been
            things = list(walk(self))
        variables = [(path, found) for path, found in things if isinstance(found, Variable)]
        recorder = current().recorder
        for path, variable in variables:
            variable.path = path
            if recorder is not None:
                recorder.use(variable)
        return iter(variables)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Path and parameter. Raises as `named_variables`."""
        return ((path, found) for path, found in self.named_variables() if isinstance(found, Parameter))

    def named_states(self) -> Iterator[tuple[str, State]]:
        """Path and state, such as moving averages. Raises as `named_variables`."""
        return ((path, found) for path, found in self.named_variables() if isinstance(found, State))

    @property
    def variables(self) -> list[Variable]:
        """All parameters and states, each once. Raises as `named_variables`."""
        return [variable for _, variable in self.named_variables()]

    def parameters(self) -> list[Parameter]:
        """All parameters, each once. Raises as `named_variables`."""
        return [parameter for _, parameter in self.named_parameters()]

    def ensure_built(self, path: str = "") -> None:
        """Raise NotBuiltError if its parameters are still to come; `path` says where it is."""

    def build_on(self, *inputs: Any) -> None:
        """Let what is not built yet draw its parameters, by one call on `inputs`; what is there stays as it was.

        For who is about to run it inside `frozen_state()`: that puts the generators back, and the next module would
        draw the same parameters once more.
        """
        try:
            self.named_variables()
        except NotBuiltError:
            there = [found for _, found in walk(self) if isinstance(found, Variable)]
            before = [(variable.version.updated, variable.numpy()) for variable in there]
            try:
                with using(recorder=None, gradients=False, training=False):
                    self(*inputs)
            finally:
                for variable, (updated, value) in zip(there, before, strict=True):
                    if variable.version.updated != updated:
                        variable.assign(value, "build_on")

    # Its values

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """A copy of the values of all parameters and states, by path. Raises as `named_variables`."""
        return {path: variable.numpy() for path, variable in self.named_variables()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the values of another module's `state_dict`, all of them or none.

        Raises:
            SettingError: paths are missing or unexpected; the message lists everything that is wrong.
            ShapeError: the paths are right, but values do not fit.
            TypeError: this is no dict, or a value is not made of numbers.
        """
        if not isinstance(state, Mapping):
            raise self.error(TypeError, f"expects a dict of values by path, as state_dict gives it; got {state!r:.60}")
        variables = dict(self.named_variables())
        values = {path: as_array(state[path], None, path, np.float64) for path in variables if path in state}
        strangers = [f"{path} is missing" for path in variables if path not in state]
        strangers += [_unexpected(path, variables) for path in state if path not in variables]
        misfits = [problem for path, value in values.items() if (problem := _misfit(path, variables[path], value))]
        if strangers or misfits:
            kind = SettingError if strangers else ShapeError
            raise kind("\n  ".join([f"{type(self).__name__} cannot take over these values:", *strangers, *misfits]))
        for path, value in values.items():
            variables[path].assign(value, "load_state_dict")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the values of all parameters and states to an .npz or .safetensors file, as the ending of `path` says.

        Whatever happens, even a kill or a power failure, leaves the old file or the new one.
        """
        write_arrays(path, self.state_dict())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over the values that `save` wrote, all of them or none.

        Raises:
            SettingError, ShapeError: as `load_state_dict`; or the file is damaged, or not one that `save` wrote.
        """
        self.load_state_dict(values(read_arrays(path)[0]))

    # How it presents itself

    def settings(self) -> dict[str, tuple[Any, Any]]:
        """Value and default of each argument of the constructor that it keeps under the argument's name."""
        from inspect import signature  # only those who look pay for its import

        arguments = signature(type(self)).parameters.values()
        kept = [(each, vars(self)[each.name]) for each in arguments if each.name in vars(self)]
        return {each.name: (value, each.default) for each, value in kept if not any(walk(value))}

    def expects(self, what: str, came: Any) -> Exception:
        """The error that says what this module expects, and which array, Tensor or shape came."""
        shape = getattr(came, "shape", came)
        return self.error(ShapeError, f"expects {what}; got {spelled(shape)}")

    def error(self, kind: type[Exception], said: str) -> Exception:
        """The error that says this of this module; the call that it ends adds the path."""
        error = kind(f"{called(self)} {said}")
        vars(error).update(module=self, said=f" {said}")
        return error

    def known_output_shape(self) -> Shape | None:
        """The shape of its results, None for the batch axis; None where it is not known."""
        return None

    def summary(self, print_fn: Callable[[str], object] | None = print) -> Summary:
        """Print, and return, a table of the modules with their output shapes and numbers of parameters."""
        summary = Summary(self)
        if print_fn is not None:
            print_fn(str(summary))
        return summary

    def audit(self, x: Any = None, *, optimizer: Any = None) -> Audit:
        """What is wrong before training: biases and weight decay in vain, no gradient, mixed dtypes, wrong initializer.

        One call in training mode is looked at; the module is as before afterwards.

        Args:
            x: a batch of inputs; without it some are drawn, where the module knows their shape.
            optimizer: whose weight decay is looked at; without it that of `compile`.

        Raises:
            NotBuiltError: neither is there an x, nor is the shape of the inputs known.
        """
        from tinygrad_bn.module.audit import audit  # only those who ask pay for its import

        return audit(self, x, optimizer)

    def __repr__(self) -> str:
        lines: list[str] = []
        above: list[tuple[str, Module]] = []
        for path, module in self.named_modules():
            while above and above[-1][0] and not path.startswith(f"{above[-1][0]}."):
                above.pop()
            parent_path, parent = above[-1] if above else ("", None)
            name = f"{path[len(parent_path) :].lstrip('.')}: " if path else ""
            lines.append("  " * len(above) + name + module._line(parent))
            above.append((path, module))
        return "\n".join(lines)

    def _line(self, parent: Module | None) -> str:
        """The settings that are not the default, and the mode where it is not the parent's."""
        said = {name: value for name, (value, default) in self.settings().items() if repr(value) != repr(default)}
        if parent is None or parent.training != self.training:
            said["training"] = self.training
        if not self.trainable and (parent is None or parent.trainable):
            said["trainable"] = False
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in said.items())})"


def walk(root: Any) -> Iterator[tuple[str, Module | Variable]]:
    """Path and thing: every module and variable that can be reached, each once, in the order of definition.

    Raises:
        SettingError: two of them have the same path, of which a file could keep one only.
    """
    seen: set[int] = set()
    paths: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, (Module, Variable)):
            if path in paths:
                raise SettingError(f"two things have the path {path!r}: give keys of dicts other names, without dots")
            paths.add(path)
            yield path, thing
        waiting += [(f"{path}.{key}" if path else str(key), value) for key, value in reversed(_inside(thing))]


def _inside(thing: Any) -> list[tuple[Any, Any]]:
    """Name and value of what may lead to more: attributes, entries, elements."""
    if isinstance(thing, Module):
        thing = vars(thing)
    elif not isinstance(thing, (list, tuple, dict)):
        return []
    named = thing.items() if isinstance(thing, dict) else enumerate(thing)
    return [
        (key, value)
        for key, value in named
        if type(value) not in _LEAVES and isinstance(value, (Variable, Module, list, tuple, dict))
    ]


_LEAVES = {int, float, bool, str, type(None), np.ndarray}  # most attributes: told first, in a quarter of the time


def locate(error: Exception, outer: Module) -> None:
    """Let the message of `error` name the module that it comes from, by its path under `outer`."""
    told = vars(error)
    blamed = told.setdefault("module", outer)
    said = told.setdefault("said", f": {error}")
    path = next((path for path, module in outer.named_modules() if module is blamed), None)
    if path is not None:
        error.args = (f"{called(blamed, path)}{said}",)


def _mentions(function: Any, name: str) -> bool:
    """Whether the text of a function reads an attribute or variable of that name."""
    return name in getattr(getattr(function, "__code__", None), "co_names", ())


def called(module: Module, path: str = "") -> str:
    """How messages call a module: by its kind and, where there is one, its path or name."""
    path = path or getattr(module, "name", None) or ""
    return f'{type(module).__name__} "{path}"' if path else type(module).__name__


def _unexpected(path: str, variables: Mapping[str, Variable]) -> str:
    meant = names.nearest(path, variables)
    return f"{path} is unexpected" + (f": did you mean {meant}?" if meant else "")


def _misfit(path: str, variable: Variable, value: NDArray[Any]) -> str | None:
    """What is wrong with giving `value` to the variable, if anything is."""
    if value.shape != variable.shape:
        return f"{path} expects shape {variable.shape}; got {value.shape}"
    if not np.can_cast(value.dtype, variable.dtype, "same_kind"):
        return f"{path} expects {variable.dtype}; got {value.dtype}"
    return None
