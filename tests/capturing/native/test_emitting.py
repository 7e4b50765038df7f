"""The C text: what a person finds in it."""

import re
from functools import partial

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import Training, flow_of
from tests.capturing.native.test_program import normalized
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.optimizers import SGD, Adam


@pytest.fixture(scope="module")
def text():
    training = Training(normalized, 80, 10, 24, partial(Adam, learning_rate=0.001))
    return Source(flow_of(training.step, training.x, training.y)).text


def test_every_loop_of_a_layer_names_it_and_every_update_what_it_updates(text):
    abouts = re.findall(r"/\* (.*) \*/\nLOOP", text)
    assert any(re.fullmatch(r"layers\.1: standardize.*, over 24 x 96", about) for about in abouts)
    assert any(re.search(r"into layers\.3\.kernel, .*over 96 x 64", about) for about in abouts)
    layers = {name for about in abouts for name in re.findall(r"layers\.\d", about)}
    assert layers == {f"layers.{number}" for number in range(7)}


def test_a_loop_for_many_layers_tells_of_some():
    training = Training(lambda: [tg.layers.Dense(8, activation="tanh") for _ in range(9)], 8, 8, 4, SGD)
    text = Source(flow_of(training.step, training.x, training.y)).text
    assert re.search(
        r"/\* layers.0: .* \*/\n/\* layers.1: .* \*/\n/\* layers.2: .* \*/\n/\* and \d more \*/\nLOOP", text
    )


def test_memory_is_named_after_all_that_it_holds(text):
    assert "sum_then_standardize[i] = standardize;" in text
    assert re.search(r"float \*const standardize = .*; /\* 1 x 96, layers\.1, where sum was \*/", text)
    for body in re.findall(r"^LOOP .*?^}", text, re.MULTILINE | re.DOTALL):
        for buffer, value in re.findall(r"(\w+)\[[^=\n]*\] = (\w+);", body):  # what is written where it is read
            if f"const float *restrict {buffer}" not in body and re.search(rf"= .*\b{buffer}\[", body):
                assert _stem(value) in map(_stem, buffer.split("_then_")), (buffer, value)


def _stem(name):
    return re.sub(r"_\d+$", "", name)


def test_a_comment_is_ascii_and_cannot_end_or_begin_within():
    variable = tg.Parameter(np.ones(3), name="größe */ int x; /* \n??/")

    def step(x):
        variable.assign(variable * x)
        return x

    text = Source(flow_of(step, np.ones(3))).text
    assert text.isascii()
    for line in text.splitlines():
        assert line.count("/*") == line.count("*/") <= 1


def test_every_program_shows_the_text_that_the_native_executor_compiles():
    x = np.ones((3, 40), np.float32)
    texts = set()
    for executor in ("numpy", "native"):
        step = tg.capture(lambda x: tg.tanh(tg.cumsum(x, axis=0)) * 2, executor=executor)
        step(x)
        texts.add(step.program(x).c_source())
    assert texts == {step.program(x)._runner._program.source}
    half = tg.capture(tg.tanh)
    half(x.astype(np.float16))
    with pytest.raises(tg.errors.CaptureError, match="has no C text"):
        half.programs[0].c_source()
