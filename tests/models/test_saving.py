"""A model in a file: made anew it is the same, and what is not a model's file is refused."""

import json
import sys
import zipfile

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.layers.test_every_layer import LAYERS, sample
from tinygrad_bn import layers, losses, models, optimizers, schedules
from tinygrad_bn.errors import SettingError

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
FORMS = ["npz", "safetensors"]


def small(*more, **options):
    model = tg.Sequential([layers.Dense(4, "tanh", **options), *more, layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(X, Y, verbose=0)
    return model


def bits(model):
    return {path: value.tobytes() for path, value in model.state_dict().items()}


@pytest.fixture(params=FORMS)
def path(request, tmp_path):
    pytest.importorskip(request.param if request.param != "npz" else "numpy")
    return tmp_path / f"model.{request.param}"


# There and back


@pytest.mark.parametrize(("make", "shape"), [pytest.param(*p, id=repr(p[0]())[:60]) for p in LAYERS])
def test_every_layer_is_made_again(make, shape, tmp_path):
    model = tg.Sequential([make()])
    x = sample(shape, np.float32)
    model(x)
    model.save(tmp_path / "model.npz")
    again = models.load(tmp_path / "model.npz")
    assert repr(again) == repr(model.eval())
    assert bits(again) == bits(model)
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))


@pytest.mark.usefixtures("exact")
def test_a_whole_network_in_both_forms(path):
    model = small(
        layers.BatchNormalization(momentum=0.5, gamma_initializer=tg.initializers.Constant(2.0)),
        tg.Sequential([layers.Dropout(0.5), layers.Activation(tg.silu)], name="inner"),
        kernel_initializer=tg.initializers.VarianceScaling(2.0, "fan_avg", seed=1),
        kernel_regularizer=tg.regularizers.L1L2(0.1, 0.2),
        kernel_constraint="max_norm",
    )
    model.save(path)
    again = models.load(path)
    assert repr(again) == repr(model)
    assert bits(again) == bits(model)
    assert not again.training
    assert again.evaluate(X, Y, return_dict=True) == model.evaluate(X, Y, return_dict=True)
    assert (repr(again.optimizer), repr(again.loss)) == (repr(model.optimizer), repr(model.loss))
    first = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == first  # the same bytes for the same model
    again.save(path)
    assert models.load(path).evaluate(X, Y) == model.evaluate(X, Y)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.1, momentum=0.5, nesterov=True, weight_decay=0.01, clipvalue=2.0),
        optimizers.RMSprop(schedules.PiecewiseConstant([10, 20], [0.1, 0.01, 0.001])),
        optimizers.AdamW(schedules.OneCycle(0.1, 100), amsgrad=True, global_clipnorm=1.0, nonfinite="skip"),
        optimizers.Nadam(schedules.CosineDecay(0.1, 100, warmup_target=0.2, warmup_steps=5)),
        optimizers.Adagrad(schedules.PowerDecay(0.1, 10, 0.5)),
        optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), clipnorm=3.0),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_optimizers_and_schedules(optimizer, path):
    model = small()
    model.compile(optimizer, losses.Huber(2.0))
    model.save(path)
    again = models.load(path)
    assert repr(again.optimizer) == repr(optimizer)
    assert repr(again.loss) == "Huber(delta=2.0)"
    assert again.metrics == ()


def test_loading_draws_from_nobodys_stream(path):
    small(layers.Dropout(0.5)).save(path)
    tg.set_random_seed(5)
    expected = tg.initializers.RandomNormal()((3,))
    tg.set_random_seed(5)
    models.load(path)
    found = tg.initializers.RandomNormal()((3,))
    np.testing.assert_array_equal(found, expected)


def test_what_is_frozen_stays_frozen(path):
    model = small(layers.BatchNormalization())
    model.layers[0].trainable = False
    model.layers[1].freeze_statistics()
    model.layers[2].bias.trainable = False
    model.save(path)
    again = models.load(path)
    assert not again.layers[0].trainable
    assert again.layers[1].statistics_frozen
    assert [p for p, each in again.named_parameters() if not each.trainable] == [
        "layers.0.kernel",
        "layers.0.bias",
        "layers.2.bias",
    ]


