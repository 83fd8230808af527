"""Feature networks layer by layer against PyTorch, and their files."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from chibijax.errors import UserError
from chibijax.models import features
from chibijax.models.features import (
  inception,
  lpips,
  parts,
  plain,
  squeezenet,
  weights,
)

KERAS = "squeezenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "metrics.npz"


def pictures(side: int, count: int = 2, seed: int = 0) -> np.ndarray:
  """Smooth coloured noise in [-1, 1]."""
  rng = np.random.default_rng(seed)
  small = rng.uniform(-1, 1, (count, 8, 8, 3)).astype(np.float32)
  large = jax.image.resize(small, (count, side, side, 3), "cubic")
  return np.clip(np.asarray(large), -1, 1)


def state_dict(network: features.Network) -> dict[str, np.ndarray]:
  """Parameters as torchvision names and shapes them."""
  name_of = {
    "squeezenet": squeezenet.torch_name,
  }.get(network.name, functools.partial(plain.torch_name, network.name))
  found = {}
  for layer, values in network.params.items():
    at = name_of(layer)
    kernel = np.asarray(values["kernel"]).transpose(3, 2, 0, 1)
    found[f"{at}.weight"] = np.ascontiguousarray(kernel)
    found[f"{at}.bias"] = np.asarray(values["bias"])
  return found


class Torch:
  """The few PyTorch functions the references are written with."""

  def __init__(self, arrays: dict[str, np.ndarray]) -> None:
    self.torch = pytest.importorskip("torch", reason="needs PyTorch")
    self.torch.set_num_threads(1)  # Others run tests, too.
    self.f = self.torch.nn.functional
    self.arrays = {
      k: self.torch.from_numpy(np.array(v)) for k, v in arrays.items()
    }

  def tensor(self, x: np.ndarray):
    return self.torch.from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())

  def scaled(self, x: np.ndarray):
    """LPIPS' scaling layer, with its published numbers."""
    shift = np.array([-0.030, -0.088, -0.188], np.float32)
    return self.tensor((x - shift) / np.array([0.458, 0.448, 0.450], "f4"))

  def conv(self, x, name: str, **options):
    weight, bias = (self.arrays[f"{name}.{k}"] for k in ("weight", "bias"))
    return self.f.conv2d(x, weight, bias, **options)


def torch_squeezenet(net: Torch, x, *, ceil: bool) -> dict:
  """torchvision's `squeezenet1_1().features`, by our names."""
  f, found = net.f, {}

  def fire(value, index):
    at = f"features.{index}"
    value = f.relu(net.conv(value, f"{at}.squeeze"))
    return net.torch.cat(
      [
        f.relu(net.conv(value, f"{at}.expand1x1")),
        f.relu(net.conv(value, f"{at}.expand3x3", padding=1)),
      ],
      1,
    )

  x = found["relu1"] = f.relu(net.conv(x, "features.0", stride=2))
  order = ("pool1", 3, 4, "pool3", 6, 7, "pool5", 9, 10, 11, 12)
  names = iter(squeezenet.FIRES)
  for item in order:
    if isinstance(item, str):
      x = found[item] = f.max_pool2d(x, 3, 2, ceil_mode=ceil)
    else:
      x = found[next(names)] = fire(x, item)
  return found


def torch_vgg(net: Torch, x, name: str, mean: bool = False) -> dict:
  f, found, index = net.f, {}, 0
  pool = f.avg_pool2d if mean else f.max_pool2d
  for block, count in enumerate(plain.VGG[name], 1):
    for k in range(1, count + 1):
      x = found[f"conv{block}_{k}"] = net.conv(
        x, f"features.{index}", padding=1
      )
      x = found[f"relu{block}_{k}"] = f.relu(x)
      index += 2
    x = found[f"pool{block}"] = pool(x, 2, 2)
    index += 1
  return found


def torch_alexnet(net: Torch, x) -> dict:
  f, found = net.f, {}
  plan = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
  for i, (index, stride, padding) in enumerate(plan, 1):
    if i in (2, 3):
      x = found[f"pool{i - 1}"] = f.max_pool2d(x, 3, 2)
    x = net.conv(x, f"features.{index}", stride=stride, padding=padding)
    found[f"conv{i}"] = x
    x = found[f"relu{i}"] = f.relu(x)
  return found


