"""The arms of `cyclegan_step.py --model cut`: one process each.

Every arm makes the same full CUT step (Park et al. 2020: anti-aliased residual
generator with 9 blocks and patch discriminator, contrast of 256 patches at
five taps with the identity term, three Adam optimisers) from the same weights
on the same pictures; the first step's patches are the same, too. `ours` is
chibijax.tasks.translation_cut; `batched` runs one network's calls on photos
and chibis as one; `torch` is idiomatic eager PyTorch, whose networks are those
of `tests/golden/make_cut.py`. The protocol is that of `cyclegan_arms.py`.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import cyclegan_arms
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH, BLOCKS, FEATURES, PATCHES = 64, 9, 256, 256
NETS = ("gen_ab", "disc_b", "sampler")
Step = Callable[[], tuple[float, float]]


def names(net: str) -> list[str]:
  """A network's layers in order."""
  if net == "gen_ab":
    blocks = [f"block_{i}/conv_{j}" for i in range(BLOCKS) for j in range(2)]
    return ["stem", "down_0", "down_1", *blocks, "up_0", "up_1", "head"]
  if net == "disc_b":
    return [*[f"conv_{i}" for i in range(4)], "head"]
  return [f"mlp_{i}_{j}" for i in range(5) for j in range(2)]


def kernel(net: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
  """One layer's weights, HWIO or [I, O]; biases are zero."""
  rng = np.random.default_rng([NETS.index(net), index])
  return rng.normal(0, 0.02, shape).astype(np.float32)


def first_positions(size: int) -> list[list[np.ndarray]]:
  """The first step's patches, for photos and for chibis."""
  rng = np.random.default_rng(2)
  sides = (size + 6, size, size // 2, size // 4, size // 4)
  return [[rng.permutation(n * n)[:PATCHES] for n in sides] for _ in range(2)]


def make_jax(arm: str, size: int, batch: int, precision: str) -> Step:
  """Builds `ours` or `batched`."""
  import jax
  import jax.numpy as jnp

  from chibijax.core.types import spec_of
  from chibijax.ops import image
  from chibijax.tasks import translation
  from chibijax.tasks.translation_cut import Draws
  from configs import cut

  config = cut.get_config()
  config.precision = precision
  config.model.batch_calls = arm == "batched"
  task = translation.build(config)
  data = jax.device_put(cyclegan_arms.pictures(size, batch))
  state = task.init(jax.random.key(0), spec_of(data))
  params = jax.tree.map(np.zeros_like, state.params)
  for net in NETS:
    for index, name in enumerate(names(net)):
      node = params[net]
      for part in name.split("/"):
        node = node[part]
      node["kernel"] = kernel(net, index, node["kernel"].shape)
  state = state.replace(params=jax.device_put(params))
  photo, chibi = (
    tuple(jnp.asarray(x, jnp.int32) for x in positions)
    for positions in first_positions(size)
  )
  key = jax.random.key(1)
  draws = Draws(photo, chibi, jnp.asarray(False), key)
  signed = [image.to_float(data[f"image_{d}"]) for d in "ab"]
  _, metrics = jax.jit(task.update)(state, *signed, draws)
  first = [metrics["loss/generator"], metrics["loss/discriminator"]]
  step = jax.jit(task.train_step, donate_argnums=0)
  compiled = step.lower(state, data, key).compile()

  def run() -> tuple[float, float]:
    nonlocal state
    if first:
      return first.pop(0), first.pop(0)
    state, metrics = compiled(state, data, key)
    jax.block_until_ready(state)
    return metrics["loss/generator"], metrics["loss/discriminator"]

  return run


def make_torch(arm: str, size: int, batch: int, precision: str) -> Step:
  """Builds `torch`."""
  sys.path.insert(0, str(ROOT / "tests" / "golden"))
  import make_cut
  import torch
  from torch.nn import functional

  del arm
  make_cut.TAPS = (0, 4, 8, 12, 16)
  gen, disc = (
    make_cut.generator(WIDTH, BLOCKS),
    make_cut.discriminator(WIDTH, 3),
  )
  wide = [3, 2 * WIDTH, *[4 * WIDTH] * 3]
  sampler = make_cut.Sampler(wide, FEATURES)
  for net, module in zip(NETS, (gen, disc, sampler)):
    _fill(net, module)
  options = dict(lr=2e-4, betas=(0.5, 0.999), fused=True)
  opts = [
    torch.optim.Adam(m.parameters(), **options) for m in (gen, disc, sampler)
  ]
  a, b = (
    (torch.tensor(x).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
    for x in cyclegan_arms.pictures(size, batch).values()
  )
  given = first_positions(size)
  cast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

  def positions() -> list[Any]:
    if given:
      return given.pop(0)
    sides = (size + 6, size, size // 2, size // 4, size // 4)
    return [torch.randperm(n * n)[:PATCHES].numpy() for n in sides]

  def score(x: torch.Tensor, target: float) -> torch.Tensor:
    return functional.mse_loss(x.float(), torch.full_like(x, target).float())

  def contrast(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
      key = make_cut.encode(gen, real)
    return make_cut.nce(sampler, make_cut.encode(gen, fake), key, positions())

  def run() -> tuple[float, float]:
    with cast:
      fake, same = gen(torch.cat([a, b])).chunk(2)
      disc.requires_grad_(True)
      opts[1].zero_grad(set_to_none=True)
      judged = 0.5 * (score(disc(fake.detach()), 0.0) + score(disc(b), 1.0))
      judged.backward()
      opts[1].step()
      disc.requires_grad_(False)
      opts[0].zero_grad(set_to_none=True)
      opts[2].zero_grad(set_to_none=True)
      loss = score(disc(fake), 1.0)
      loss = loss + 0.5 * (contrast(a, fake) + contrast(b, same))
      loss.backward()
    opts[0].step()
    opts[2].step()
    return loss.item(), judged.item()

  return run


def _fill(net: str, module: Any) -> None:
  """Gives a PyTorch network our weights."""
  import torch
  from torch import nn

  kinds = (nn.Conv2d, nn.Linear)
  found = [m for m in module.modules() if isinstance(m, kinds)]
  with torch.no_grad():
    for index, (layer, _) in enumerate(zip(found, names(net), strict=True)):
      conv = isinstance(layer, nn.Conv2d)
      back, there = ((3, 2, 0, 1), (2, 3, 1, 0)) if conv else ((1, 0), (1, 0))
      shape = tuple(layer.weight.shape[i] for i in there)
      weight = torch.tensor(kernel(net, index, shape)).permute(*back)
      layer.weight.copy_(weight)
      layer.bias.zero_()


if __name__ == "__main__":
  cyclegan_arms.serve(make_jax, make_torch)
