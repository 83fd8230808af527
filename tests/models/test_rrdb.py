"""RRDB: published sizes, PyTorch's result from published names, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.core import weight_files
from chibijax.models import rrdb

NAMINGS = ("real-esrgan", "esrgan", "esrgan, first files")


def _count(net: rrdb.Rrdb) -> int:
  blank = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  made, variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), blank
  )
  assert made.shape == (1, 8 * net.scale, 8 * net.scale, 3)
  return sum(x.size for x in jax.tree.leaves(variables))


@pytest.mark.parametrize(("scale", "count"), [(4, 16_697_987), (2, 16_703_171)])
def test_published_sizes(scale: int, count: int) -> None:
  net = rrdb.Rrdb(scale)
  assert (net.width, net.growth, net.blocks) == (64, 32, 23)
  # All blocks are alike, and tracing 23 of them takes ten seconds.
  none, one = (_count(net.copy(blocks=n)) for n in (0, 1))
  assert none + 23 * (one - none) == count


def test_fold_is_pixel_unshuffle() -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  x = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype("f4")
  theirs = torch.nn.functional.pixel_unshuffle(
    torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), 2
  )
  ours = rrdb.fold(jnp.asarray(x), 2)
  np.testing.assert_array_equal(ours, theirs.numpy().transpose(0, 2, 3, 1))


def _shapes(scale: int, blocks: int, width: int, growth: int) -> dict:
  """Kernel shapes by Real-ESRGAN's names."""
  shapes = {"conv_first": (width, 3 * (4 // scale) ** 2)}
  for i in range(blocks):
    for j in range(1, 4):
      for k in range(1, 6):
        last = width if k == 5 else growth
        shapes[f"body.{i}.rdb{j}.conv{k}"] = (last, width + (k - 1) * growth)
  for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
    shapes[name] = (width, width)
  return shapes | {"conv_last": (3, width)}


def _renamed(name: str, naming: str, blocks: int) -> str:
  if naming == "real-esrgan":
    return name
  column = NAMINGS.index(naming)
  for names in rrdb._OUTSIDE.values():
    if name == names[0]:
      return names[column].format(blocks=blocks)
  _, block, dense, conv = name.split(".")
  if column == 1:
    return f"RRDB_trunk.{block}.{dense.upper()}.{conv}"
  return f"model.1.sub.{block}.{dense.upper()}.{conv}.0"


def _torch_forward(torch, w: dict, x, scale: int, blocks: int):
  """The network, written with PyTorch's functions; pictures in [0, 1]."""
  functional = torch.nn.functional

  def conv(x, name):
    return functional.conv2d(
      x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1
    )

  relu = functools.partial(functional.leaky_relu, negative_slope=0.2)
  if scale == 2:
    x = functional.pixel_unshuffle(x, 2)
  x = first = conv(x, "conv_first")
  for i in range(blocks):
    y = x
    for j in range(1, 4):
      name = f"body.{i}.rdb{j}.conv"
      seen = [y]
      for k in range(1, 5):
        seen.append(relu(conv(torch.cat(seen, 1), f"{name}{k}")))
      y = y + 0.2 * conv(torch.cat(seen, 1), f"{name}5")
    x = x + 0.2 * y
  x = first + conv(x, "conv_body")
  for name in ("conv_up1", "conv_up2"):
    x = functional.interpolate(x, scale_factor=2, mode="nearest")
    x = relu(conv(x, name))
  return conv(relu(conv(x, "conv_hr")), "conv_last")


@pytest.mark.parametrize(
  ("naming", "scale"),
  [(NAMINGS[0], 2), (NAMINGS[1], 4), (NAMINGS[2], 4)],
)
def test_published_files_give_what_pytorch_gives(
  tmp_path, naming: str, scale: int
) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  blocks = 2
  draws = np.random.default_rng(3)
  weights = {}
  for name, (out, into) in _shapes(scale, blocks, 8, 4).items():
    kernel = draws.normal(0, (9 * into) ** -0.5, (out, into, 3, 3))
    weights[f"{name}.weight"] = torch.tensor(kernel, dtype=torch.float32)
    bias = draws.normal(0, 0.1, out)
    weights[f"{name}.bias"] = torch.tensor(bias, dtype=torch.float32)
  renamed = {
    f"{_renamed(name, naming, blocks)}.{part}": value
    for (name, _, part), value in (
      (n.rpartition("."), v) for n, v in weights.items()
    )
  }
  saved = {"params_ema": renamed} if naming == NAMINGS[0] else renamed
  torch.save(saved, tmp_path / "net.pth")
  found = weight_files.read(tmp_path / "net.pth")
  net, params = rrdb.from_published(found)
  assert (net.scale, net.width, net.growth, net.blocks) == (scale, 8, 4, blocks)
  x = draws.uniform(0, 1, (1, 8, 10, 3)).astype("f4")
  with torch.no_grad():
    expected = _torch_forward(
      torch, weights, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
      scale, blocks,
    ).numpy().transpose(0, 2, 3, 1)  # fmt: skip
  made = jax.jit(net.apply)({"params": params}, 2 * x - 1)
  # Sums in another order.
  np.testing.assert_allclose((made + 1) / 2, expected, atol=2e-5)
  assert expected.std() > 0.05


def test_other_weights_are_refused() -> None:
  good = {}
  for name, (out, into) in _shapes(4, 1, 8, 4).items():
    good[f"{name}.weight"] = np.zeros((out, into, 3, 3), np.float32)
    good[f"{name}.bias"] = np.zeros(out, np.float32)
  assert rrdb.from_published(good)[0].blocks == 1
  missing = {k: v for k, v in good.items() if k != "body.0.rdb2.conv3.bias"}
  kernel = np.zeros((4, 9, 3, 3), np.float32)
  for weights, sentence in (
    ({"fc.weight": kernel}, "not those of an RRDB"),
    (missing, "body.0.rdb2.conv3.bias is missing"),
    (good | {"extra": kernel}, "extra belongs to no layer"),
    (good | {"body.0.rdb1.conv2.weight": kernel}, "has the shape"),
    (good | {"conv_hr.weight": kernel[:, :, 0, 0]}, "conv_hr has the shape"),
  ):
    with pytest.raises(ValueError, match=sentence):
      rrdb.from_published(weights)


def test_sizes_that_do_not_suit_are_said() -> None:
  blank = jax.ShapeDtypeStruct((1, 7, 8, 3), jnp.float32)
  for net, sentence in (
    (rrdb.Rrdb(scale=2), "even sides"), (rrdb.Rrdb(scale=3), "scale is 3"),
  ):  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
      jax.eval_shape(net.init, jax.random.key(0), blank)
