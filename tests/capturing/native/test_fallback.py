"""Whatever keeps a step from being native, it runs: with the numbers of the replay, and one warning that says why."""

import errno
import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import Training, apart
from tests.capturing.native.test_building import _has_compiler, libraries
from tinygrad_bn.capturing import running
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.capturing.native import building
from tinygrad_bn.capturing.native import program as program_file
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.layers import BatchNormalization, Dense
from tinygrad_bn.optimizers import SGD, Adam, AdamW, Nadam, RMSprop


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of its own, and nothing said yet."""
    monkeypatch.setenv("TINYGRAD_BN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(running, "_told", set())
    building._version.cache_clear()
    yield tmp_path / "cache" / "native"
    building._version.cache_clear()


@pytest.fixture
def compiler(cache):
    if not _has_compiler():
        pytest.skip("there is no C compiler")
    for path in libraries(cache):
        path.unlink()


def twins():
    """Two models with the same weights, each with its training step."""

    def layers():
        return [Dense(12, use_bias=False), BatchNormalization(), Dense(3)]

    return [Training(layers, 5, 3, 8, lambda: SGD(learning_rate=0.1, momentum=0.9)) for _ in range(2)]


def trained(training, executor, steps=4):
    """The losses of some steps, what the model is afterwards, what was said, and the program."""
    step = capture(training.step, executor=executor)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = [float(step(training.x, training.y).value) for _ in range(steps)]
    (program,) = step.programs
    return losses, training.variables(), [str(warning.message) for warning in said], program


def assert_trains_as_a_replay(why):
    """It does, bit for bit, and says why: once, and nothing else."""
    asked, replayed = twins()
    losses, variables, said, program = trained(asked, "native")
    expected, expected_variables, nothing, _ = trained(replayed, "numpy")
    assert losses == expected
    assert all(map(np.array_equal, variables, expected_variables))
    assert nothing == []
    assert [why in line for line in said] == [True], said
    assert said[0].startswith("a step runs as a NumPy replay instead of native code: ")
    assert isinstance(program._runner, Replay)


def assert_trains_natively():
    """It does, without a word, as a replay does but for rounding."""
    asked, replayed = twins()
    losses, variables, said, program = trained(asked, "native")
    expected, expected_variables, _, _ = trained(replayed, "numpy")
    assert said == []
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert all(apart(ours, theirs) < 100 for ours, theirs in zip(variables, expected_variables, strict=True))
    assert not isinstance(program._runner, Replay)


def test_without_a_compiler_it_is_said_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None)
    assert_trains_as_a_replay("pip install 'tinygrad_bn[native]'")


def test_a_compiler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None)
    assert_trains_as_a_replay("no-such-compiler: ")


@pytest.mark.skipif(sys.platform == "win32", reason="scripts have no #! there")
def test_what_a_failing_compiler_says_is_passed_on(monkeypatch, tmp_path):
    script = tmp_path / "broken"
    script.write_text(f"#!{sys.executable}\nimport sys\n'--version' in sys.argv or sys.exit('out of patience')\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None)
    assert_trains_as_a_replay("out of patience")


@pytest.mark.usefixtures("compiler")
def test_without_room_for_what_the_compiler_makes_it_is_a_replay(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(building.tempfile, "TemporaryDirectory", full)
    assert_trains_as_a_replay(os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_cache_folder_costs_only_the_cache(monkeypatch, cache, code):
    def refusing(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(building.shutil, "copyfile", refusing)
    assert_trains_natively()
    assert libraries(cache) == []


@pytest.mark.usefixtures("compiler")
def test_a_cache_folder_that_cannot_be_made_costs_only_the_cache(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_BN_CACHE", str(tmp_path / "file"))
    assert_trains_natively()


@tg.primitive
def in_order(x, /):
    return np.sort(x)


in_order.defvjp(None)


def test_a_call_that_c_cannot_say_is_named():
    asked = capture(in_order, executor="native")
    x = np.array([3.0, 1.0, 2.0])
    with pytest.warns(UserWarning, match="replay instead of native code: sort") as said:
        results = [asked(tg.Tensor(x * factor)).numpy().tolist() for factor in (1, 2, 3)]
    assert results == [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]]
    assert len(said) == 1


def test_what_has_been_said_is_not_said_of_the_next_step():
    x = tg.Tensor(np.ones(3))
    with pytest.warns(UserWarning, match="sort"):
        capture(in_order, executor="native")(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture(lambda x: in_order(x) * 2, executor="native")(x)


def rounding(optimizer):
    """Two models with a bias whose gradient is nothing but rounding."""

    def layers():
        return [Dense(12), BatchNormalization(), Dense(3)]

    return [Training(layers, 5, 3, 8, optimizer) for _ in range(2)]


DIVIDING = {
    "Adam": partial(Adam, learning_rate=1.0),
    "AdamW": partial(AdamW, learning_rate=0.1),
    "Nadam": partial(Nadam, learning_rate=0.01),
    "RMSprop": partial(RMSprop, learning_rate=0.1),
    "sign": partial(Adam, learning_rate=0.1, epsilon=1e-30),
}


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("optimizer", DIVIDING.values(), ids=DIVIDING)
def test_rounding_that_a_rule_makes_a_step_of_is_not_taken_for_wrong_code(optimizer):
    asked, _ = rounding(optimizer)
    *_, said, program = trained(asked, "native", steps=2)
    assert said == []
    assert not isinstance(program._runner._program, Replay)


DEFECTS = {
    "another sign": (" - ", " + "),
    "another function": (r"sqrt_float\(", "fabs_float("),
    "a factor left out": (r"gamma\[j\] \* ", ""),
    "another constant": (r"/ 8\.0f", "/ 9.0f"),
    "the last pass left out": (r"i < (\d+); i\+\+", r"i < \1 - 1; i++"),
    "the first pass left out": (r"long i = 0; i < (\d+)", r"long i = 1; i < \1"),
    "a product of other rows": (r"gemm_float\(1, 0, (\d+), ", r"gemm_float(1, 0, \1 - 1, "),
    "another element": (r"kernel\[i\] = ", "kernel[0] = "),
}


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("optimizer", [DIVIDING["Nadam"], DIVIDING["Adam"], partial(SGD, learning_rate=0.1)])
@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_wrong_code_is_found_out_at_its_first_run_and_nothing_of_it_stays(monkeypatch, defect, optimizer):
    compiled = program_file.compiled

    def wrong(source, **options):
        spoiled = re.sub(*defect, source)
        assert spoiled != source
        return compiled(spoiled, **options)

    monkeypatch.setattr(program_file, "compiled", wrong)
    asked, replayed = rounding(optimizer)
    losses, variables, said, _ = trained(asked, "native")
    expected, expected_variables, _, _ = trained(replayed, "numpy")
    assert ["results differ" in line for line in said] == [True]
    assert losses == expected
    assert all(map(np.array_equal, variables, expected_variables))


@pytest.mark.usefixtures("compiler")
def test_a_result_that_differs_in_one_place_is_found_out_even_if_it_is_of_whole_numbers(monkeypatch):
    compiled = program_file.compiled
    monkeypatch.setattr(
        program_file, "compiled", lambda source: compiled(source.replace("x[i] * 3.0", "x[i] * (i == 7 ? 4.0 : 3.0)"))
    )
    step = capture(lambda x: tg.discretize(x * 3, np.int64), executor="native")
    x = np.arange(1.0, 101.0)
    step(x)
    with pytest.warns(UserWarning, match="results differ"):
        assert step(x).value.tolist() == (3 * x).tolist()


TASK = """
import warnings
warnings.simplefilter("error")
from tests.capturing.native.test_fallback import assert_trains_natively
assert_trains_natively()
print("trained")
"""


@pytest.mark.usefixtures("compiler")
def test_two_processes_that_compile_the_same_step_at_once_both_run_it(cache):
    root = Path(building.__file__).parents[3]
    processes = [
        subprocess.Popen([sys.executable, "-c", TASK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out.split() for out, _ in said] == [[b"trained"]] * 2, said
    assert all(building._digest(path) == path.stem.split("-")[1] for path in libraries(cache))


@pytest.mark.parametrize(
    "function", [tg.softmax, tg.log_softmax, partial(tg.sparse_softmax_crossentropy, 1 + np.arange(32) % 3)]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_short_rows_stay_native_however_they_lie(compiler, function, order):
    x = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
    step = capture(function, executor="native")
    found = step(tg.tensor(np.asarray(x, order=order)))
    (program,) = step.programs
    assert not isinstance(program._runner, Replay)
    np.testing.assert_allclose(found, function(x), rtol=1e-5, atol=1e-6)