def test_rules_that_were_given_to_parameters_are_kept(path):
    model = tg.Sequential([layers.Dense(3, kernel_regularizer="l2", bias_constraint="non_neg")])
    model(X)
    model.layers[0].kernel.regularizer = None
    model.layers[0].bias.regularizer = tg.regularizers.L1(0.5)
    model.save(path)
    kernel, bias = models.load(path).parameters()
    assert (kernel.regularizer, kernel.constraint) == (None, None)
    assert (repr(bias.regularizer), repr(bias.constraint)) == ("L1(l1=0.5)", "NonNeg()")


def test_what_was_shared_is_shared_again(path):
    shared = layers.Dense(3)
    model = tg.Sequential([shared, layers.ReLU(), shared])
    model(X)
    model.save(path)
    again = models.load(path)
    assert again.layers[0] is again.layers[2]
    np.testing.assert_array_equal(again(X).numpy(), model.eval()(X).numpy())


def test_a_generator_that_was_shared_is_shared_again(path):
    rng = np.random.default_rng(3)
    model = tg.Sequential([layers.Dropout(0.5, rng=rng), layers.Dropout(0.5, rng=rng), layers.Dense(3)])
    model(X)
    model.save(path)
    again = models.load(path)
    np.testing.assert_array_equal(again(X, training=True).numpy(), model(X, training=True).numpy())


def test_an_array_and_a_dtype_are_settings_too(path):
    model = tg.Sequential([Scaled(np.array([1.0, 2.0, 4.0]), (1, 2), np.dtype("float64"), {"a": float("inf")})])
    model(X)
    model.save(path)
    again = models.load(path, custom_objects={"Scaled": Scaled}).layers[0]
    np.testing.assert_array_equal(again.factors, [1.0, 2.0, 4.0])
    assert (again.pair, again.kind, again.limits) == ((1, 2), np.dtype("float64"), {"a": float("inf")})


def test_weights_without_a_model(path):
    model = small()
    model.save(path, weights_only=True)
    other = small()
    other.load(path)
    assert bits(other) == bits(model)
    with pytest.raises(SettingError, match=r"values without a model in .*: make the model, and call model\.load"):
        models.load(path)


def test_a_module_that_is_no_model(path):
    dense, other = layers.Dense(3, input_shape=(2,)), layers.Dense(3, input_shape=(2,))
    dense.save(path)
    other.load(path)
    assert bits(other) == bits(dense)


# What is the user's own


class Scaled(layers.Layer):
    def __init__(self, factors, pair, kind, limits):
        super().__init__()
        self.factors, self.pair, self.kind, self.limits = factors, pair, kind, limits

    def forward(self, x):
        return x * self.factors.astype(x.dtype)


class Skipping(tg.Model):
    """A model of the user's own with a skip connection."""

    def __init__(self, units, activation="tanh"):
        self.units, self.activation = units, activation
        self.inner, self.middle = layers.Dense(units, activation), layers.Dense(3)
        self.last = layers.Dense(2, "softmax")

    def forward(self, x):
        return self.last(x + self.middle(self.inner(x)))


class Forgetful(tg.Model):
    def __init__(self, units=3):
        self.dense = layers.Dense(units)

    def forward(self, x):
        return self.dense(x)