def assert_same(got: dict, want: dict, tolerance: float = 2e-5) -> None:
  """Float32 through some tens of layers, another order of summation."""
  assert set(got) == set(want)
  for name, value in want.items():
    value = value.numpy()
    value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
    assert got[name].shape == value.shape, name
    error = np.abs(np.asarray(got[name]) - value).max()
    assert error <= tolerance * np.abs(value).max(), (name, error)


@pytest.fixture(scope="module")
def keras_squeezenet(shared_data: pathlib.Path) -> features.Network:
  pytest.importorskip("h5py", reason="needs h5py to read Keras' file")
  return features.load("squeezenet", shared_data / "weights" / KERAS)


# 64 and 65 differ in whether poolings reach beyond the border.
@pytest.mark.parametrize("side", [64, 65])
def test_keras_squeezenet_agrees_with_pytorch(
  keras_squeezenet: features.Network, side: int
) -> None:
  x = pictures(side)
  net = Torch(state_dict(keras_squeezenet))
  caffe = (x[..., ::-1] + 1) * 127.5 - np.array(
    [104.006, 116.669, 122.679], np.float32
  )
  want = torch_squeezenet(net, net.tensor(caffe), ceil=False)
  assert_same(jax.jit(lambda n, x: n.layers(x))(keras_squeezenet, x), want)
  assert keras_squeezenet.source == "keras"


@pytest.mark.parametrize("side", [64, 65])
def test_torchvision_squeezenet_agrees_with_pytorch(
  keras_squeezenet: features.Network, side: int
) -> None:
  # The other file's real weights, used as torchvision's network would.
  network = keras_squeezenet.replace(source="torch")
  x = pictures(side)
  net = Torch(state_dict(network))
  want = torch_squeezenet(net, net.scaled(x), ceil=True)
  assert_same(jax.jit(lambda n, x: n.layers(x))(network, x), want)


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_vgg_agrees_with_pytorch(name: str, pooling: str) -> None:
  network = features.untrained(name, jax.random.key(1), pooling=pooling)
  x = pictures(32, 1)
  net = Torch(state_dict(network))
  want = torch_vgg(net, net.scaled(x), name, pooling == "mean")
  assert_same(jax.jit(lambda n, x: n.layers(x))(network, x), want)


def test_alexnet_agrees_with_pytorch() -> None:
  network = features.untrained("alexnet", jax.random.key(2))
  x = pictures(95)
  net = Torch(state_dict(network))
  want = torch_alexnet(net, net.scaled(x))
  assert_same(jax.jit(lambda n, x: n.layers(x))(network, x), want)


