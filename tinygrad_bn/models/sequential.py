"""Sequential: layers in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad_bn.errors import DtypeError, NotBuiltError, SettingError, ShapeError
from tinygrad_bn.layers.base import Layer
from tinygrad_bn.models.model import Model
from tinygrad_bn.module import Module, Shape, called, locate, spelled


class Sequential(Model):
    """Passes its input through the layers, one after the other.

    The layers are built as they come if the first one knows its input shape (an Input, or `input_shape=`), else at
    the first call.

    Args:
        layers: in order; more can be added.
        name: what messages call it.

    Attributes:
        layers: the list of them; their paths are `layers.0`, `layers.1` and so on.
    """

    def __init__(self, layers: Iterable[Module] = (), *, name: str | None = None) -> None:
        if isinstance(layers, Module) or not isinstance(layers, Iterable):
            raise TypeError(f"Sequential expects a list of layers; got {layers!r:.60}")
        self.name = name
        self.layers: list[Module] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Module) -> None:
        """Append a layer, and build it if its input shape is known.

        Raises:
            TypeError: it is not a layer; a class, for instance, instead of an instance.
            SettingError: it contains this model.
            ShapeError: it cannot take what the layers before it give; the model is as it was.
        """
        self._expect_layer(layer)
        shape = self.known_output_shape() if self.layers else _batch_shape(layer)
        self.layers.append(layer)
        try:
            self._fit_in(len(self.layers) - 1, shape)
        except Exception as error:
            if isinstance(error, (ValueError, DtypeError)):
                locate(error, self)
            self.layers.pop()
            raise

    def forward(self, x: Any) -> Any:
        if not self.layers:
            raise NotBuiltError(f"{called(self)} has no layers to pass x through: add some")
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def batch_shape(self) -> Shape | None:
        """The shape of its inputs, None for the length of the batch; None altogether while it is not known."""
        return _batch_shape(self.layers[0]) if self.layers else None

    @property
    def built(self) -> bool:
        """Whether all layers have their parameters."""
        return all(layer.built for layer in self.layers if isinstance(layer, (Layer, Sequential)))

    def build(self, input_shape: Shape) -> None:
        """Build all layers for inputs of this shape, None for the length of the batch.

        Raises:
            ShapeError: a layer cannot take what the layers before it give.
        """
        shape: Shape | None = tuple(input_shape)
        for place, layer in enumerate(self.layers):
            self._fit_in(place, shape)
            shape = layer.known_output_shape()

    def known_output_shape(self) -> Shape | None:
        return self.layers[-1].known_output_shape() if self.layers else None

    def _fit_in(self, place: int, shape: Shape | None) -> None:
        """Build the layer at this place for inputs of this shape, if that is known and the layer is not built yet."""
        layer = self.layers[place]
        if shape is None or not isinstance(layer, (Layer, Sequential)):
            return
        known = layer.batch_shape
        if known is not None and known[1:] != shape[1:]:
            raise ShapeError(
                f"{called(layer, f'layers.{place}')} expects x of shape {spelled(known)}; "
                f"the layers before it give {spelled(shape)}"
            )
        if not layer.built:
            (layer.built_for if isinstance(layer, Layer) else layer.build)(shape)

    def _expect_layer(self, layer: Any) -> None:
        expected = f"Sequential expects a layer at layers.{len(self.layers)}"
        if isinstance(layer, type):
            raise TypeError(f"{expected}; got the class {layer.__name__}: write {layer.__name__}()")
        if isinstance(layer, (list, tuple)):
            raise TypeError(f"{expected}; got a list: unpack it with *")
        if not isinstance(layer, Module):
            raise TypeError(f"{expected}; got {layer!r:.60}")
        if any(module is self for module in layer.modules()):
            raise SettingError(f"{expected} that does not contain the {called(self)} itself; got {called(layer)}")


def _batch_shape(layer: Module) -> Shape | None:
    return layer.batch_shape if isinstance(layer, (Layer, Sequential)) else None
