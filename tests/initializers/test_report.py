"""A report tells law, moments, bounds and fans: as fields, as a table, as a dict and as a picture."""

import json
import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import initializers
from tinygrad_bn.initializers import VarianceScaling

KINDS = [
    "he_normal",
    "glorot_uniform",
    "random_normal",
    "orthogonal",
    "zeros",
    VarianceScaling(distribution="untruncated_normal", seed=3),
]


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 144), ("fan_out", 288), ("fan_avg", 216)])
def test_the_fields(mode, fan):
    initializer = VarianceScaling(2.0, mode, "uniform")
    report = initializer.report((3, 3, 16, 32))
    assert report.initializer is initializer
    assert (report.shape, report.law, report.mean) == ((3, 3, 16, 32), "uniform", 0.0)
    assert (report.fan_in, report.fan_out, report.fan) == (144, 288, fan)
    assert report.variance == 2 / fan
    assert report.stddev == math.sqrt(2 / fan)
    assert report.bounds == pytest.approx((-math.sqrt(6 / fan), math.sqrt(6 / fan)))


def test_the_named_laws_of_the_papers():
    """Glorot and Bengio (2010), Eq. 16; He et al. (2015), Eq. 10; LeCun et al. (1998), section 4.6."""
    report = initializers.GlorotUniform().report((300, 100))
    assert report.bounds == pytest.approx((-math.sqrt(6 / 400), math.sqrt(6 / 400)))
    assert initializers.HeNormal().report((300, 100)).stddev == pytest.approx(math.sqrt(2 / 300))
    assert initializers.LecunNormal().report((300, 100)).stddev == pytest.approx(math.sqrt(1 / 300))


def test_the_table():
    assert str(initializers.HeNormal().report((300, 100))).split("\n") == [
        "HeNormal(seed=None) on (300, 100)",
        "law                 normal truncated at 2 standard deviations",
        "mean                0",
        "variance            0.006667 = 2 / 300",
        "standard deviation  0.08165",
        "bounds              -0.1856 to 0.1856",
        "fan_in, fan_out     300, 100",
    ]
    assert "variance            0.002" + "5\n" in str(initializers.RandomNormal().report((300, 100)))
    assert "1 / 1\n" in str(VarianceScaling().report((0, 3)))
    assert repr(initializers.Zeros().report((3,))) == "Report(Zeros(), shape=(3,), law='constant 0', variance=0)"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_dict_is_json_and_has_every_field(kind):
    report = initializers.get(kind).report((30, 20))
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(told) == {
        "initializer", "shape", "law", "mean", "variance", "stddev", "bounds", "fan_in", "fan_out", "fan"
    }  # fmt: skip
    assert told["initializer"] == repr(initializers.get(kind))
    assert told["bounds"] == [bound if math.isfinite(bound) else None for bound in report.bounds]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(30, 20), (1, 1), (0, 3), (2, 2)])
def test_the_picture_is_always_the_same_and_no_generator_moves_on(kind, shape, tmp_path):
    tg.set_random_seed(5)
    report = initializers.get(kind).report(shape)
    for name in ("a.svg", "b.svg"):
        report.plot(tmp_path / name)
    drawn = tg.generator().random()
    tg.set_random_seed(5)
    assert drawn == tg.generator().random()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_the_picture_shows_the_array_that_the_seed_gives(tmp_path, monkeypatch):
    seen = []
    draw = initializers.HeNormal.draw
    monkeypatch.setattr(initializers.HeNormal, "draw", lambda *given: seen.append(draw(*given)) or seen[-1])
    initializers.HeNormal(seed=7).report((30, 20)).plot(tmp_path / "a.png")
    assert np.array_equal(seen[0].astype(np.float32), initializers.HeNormal(seed=7)((30, 20)))