def torch_inception(net: Torch, x) -> dict:
  """pytorch-fid's variant with batch norms, from its published structure."""
  f, cat, found = net.f, net.torch.cat, {}

  def unit(value, name, stride=1, padding=0):
    value = f.conv2d(
      value, net.arrays[f"{name}.conv.weight"], stride=stride, padding=padding
    )
    norm = [
      net.arrays[f"{name}.bn.{k}"]
      for k in ("running_mean", "running_var", "weight", "bias")
    ]
    return f.relu(f.batch_norm(value, *norm, training=False, eps=0.001))

  def average(value):
    return f.avg_pool2d(value, 3, 1, 1, count_include_pad=False)

  def run(value, block, *steps):
    for name, *options in steps:
      value = unit(value, f"{block}.{name}", *options)
    return value

  x = unit(x, "Conv2d_1a_3x3", 2)
  x = unit(x, "Conv2d_2a_3x3")
  x = unit(x, "Conv2d_2b_3x3", 1, 1)
  x = found["pool1"] = f.max_pool2d(x, 3, 2)
  x = unit(x, "Conv2d_3b_1x1")
  x = unit(x, "Conv2d_4a_3x3")
  x = found["pool2"] = f.max_pool2d(x, 3, 2)
  tall, wide = (3, 0), (0, 3)
  for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
    x = found[block] = cat(
      [
        run(x, block, ["branch1x1"]),
        run(x, block, ["branch5x5_1"], ["branch5x5_2", 1, 2]),
        run(
          x,
          block,
          ["branch3x3dbl_1"],
          ["branch3x3dbl_2", 1, 1],
          ["branch3x3dbl_3", 1, 1],
        ),
        run(average(x), block, ["branch_pool"]),
      ],
      1,
    )
  x = found["Mixed_6a"] = cat(
    [
      run(x, "Mixed_6a", ["branch3x3", 2]),
      run(
        x,
        "Mixed_6a",
        ["branch3x3dbl_1"],
        ["branch3x3dbl_2", 1, 1],
        ["branch3x3dbl_3", 2],
      ),
      f.max_pool2d(x, 3, 2),
    ],
    1,
  )
  for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
    x = found[block] = cat(
      [
        run(x, block, ["branch1x1"]),
        run(
          x,
          block,
          ["branch7x7_1"],
          ["branch7x7_2", 1, wide],
          ["branch7x7_3", 1, tall],
        ),
        run(
          x,
          block,
          ["branch7x7dbl_1"],
          ["branch7x7dbl_2", 1, tall],
          ["branch7x7dbl_3", 1, wide],
          ["branch7x7dbl_4", 1, tall],
          ["branch7x7dbl_5", 1, wide],
        ),
        run(average(x), block, ["branch_pool"]),
      ],
      1,
    )
  x = found["Mixed_7a"] = cat(
    [
      run(x, "Mixed_7a", ["branch3x3_1"], ["branch3x3_2", 2]),
      run(
        x,
        "Mixed_7a",
        ["branch7x7x3_1"],
        ["branch7x7x3_2", 1, wide],
        ["branch7x7x3_3", 1, tall],
        ["branch7x7x3_4", 2],
      ),
      f.max_pool2d(x, 3, 2),
    ],
    1,
  )
  for block in ("Mixed_7b", "Mixed_7c"):
    three = run(x, block, ["branch3x3_1"])
    double = run(x, block, ["branch3x3dbl_1"], ["branch3x3dbl_2", 1, 1])
    last = block == "Mixed_7c"
    pooled = f.max_pool2d(x, 3, 1, 1) if last else average(x)
    x = found[block] = cat(
      [
        run(x, block, ["branch1x1"]),
        run(three, block, ["branch3x3_2a", 1, (0, 1)]),
        run(three, block, ["branch3x3_2b", 1, (1, 0)]),
        run(double, block, ["branch3x3dbl_3a", 1, (0, 1)]),
        run(double, block, ["branch3x3dbl_3b", 1, (1, 0)]),
        run(pooled, block, ["branch_pool"]),
      ],
      1,
    )
  found["pool3"] = x.mean((2, 3))
  return found


def inception_state() -> dict[str, np.ndarray]:
  """A random state dict in pytorch-fid's form."""
  rng = np.random.default_rng(3)
  found = {}
  for layer, (kh, kw, i, o) in inception.shapes().items():
    scale = np.sqrt(2 / (kh * kw * i))
    found[f"{layer}.conv.weight"] = scale * rng.standard_normal(
      (o, i, kh, kw), np.float32
    )
    found[f"{layer}.bn.weight"] = rng.uniform(0.8, 1.2, o)
    found[f"{layer}.bn.bias"] = rng.normal(0, 0.1, o)
    found[f"{layer}.bn.running_mean"] = rng.normal(0, 0.1, o)
    found[f"{layer}.bn.running_var"] = rng.uniform(0.5, 1.5, o)
  return {k: np.asarray(v, np.float32) for k, v in found.items()}


def test_inception_agrees_with_pytorch(tmp_path: pathlib.Path) -> None:
  state = inception_state()
  save_file(state, tmp_path / "inception.safetensors")
  network = features.load("inception", tmp_path / "inception.safetensors")
  assert network.source == "torch"  # Not the published file.
  x = pictures(107, 1)
  net = Torch(state)
  want = torch_inception(net, net.tensor(((x + 1) * 127.5 - 128) / 128))
  got = jax.jit(lambda n, x: n.layers(x))(network, x)
  assert_same(got, want, 1e-4)
  embed = jax.eval_shape(network.embed, jnp.asarray(x))
  assert embed.shape == (1, 2048)