class Row(tg.Model):
    def __init__(self, title, *blocks):
        self.title, self.blocks = title, list(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def double(x):
    return 2 * x


def off_by(y_true, y_pred):
    return tg.abs(y_true - y_pred)


def test_a_subclass_is_rebuilt_through_custom_objects(path):
    model = Skipping(5, double)
    model.compile("sgd", off_by, [off_by])
    model.fit(X, X[:, :2], verbose=0)
    model.save(path)
    with pytest.raises(SettingError) as told:
        models.load(path, {"Skipping": Skipping})
    assert 'models.load(path, custom_objects={"double": double, "off_by": off_by})' in str(told.value)
    again = models.load(path, {"Skipping": Skipping, "double": double, "off_by": off_by})
    assert (again.units, again.activation, again.loss.function) == (5, double, off_by)
    assert bits(again) == bits(model)
    assert again.evaluate(X, X[:, :2]) == model.evaluate(X, X[:, :2])


def test_arguments_without_names(path):
    model = Row("a", layers.Dense(2), layers.ReLU())
    model(X)
    model.save(path)
    again = models.load(path, {"Row": Row})
    assert (again.title, len(again.blocks)) == ("a", 2)


def scaling(factor):
    def scaled(x):
        return x * factor

    return scaled


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Forgetful, "Forgetful does not keep its argument units: let its constructor say self.units = units"),
        (lambda: tg.Sequential([layers.Dense(2, lambda x: x)]), "has no name to be found by: define it with def"),
        (
            lambda: tg.Sequential([layers.Dense(2, scaling(1.0)), layers.Dense(2, scaling(5.0))]),
            "there are two different scaled, and a file holds names alone: rename one",
        ),
    ],
    ids=["an argument that is not kept", "a lambda", "two functions of one name"],
)
def test_what_cannot_be_made_again_keeps_its_values_and_says_so_at_once(make, reason, path):
    model = make()
    model(X)
    with pytest.warns(UserWarning, match=f"will not serve to rebuild {type(model).__name__}: .*{reason}") as told:
        model.save(path)
    assert told[0].filename == __file__
    with pytest.raises(SettingError, match=rf"values alone could be saved: .*{reason}.*call model\.load\(path\)"):
        models.load(path)
    other = make()
    other(X)
    other.load(path)
    assert bits(other) == bits(model)


@pytest.mark.parametrize(("function", "ours"), [(np.tanh, "tg.tanh"), (np.cbrt, "a function of your own")])
def test_numpys_functions_are_named_with_what_serves_instead(function, ours, path):
    model = tg.Sequential([layers.Dense(2, function, input_shape=(3,))])
    with pytest.warns(UserWarning, match=rf"np\.{function.__name__} is NumPy's, .*: use {ours} instead"):
        model.save(path)
    with pytest.raises(SettingError, match=f"use {ours} instead"):
        models.load(path)


class Chained(models.Model):
    """One Dense after another, under the name that they had when it was saved."""

    def __init__(self):
        self.dense = [layers.Dense(3, input_shape=(3,)), layers.Dense(2)]

    def forward(self, x):
        for layer in self.__dict__.get("dense") or self.other:
            x = layer(x)
        return x


class Renamed(Chained):
    def __init__(self):
        self.other = [layers.Dense(3, input_shape=(3,)), layers.Dense(2)]


class Longer(Chained):
    def __init__(self):
        self.dense = [layers.Dense(3, input_shape=(3,)), layers.Dense(2), layers.Dense(2)]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (Renamed, "the file has a module at dense.0, where it has none now"),
        (Longer, "it has a Dense at dense.2 now, of which the file says nothing"),
    ],
)
def test_a_class_that_has_changed_since_is_told_by_the_module_that_differs(now, what, path):
    model = Chained()
    model(X)
    model.save(path)
    with pytest.raises(
        SettingError, match=rf"load expects a {now.__name__} with the modules .* when it was saved; {what}"
    ):
        models.load(path, custom_objects={"Chained": now})


def test_custom_objects_go_by_name(path):
    small().save(path)
    with pytest.raises(TypeError, match=r'custom_objects to be a dict, such as \{"Mine": Mine\}; got \[<class'):
        models.load(path, custom_objects=[tg.Sequential])


def test_a_model_that_cannot_be_compiled_again_comes_back_uncompiled(path):
    model = small()
    model.compile("sgd", lambda y, p: tg.square(y - p))
    with pytest.warns(UserWarning, match="will not serve to compile: .*define it with def"):
        model.save(path)
    with pytest.warns(UserWarning, match="Sequential is not compiled: .*define it with def") as told:
        again = models.load(path)
    assert told[0].filename == __file__
    assert again.loss is None
    assert bits(again) == bits(model)


