import io
import json
import sys
from contextlib import redirect_stdout
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import datasets
from tinygrad_bn.__main__ import main
from tinygrad_bn.checking import gradcheck
from tinygrad_bn.cli import demo, writing
from tinygrad_bn.cli.images import SOURCES, load
from tinygrad_bn.cli.measuring import measure
from tinygrad_bn.cli.recipes import DEPTH, RECIPES, WIDTH, network
from tinygrad_bn.cli.small_network import check_gradients
from tinygrad_bn.drawing import rendering

FILES = ["graph.svg", "results.json", "signal.svg"]
CHOSEN = ["sigmoid-glorot", "selu-lecun", "prelu-he-bn"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A quick run: its status, what it printed, and its folder."""
    folder = tmp_path_factory.mktemp("demo") / "a" / "b"
    with redirect_stdout(io.StringIO()) as printed:
        status = main(["demo", "--quick", "--epochs", "1", "--out", str(folder), "--recipes", *CHOSEN])
    return SimpleNamespace(status=status, text=printed.getvalue(), folder=folder)


@pytest.fixture(scope="module")
def results(shown):
    return json.loads((shown.folder / "results.json").read_text(encoding="utf-8"))


def cheap(monkeypatch, folder, **replaced):
    """The demo with one recipe on a few images and without the check of gradients, or with these functions replaced."""
    images = load("digits")
    few = images._replace(x_train=images.x_train[:64], y_train=images.y_train[:64])
    stand_ins = {"load": lambda name: few, "check_gradients": lambda seed: gradcheck(tg.sin, np.ones(2)), **replaced}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(demo, name, stand_in)
    return main(["demo", "--epochs", "1", "--recipes", "relu-he", "--out", str(folder)])


def test_it_writes_three_files_and_nothing_else(shown):
    assert shown.status == 0
    assert sorted(path.name for path in shown.folder.iterdir()) == FILES
    assert all(str(shown.folder / name) in shown.text for name in FILES)
    for name in ("graph.svg", "signal.svg"):
        assert ElementTree.parse(shown.folder / name).getroot().tag.endswith("svg")


def test_off_a_terminal_it_prints_plain_lines(shown):
    assert shown.text.isascii()
    assert not set("\r\x1b") & set(shown.text)
    assert all(len(line) <= 100 for line in shown.text.splitlines() if str(shown.folder) not in line)


def test_the_table_is_made_of_the_results(shown, results):
    for name in CHOSEN:
        measured = results["recipes"][name]
        hidden = measured["gradient_flow"]["at_initialization"]["layers"][:-1]
        assert len(hidden) == DEPTH
        row = next(line for line in shown.text.splitlines() if line.startswith(f"{RECIPES[name].name}  "))
        cells = [float(cell) for cell in row.removeprefix(RECIPES[name].name).split()]
        first, last = hidden[0], hidden[-1]
        ratios = [first[field] / last[field] for field in ("signal", "gradient")]
        np.testing.assert_allclose(cells[:4], [first["activation"], last["activation"], *ratios], rtol=0.06)
        assert cells[4] == pytest.approx(measured["test_accuracy"], abs=5e-4)


def test_the_results_say_how_to_get_them_again(results):
    expected = {"data": "digits", "epochs": 1, "seed": 0, "training_images": 1437, "learning_rate": 0.003}
    assert expected.items() <= results["settings"].items()
    assert results["versions"]["tinygrad_bn"] == tg.__version__
    assert results["versions"]["numpy"] == np.__version__


def test_the_gradients_of_every_kind_of_parameter_are_checked(shown, results):
    checked = results["gradient_check"]["verdicts"]
    kinds = {path.rpartition(".")[2] for path in checked}
    assert kinds == {"x", "kernel", "gamma", "beta", "alpha", "bias"}
    assert all(verdict["kind"] == "OK" and verdict["checked"] == verdict["size"] for verdict in checked.values())
    assert f"all {sum(verdict['size'] for verdict in checked.values())} elements" in " ".join(shown.text.split())


def test_a_wrong_gradient_ends_it_with_1(monkeypatch, tmp_path, capsys):
    @tg.primitive
    def off(x):
        return 2.0 * x

    off.defvjp(lambda g, y, x: g)
    assert cheap(monkeypatch, tmp_path, check_gradients=lambda seed: gradcheck(off, np.ones(3))) == 1
    printed = capsys.readouterr().out
    assert "NOT right" in printed
    assert "WRONG" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_the_same_seed_gives_the_same_numbers():
    images = load("digits").first(96)
    once, again, other = (measure(RECIPES["relu-he-bn"], images, 1, seed).to_dict() for seed in (1, 1, 2))
    assert {**once, "seconds": 0} == {**again, "seconds": 0}
    assert once["history"] != other["history"]


def test_a_network_that_diverges_is_a_result_too(monkeypatch, tmp_path, capsys):
    images = load("digits")
    huge = images._replace(x_train=images.x_train[:64] * np.float32(1e15), y_train=images.y_train[:64])
    assert cheap(monkeypatch, tmp_path, load=lambda name: huge) == 0
    assert "nan" in capsys.readouterr().out
    json.loads((tmp_path / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_without_matplotlib_it_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cheap(monkeypatch, tmp_path) == 0
    assert "not written. plots need matplotlib: pip install 'tinygrad_bn[plot]'" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.svg", "results.json"]


def test_without_a_layout_engine_it_says_what_is_missing(monkeypatch, tmp_path):
    def none():
        raise RuntimeError("there is no layout engine")

    monkeypatch.setattr(rendering, "engine", none)
    assert writing.write_graph(tmp_path) == f"{tmp_path / 'graph.svg'}: not written. there is no layout engine"
    assert not list(tmp_path.iterdir())


# Wrong input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "0"], "argument --epochs: expects a whole number from 1 on; got '0'"),
        (["--epochs", "many"], "argument --epochs: expects a whole number from 1 on; got 'many'"),
        (["--seed", "-1"], "argument --seed: expects a whole number from 0 on; got '-1'"),
        (["--data", "mnits"], "unknown data 'mnits'. Did you mean 'mnist'? Choices: digits, fashion-mnist, mnist."),
        (["--recipes", "relu-hee"], "unknown recipe 'relu-hee'. Did you mean 'relu-he'?"),
    ],
)
def test_what_is_not_understood_ends_with_2(words, said, capsys):
    assert main(["demo", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_is_no_folder(inside, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["demo", "--out", str(file / inside)]) == 2
    assert capsys.readouterr().err == f"tinygrad-bn demo: --out expects a folder; {file} is a file\n"
    assert file.read_text() == "mine"


def test_a_folder_that_cannot_be_made_ends_with_1(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / ("x" * 300))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tinygrad-bn demo: cannot write into {tmp_path}")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_noticed_before_the_work(name, tmp_path, capsys):
    (tmp_path / name).mkdir()
    assert main(["demo", "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"tinygrad-bn demo: expects a file to write to; {tmp_path / name} is a folder\n"
    assert not captured.out


SOME = np.zeros((4, 3, 3), np.uint8), np.arange(4)


@pytest.mark.parametrize(
    ("learned", "tested", "said"),
    [
        ((SOME[0], SOME[1] + 7), SOME, "it needs labels from 0 to 9; got 10 among those to learn from"),
        (SOME, (SOME[0], SOME[1] + 7), "it needs labels from 0 to 9; got 10 among those to test on"),
        ((SOME[0][:0], SOME[1][:0]), SOME, r"it needs images to learn from; got an array of shape (0, 3, 3)"),
        (SOME, (SOME[0][:0], SOME[1][:0]), r"it needs images to test on; got an array of shape (0, 3, 3)"),
        ((SOME[0][:, :0, :0], SOME[1]), SOME, r"it needs images to learn from; got an array of shape (4, 0, 0)"),
        (
            SOME,
            (SOME[0][:, 1:], SOME[1]),
            "it needs images of one shape to learn from and to test on; got (3, 3) and (2, 3)",
        ),
    ],
)
def test_images_that_cannot_be_learned_end_with_1(learned, tested, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "load_mnist", lambda: (learned, tested))
    assert main(["demo", "--data", "mnist", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"tinygrad-bn demo: the files of mnist do not suit the demo: {said}\n"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_missing_images_end_with_1_and_say_where_to_put_them(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TINYGRAD_BN_DATA", str(tmp_path / "data"))
    for home in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(home, str(tmp_path))
    assert main(["demo", "--data", name, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"tinygrad-bn demo: {name} needs four files")
    assert str(tmp_path / "data" / name) in said
    assert not (tmp_path / "out").exists()


# The recipes


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_the_same_network_but_for_what_it_says(name):
    recipe = RECIPES[name]
    tg.set_random_seed(0)
    model = network(recipe, (8, 8))
    kernels = {path: p for path, p in model.named_parameters() if path.endswith("kernel")}
    assert [kernel.shape for kernel in kernels.values()] == [(64, WIDTH), *[(WIDTH, WIDTH)] * (DEPTH - 1), (WIDTH, 10)]
    normalizations = [layer for layer in model.modules() if isinstance(layer, tg.layers.BatchNormalization)]
    assert len(normalizations) == DEPTH * recipe.batch_normalization
    *hidden, _ = kernels.values()
    expected = tg.initializers.get(recipe.initializer).report((WIDTH, WIDTH)).variance
    assert np.var([kernel.value for kernel in hidden[1:]]) == pytest.approx(expected, rel=0.02)


def test_standardized_images_have_mean_0_and_deviation_1_in_every_pixel_that_varies():
    plain, standardized = load("digits"), load("digits").standardized()
    varies = plain.x_train.std(axis=0) > 0
    np.testing.assert_allclose(standardized.x_train.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(standardized.x_train.std(axis=0, dtype=np.float64)[varies], 1, rtol=1e-6)
    assert plain.x_train.max() == 1
    assert plain.x_train.dtype == standardized.x_test.dtype == np.float32


def test_all_sources_have_a_loader():
    assert all(callable(getattr(tg.datasets, source.loader)) for source in SOURCES.values())


def test_the_check_of_gradients_holds_for_other_seeds():
    assert all(check_gradients(seed) for seed in (1, 2))


@pytest.mark.slow
def test_the_table_shows_the_story():
    """What a deep network needs in order to train: the signal must get through, and the sigmoids must not saturate."""
    images, epochs = load("digits"), SOURCES["digits"].epochs
    outcomes = {name: measure(recipe, images, epochs, seed=0) for name, recipe in RECIPES.items()}
    accuracy = {name: outcome.accuracy for name, outcome in outcomes.items()}
    signal = {name: outcome.ratio("signal") for name, outcome in outcomes.items()}
    lag = {"sigmoid-glorot": 0.2, "relu-glorot": 0.85, "sigmoid-normal": 0.93}
    assert all(accuracy[name] < bound for name, bound in lag.items())
    assert all(accuracy[name] > 0.94 for name in RECIPES.keys() - lag.keys())
    assert signal["sigmoid-glorot"] < 1e-11
    assert signal["relu-glorot"] < 1e-2
    assert all(0.1 < signal[name] < 100 for name in RECIPES.keys() - {"sigmoid-glorot", "relu-glorot"})