def test_cleanfids_names_are_understood(tmp_path: pathlib.Path) -> None:
  scripted = inception.script_names()
  state = inception_state()
  for layer in scripted:
    state[f"{layer}.bn.weight"][:] = 1  # The TorchScript has none.
  parts_of = {
    "conv.weight": "weight", "bn.bias": "beta", "bn.running_mean": "mean",
    "bn.running_var": "var",
  }  # fmt: skip
  renamed = {
    f"{script}.{theirs}": state[f"{layer}.{ours}"]
    for layer, script in scripted.items()
    for ours, theirs in parts_of.items()
  }
  # As published: the last two blocks have no inner modules.
  assert "layers.mixed_10.tower_1_mixed_conv_1.weight" in renamed
  assert "layers.mixed_8.tower_1.conv_3.beta" in renamed
  save_file(state, tmp_path / "a.safetensors")
  save_file(renamed, tmp_path / "b.safetensors")
  a, b = (
    weights.read("inception", tmp_path / f"{name}.safetensors") for name in "ab"
  )
  jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


@pytest.mark.parametrize(
  ("name", "count"),
  [
    ("squeezenet", 722_496),
    ("vgg16", 14_714_688),
    ("vgg19", 20_024_384),
    ("alexnet", 2_469_696),
    # torchvision's 21,785,568 of convolutions and norms, folded: a norm's
    # two parameters become one bias.
    ("inception", 21_768_352),
  ],
)
def test_parameter_counts_are_the_published_ones(name: str, count: int) -> None:
  shapes = weights.shapes(name).values()
  assert sum(int(np.prod(s)) + s[-1] for s in shapes) == count


def test_pth_and_safetensors_give_the_same(tmp_path: pathlib.Path) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  network = features.untrained("squeezenet", jax.random.key(0))
  arrays = state_dict(network)
  torch.save(
    {k: torch.from_numpy(v.copy()) for k, v in arrays.items()},
    tmp_path / "squeezenet1_1.pth",
  )
  save_file(arrays, tmp_path / "squeezenet1_1.safetensors")
  a = features.load("squeezenet", tmp_path / "squeezenet1_1.pth")
  b = features.load("squeezenet", tmp_path)  # The folder: safetensors first.
  assert b.file == "squeezenet1_1.safetensors"
  assert a.sha256 != b.sha256
  for one in (a, b):
    jax.tree.map(np.testing.assert_array_equal, one.params, network.params)


def torch_distance(net: Torch, one: dict, other: dict, heads) -> np.ndarray:
  total = 0
  for i, name in enumerate(lpips.LAYERS["squeezenet"]):
    a, b = one[name], other[name]
    a = a / (net.torch.sqrt((a**2).sum(1, keepdim=True)) + 1e-10)
    b = b / (net.torch.sqrt((b**2).sum(1, keepdim=True)) + 1e-10)
    head = net.torch.from_numpy(np.array(heads[i])).reshape(1, -1, 1, 1)
    total = total + net.f.conv2d((a - b) ** 2, head).mean((2, 3))[:, 0]
  return total.numpy()


def test_lpips_heads_agree_with_pytorch(
  keras_squeezenet: features.Network, shared_data: pathlib.Path
) -> None:
  folder = shared_data / "weights"
  both = features.load_distance("squeeze", folder, force_heads=True)
  assert both.name == "PD-squeeze-keras-heads"  # Not LPIPS: another trunk.
  x, y = pictures(64), pictures(64, seed=1)
  as_torchvision = both.replace(trunk=both.trunk.replace(source="torch"))
  net = Torch(state_dict(both.trunk))
  layers = [torch_squeezenet(net, net.scaled(v), ceil=True) for v in (x, y)]
  want = torch_distance(net, *layers, both.heads)
  got = jax.jit(lambda d, x, y: d(x, y))(as_torchvision, x, y)
  np.testing.assert_allclose(got, want, rtol=1e-4)
  published = both.replace(trunk=both.trunk.replace(source="torchvision"))
  assert published.name == "LPIPS-squeeze"
  assert features.load_distance("squeeze", folder).name == "PD-squeeze-keras"


