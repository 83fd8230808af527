"""Real-ESRGAN's small network against PyTorch, and files that are others."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import compact

WIDTH, CONVS = 6, 2


def published(scale: int = 2) -> dict[str, np.ndarray]:
  """A tiny file's arrays, with the published names."""
  draws = np.random.default_rng(2)
  widths = [3, *[WIDTH] * (CONVS + 1), 3 * scale**2]
  arrays = {}
  for i, (into, out) in enumerate(itertools.pairwise(widths)):
    kernel = draws.normal(0, (9 * into) ** -0.5, (out, into, 3, 3))
    arrays[f"params.body.{2 * i}.weight"] = kernel.astype(np.float32)
    bias = draws.normal(0, 0.1, out).astype(np.float32)
    arrays[f"params.body.{2 * i}.bias"] = bias
    if i <= CONVS:
      slope = draws.uniform(0, 0.5, out).astype(np.float32)
      arrays[f"params.body.{2 * i + 1}.weight"] = slope
  return arrays


@pytest.mark.parametrize(("convs", "count"), [(16, 621_424), (32, 1_213_296)])
def test_published_sizes(convs: int, count: int) -> None:
  blank = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  net = compact.Compact(convs=convs)
  params = jax.eval_shape(net.init, jax.random.key(0), blank)
  assert sum(x.size for x in jax.tree.leaves(params)) == count


def test_published_files_give_what_pytorch_gives() -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  functional = torch.nn.functional
  arrays = published()
  assert compact.is_published(arrays)
  net, params = compact.from_published(arrays)
  assert (net.scale, net.width, net.convs) == (2, WIDTH, CONVS)
  assert net.title == "SRVGG-2"
  x = np.random.default_rng(3).uniform(0, 1, (1, 5, 7, 3)).astype("f4")
  given = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
  w = {k.removeprefix("params."): torch.tensor(v) for k, v in arrays.items()}
  y = given
  for i in range(CONVS + 2):
    y = functional.conv2d(
      y, w[f"body.{2 * i}.weight"], w[f"body.{2 * i}.bias"], padding=1
    )
    if i <= CONVS:
      y = functional.prelu(y, w[f"body.{2 * i + 1}.weight"])
  y = functional.pixel_shuffle(y, 2)
  y = y + functional.interpolate(given, scale_factor=2, mode="nearest")
  made = jax.jit(net.apply)({"params": params}, 2 * x - 1)
  # Sums in another order.
  np.testing.assert_allclose(
    (np.asarray(made) + 1) / 2, y.numpy().transpose(0, 2, 3, 1), atol=1e-5
  )


def test_other_weights_are_refused() -> None:
  good = {k.removeprefix("params."): v for k, v in published().items()}
  kernel = np.zeros((5, 5, 3, 3), np.float32)
  for weights, sentence in (
    ({k: v for k, v in good.items() if k != "body.3.weight"}, "is missing"),
    ({k: v for k, v in good.items() if k != "body.6.weight"}, "6 layers"),
    (good | {"extra": kernel}, "extra belongs to no layer"),
    (good | {"body.2.weight": kernel}, "has the shape"),
    (good | {"body.6.weight": kernel}, "5 at the end"),
  ):
    with pytest.raises(ValueError, match=sentence):
      compact.from_published(weights)
