"""Models in files: how they are made and compiled, their values, and the state of their training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from tinygrad_bn.callers import warn
from tinygrad_bn.errors import NotBuiltError, SettingError, ShapeError
from tinygrad_bn.layers import Layer
from tinygrad_bn.mode import frozen_state, undone_on_error
from tinygrad_bn.models.position import load_training_state, training_state
from tinygrad_bn.module import called
from tinygrad_bn.module.arrays import read_arrays, values, write_arrays
from tinygrad_bn.module.settings import flag
from tinygrad_bn.names import checked
from tinygrad_bn.saving import Known, Reader, UnsavableError, Writer

if TYPE_CHECKING:
    from tinygrad_bn.models.model import Model

    Path = str | os.PathLike[str]


def write_model(model: Model, path: Path, weights_only: bool, state: bool) -> None:
    """What `Model.save` does."""
    known, about = _known(), {}
    making, compiling, training = (Writer(known, folder) for folder in ("model", "compiled", "training"))
    if not weights_only:
        about["model"] = _written(f"rebuild {called(model)}", making, partial(_architecture, model, making))
        if model.optimizer is not None:
            about["compiled"] = _written("compile", compiling, partial(_compiled, model, compiling))
    if state:
        about["training"] = training.write(training_state(model))
    write_arrays(path, {**model.state_dict(), **making.arrays, **compiling.arrays, **training.arrays}, about)


def read_into(model: Model, path: Path, state: bool) -> None:
    """What `Model.load` does."""
    arrays, about = read_arrays(path)
    if not state:
        model.load_state_dict(values(arrays))
        return
    training = _training(path, about, Reader(_known(), {}, arrays))
    with _sound(path), undone_on_error():
        model.load_state_dict(values(arrays))
        load_training_state(model, training)


@checked
def load(path: Path, custom_objects: Mapping[str, Any] | None = None, *, training_state: bool = False) -> Model:
    """The model that `model.save` wrote: made anew, compiled as it was, with its values, in inference mode.

    Nothing in a file is ever run: it names classes of this package, or those in `custom_objects`, and the arguments
    for them.

    Args:
        path: of the file.
        custom_objects: the user's own classes and functions that the model is made of, by their names.
        training_state: take over what the optimizer remembers, and let the next `fit` go on where the training that
            was saved stood, as if it had never stopped: same data, batch size and callbacks given.

    Warns:
        UserWarning: the model cannot be compiled as it was; the message says why.

    Raises:
        FileNotFoundError: there is no such file.
        SettingError: the file is damaged, or of another kind, or a newer version's, or holds no model; or
            `custom_objects` lacks something; the message lists all of it.
        TypeError: `custom_objects` is no dict.
    """
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(
            f'load expects custom_objects to be a dict, such as {{"Mine": Mine}}; got {custom_objects!r:.60}'
        )
    training_state = flag("load", "training_state", training_state)
    arrays, about = read_arrays(path)
    reader = Reader(_known(), custom_objects or {}, arrays)
    config, compiled = _found(path, about, "model"), about.get("compiled", {})
    reader.expect_custom([config, compiled if "unsavable" not in compiled else None])
    with frozen_state(), _sound(path):  # the values that layers start with are not drawn from anybody's stream
        model: Model = reader.read(config["made"])
        _build(model, config)
        for path, parameter in model.named_parameters():
            parameter.regularizer, parameter.constraint = reader.read(config["rules"].get(path, [None, None]))
    model.load_state_dict(values(arrays))
    if "unsavable" in compiled:
        warn(f"{called(model)} is not compiled: {compiled['unsavable']}")
    elif compiled:
        with _sound(path):
            compiling = Reader(reader.known, reader.custom_objects, arrays)
            model.compile(**{name: compiling.read(part) for name, part in compiled.items()})
    if training_state:
        state = _training(path, about, reader)
        with _sound(path):
            load_training_state(model, state)
    return model.eval()


def _known() -> Known:
    from tinygrad_bn import models  # it is made of this file among others

    return Known({f"models.{name}": getattr(models, name) for name in ("Model", "Sequential")})


def _written(purpose: str, writer: Writer, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return write()
    except UnsavableError as error:
        warn(f"the file will not serve to {purpose}: {error}")
        writer.arrays.clear()
        return {"unsavable": str(error)}


def _architecture(model: Model, writer: Writer) -> dict[str, Any]:
    """How to make it: the arguments, the shapes of what comes in, parameters' rules, and what is not learned."""
    modules = dict(model.named_modules())
    rules = {path: [parameter.regularizer, parameter.constraint] for path, parameter in model.named_parameters()}
    built = {path: each for path, each in modules.items() if isinstance(each, Layer) and each.built}
    return {
        "made": writer.write(model),
        "shapes": {path: list(layer.batch_shape) for path, layer in built.items() if layer.batch_shape is not None},
        "rules": {path: writer.write(both) for path, both in rules.items() if both != [None, None]},
        "frozen": {
            "modules": [path for path, module in modules.items() if not module.trainable],
            "parameters": [path for path, parameter in model.named_parameters() if not parameter.trainable],
            "statistics": [path for path, module in modules.items() if getattr(module, "statistics_frozen", False)],
        },
    }


def _compiled(model: Model, writer: Writer) -> dict[str, Any]:
    parts = {"optimizer": model.optimizer, "loss": model.loss, "metrics": list(model.metrics)}
    return {name: writer.write(part) for name, part in parts.items()}


def _build(model: Model, config: Mapping[str, Any]) -> None:
    modules, frozen = dict(model.named_modules()), config["frozen"]
    for path in (*config["shapes"], *frozen["modules"], *frozen["statistics"]):
        if path not in modules:
            raise _changed(model, f"the file has a module at {path}, where it has none now")
    for path, shape in config["shapes"].items():
        layer: Any = modules[path]
        if not layer.built:
            layer.built_for(tuple(shape))
    for path in frozen["modules"]:
        modules[path]._trainable = False
    for path in frozen["statistics"]:
        modules[path].statistics_frozen = True
    for path, module in modules.items():
        try:
            module.ensure_built(path)
        except NotBuiltError:
            raise _changed(
                model, f"it has a {type(module).__name__} at {path} now, of which the file says nothing"
            ) from None
    for path, parameter in model.named_parameters():
        parameter.trainable = path not in frozen["parameters"]


def _changed(model: Model, what: str) -> SettingError:
    return SettingError(f"load expects a {type(model).__name__} with the modules that it had when it was saved; {what}")


def _found(path: Path, about: Mapping[str, Any], kind: str) -> dict[str, Any]:
    name = os.fspath(path)
    if kind not in about:
        raise SettingError(f"load finds values without a model in {name!r}: make the model, and call model.load(path)")
    config: dict[str, Any] = about[kind]
    if "unsavable" in config:
        raise SettingError(
            f"load cannot make the model in {name!r}, whose values alone could be saved: {config['unsavable']}. "
            "Make the model, and call model.load(path)"
        )
    return config


def _training(path: Path, about: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    if "training" not in about:
        raise SettingError(
            f"load(training_state=True) finds no state of a training in {os.fspath(path)!r}: "
            "it is written by save(path, training_state=True)"
        )
    with _sound(path):
        state: dict[str, Any] = reader.read(about["training"])
    return state


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Within it, what does not go together is the file's fault."""
    try:
        yield
    except (SettingError, ShapeError, NotBuiltError):
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise SettingError(
            f"load expects a file that save wrote; what {os.fspath(path)!r} says does not go together: {error!r}"
        ) from error