def test_a_file_speaks_of_nothing_but_what_is_known(tmp_path):
    small().save(tmp_path / "model.npz")
    for wrong, message in [
        ({"class": "os.system", "settings": {"command": "ls"}}, "unknown name 'os.system' in the file"),
        ({"class": "relu", "settings": {}}, "expects relu to be a class"),
        ({"class": "layers.Dense", "settings": {"units": -1}}, "cannot make layers.Dense .* units to be a positive"),
        ({"class": "layers.Dense", "settings": {"units": 1, "unit": 1}}, "cannot make .* argument 'unit'"),
        ({"class": "models.Sequential", "settings": {"layers": [{"again": 7}]}}, "does not go together"),
        ({"eval": "1"}, "unknown entry 'eval' in the file"),
        (3, "does not go together"),
    ]:
        with pytest.raises(SettingError, match=message):
            models.load(edited(tmp_path, lambda about, new=wrong: about["model"].update(made=new)))


# Files that are not as they should be


def edited(folder, change):
    """The file with another text about it."""
    with zipfile.ZipFile(folder / "model.npz") as old, zipfile.ZipFile(folder / "edited.npz", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(".json"):
                about = json.loads(data)
                change(about)
                data = json.dumps(about)
            new.writestr(name, data)
    return folder / "edited.npz"


def test_a_newer_version(tmp_path):
    small().save(tmp_path / "model.npz")
    path = edited(tmp_path, lambda about: about.update(format=2))
    for load in (models.load, small().load):
        with pytest.raises(SettingError, match=r"format 1 at most; .* has format 2: a newer tinygrad_bn wrote it"):
            load(path)


def test_a_file_cut_off_anywhere_is_refused(path):
    model = small()
    model.save(path, training_state=True)
    whole, before = path.read_bytes(), bits(model)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        for load in (models.load, model.load):
            with pytest.raises(SettingError, match=r"load expects an? \.(npz|safetensors) file that save wrote; got"):
                load(path)
    assert bits(model) == before


def test_a_file_with_a_wrong_byte_is_refused_or_harmless(path):
    model = small()
    model.save(path)
    whole, refused = path.read_bytes(), 0
    places = range(0, len(whole), 41)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert bits(models.load(path)) == bits(model)  # a byte that nobody reads, such as a date
        except SettingError:
            refused += 1
    assert refused > 0.6 * len(places)


def test_foreign_files(tmp_path):
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    np.savez(tmp_path / "other.npz", **{"layers.0.kernel": np.zeros(2)})
    np.savez(tmp_path / "objects.npz", **{"layers.0.kernel": np.array([print], dtype=object)})
    for name, message in [
        ("text.npz", r"an \.npz file"),
        ("text.safetensors", r"a \.safetensors file"),
        ("other.npz", "values without a model"),
        ("objects.npz", r"an \.npz file that save wrote; .*objects\.npz.* does not hold"),
    ]:
        if name.endswith("safetensors"):
            pytest.importorskip("safetensors")
        with pytest.raises(SettingError, match=message):
            models.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        models.load(tmp_path / "missing.npz")


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path):
    small().save(tmp_path / "model.npz")
    with zipfile.ZipFile(tmp_path / "model.npz", "a") as archive, archive.open("huge.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(entry, {"shape": (2**45,), "fortran_order": False, "descr": "<f8"})
    with pytest.raises(SettingError, match=r"huge\.npy does not hold"):
        models.load(tmp_path / "model.npz")


def test_without_safetensors_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_bn\[safetensors\]'"):
        small().save(path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"\0" * 8 + b"{")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_bn\[safetensors\]'"):
        models.load(path)


def test_an_unknown_argument_names_the_right_one(tmp_path):
    with pytest.raises(
        TypeError, match=r"unknown argument 'training_stat' in save\(\)\. Did you mean 'training_state'"
    ):
        small().save(tmp_path / "model.npz", training_stat=True)