@pytest.mark.parametrize("name", ["squeeze", "vgg", "alex"])
def test_published_heads_are_read(name: str, shared_data: pathlib.Path) -> None:
  file = weights.find(f"lpips-{name}", shared_data / "weights")
  trunk = lpips._TRUNKS[name]
  heads, digest = weights.read_heads(file, lpips.WIDTHS[trunk])
  assert digest == lpips._HEADS[trunk]
  assert min(h.min() for h in heads) >= 0
  with pytest.raises(UserError, match="the trunk has"):
    weights.read_heads(file, (64,))


def test_lpips_equals_the_lpips_package() -> None:
  # Its own network class, torchvision's trunk with our random weights.
  golden = np.load(GOLDEN)
  trunk = features.untrained("squeezenet", jax.random.key(7))
  heads = tuple(golden[f"lpips_head{i}"] for i in range(7))
  distance = features.PerceptualDistance(trunk=trunk, heads=heads)
  x, y = (np.float32(golden[f"lpips_{k}"]) / 127.5 - 1 for k in "xy")
  got = jax.jit(lambda d, x, y: d(x, y))(distance, x, y)
  np.testing.assert_allclose(got, golden["lpips_distance"], rtol=1e-4)


def test_distance_is_zero_and_differentiable_for_equal_pictures() -> None:
  trunk = features.untrained("squeezenet", jax.random.key(0))
  distance = features.PerceptualDistance(trunk=trunk)
  # A black corner gives pixels where every channel is zero.
  x = jnp.asarray(pictures(32, 1)).at[:, :16].set(0)
  loss = jax.value_and_grad(lambda y: distance(x, y).sum())
  value, grad = jax.jit(loss)(x)
  # Rows of one batch may round differently, by the last bit of a unit vector.
  assert value < 1e-10
  assert np.abs(grad).max() < 1e-4  # Finite above all.


def test_layers_stop_at_the_last_one_asked_for() -> None:
  network = features.untrained("squeezenet", jax.random.key(0))
  tiny = jnp.asarray(
    pictures(17, 1)
  )  # Too small for fire6 and later of Keras' form.
  assert list(network.layers(tiny, ("relu1",))) == ["relu1"]
  with pytest.raises(ValueError, match="no layer fire1; it has relu1"):
    network.layers(jnp.asarray(pictures(32, 1)), ("relu1", "fire1"))
  with pytest.raises(ValueError, match="too small"):
    network.replace(source="keras").layers(tiny)


@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_max_pool_is_pytorchs(size: int, ceil: bool, padding: int) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  x = np.random.default_rng(0).standard_normal((1, size, size, 2), np.float32)
  want = torch.nn.functional.max_pool2d(
    torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
    3, 2, padding, ceil_mode=ceil,
  )  # fmt: skip
  got = parts.max_pool(jnp.asarray(x), 3, 2, padding=padding, ceil=ceil)
  np.testing.assert_array_equal(got, want.numpy().transpose(0, 2, 3, 1))


def test_problems_are_sentences(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  with pytest.raises(UserError, match="no feature network 'resnet'"):
    features.load("resnet")
  monkeypatch.delenv("CHIBIJAX_VGG16", raising=False)
  with pytest.raises(UserError, match="set CHIBIJAX_VGG16"):
    features.load("vgg16")
  with pytest.raises(UserError, match="is missing"):
    features.load("vgg16", tmp_path / "none.pth")
  network = features.untrained("squeezenet", jax.random.key(0))
  save_file(state_dict(network), tmp_path / "a.safetensors")
  monkeypatch.setenv("CHIBIJAX_ALEXNET", str(tmp_path / "a.safetensors"))
  with pytest.raises(UserError, match="does not suit alexnet"):
    features.load("alexnet")
  (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
  with pytest.raises(UserError, match="is a Keras file"):
    features.load("vgg16", tmp_path / "bad.h5")
  pytest.importorskip("h5py", reason="needs h5py")
  with pytest.raises(UserError, match="is not SqueezeNet's Keras file"):
    features.load("squeezenet", tmp_path / "bad.h5")
