"""The arms of `cyclegan_step.py`: one process each, stepping on command.

Every arm makes the same full CycleGAN step (Zhu et al. 2017: residual
generators with 9 blocks, 70x70 patch discriminators, cycle and identity
losses, pool of 50, Adam) from the same weights on the same pictures:

* `ours`: chibijax.tasks.translation; `batched` runs one network's calls on
  several batches as one; `rewrites` is `ours` without native kernels.
* `naive`: JAX as one would first write it: explicit padding, VALID
  convolutions, `flax.linen.ConvTranspose`, automatic gradients.
* `torch`: idiomatic eager PyTorch; `compiled`: channels_last and
  `torch.compile` (for GPUs).

Protocol: a line of JSON when ready, then one for each line read.
"""

import itertools
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

WIDTH, BLOCKS, POOL, CYCLE, IDENTITY = 64, 9, 50, 10.0, 5.0
NETS = ("gen_ab", "gen_ba", "disc_a", "disc_b")
# A step returns the generators' and the discriminators' loss.
Step = Callable[[], tuple[float, float]]


def layers(net: str) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
  """Names and kernel shapes (HWIO) of a network's layers, in order."""
  w = WIDTH
  if net.startswith("gen"):
    yield "stem", (7, 7, 3, w)
    yield "down_0", (3, 3, w, 2 * w)
    yield "down_1", (3, 3, 2 * w, 4 * w)
    for i, j in itertools.product(range(BLOCKS), range(2)):
      yield f"block_{i}/conv_{j}", (3, 3, 4 * w, 4 * w)
    yield "up_0", (3, 3, 4 * w, 2 * w)
    yield "up_1", (3, 3, 2 * w, w)
    yield "head", (7, 7, w, 3)
  else:
    for i in range(4):
      yield f"conv_{i}", (4, 4, 3 if i == 0 else w * 2 ** (i - 1), w * 2**i)
    yield "head", (4, 4, 8 * w, 1)


def kernel(net: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
  """One layer's weights, the same in every arm; biases are zero."""
  rng = np.random.default_rng([NETS.index(net), index])
  return rng.normal(0, 0.02, shape).astype(np.float32)


def pictures(size: int, batch: int) -> dict[str, np.ndarray]:
  """Two batches of smooth noise, uint8."""
  rng = np.random.default_rng(0)
  out = {}
  for name in ("image_a", "image_b"):
    coarse = rng.integers(0, 256, (batch, size // 8, size // 8, 3))
    out[name] = coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8)
  return out


def make_jax(arm: str, size: int, batch: int, precision: str) -> Step:
  """Builds `ours`, `batched`, `rewrites` or `naive`."""
  if arm == "rewrites":
    os.environ["CHIBIJAX_NATIVE"] = "0"
  import jax

  from chibijax.core.types import spec_of
  from chibijax.tasks import translation
  from configs import cyclegan

  if arm == "naive":
    _make_layers_naive()
  config = cyclegan.get_config()
  config.precision = precision
  config.model.batch_calls = arm == "batched"
  task = translation.build(config)
  data = jax.device_put(pictures(size, batch))
  state = task.init(jax.random.key(0), spec_of(data))
  params = {}
  for net in NETS:
    params[net] = jax.tree.map(np.zeros_like, state.params[net])
    for index, (name, shape) in enumerate(layers(net)):
      node = params[net]
      for part in name.split("/"):
        node = node[part]
      assert node["kernel"].shape == shape, (net, name)
      node["kernel"] = kernel(net, index, shape)
  state = state.replace(params=jax.device_put(params))

  key = jax.random.key(1)
  step = jax.jit(task.train_step, donate_argnums=0)
  compiled = step.lower(state, data, key).compile()

  def run() -> tuple[float, float]:
    nonlocal state
    state, metrics = compiled(state, data, key)
    jax.block_until_ready(state)
    return metrics["loss/generator"], metrics["loss/discriminator"]

  return run


def _make_layers_naive() -> None:
  """Replaces our operations by what one would write first."""
  import flax.linen as nn
  import jax.numpy as jnp
  from jax import lax

  from chibijax.ops import convolution, normalization

  numbers = ("NHWC", "HWIO", "NHWC")

  def conv(x, kernel, *, stride=1, padding=0, reflect=False):
    pads = ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))
    x = jnp.pad(x, pads, mode="reflect" if reflect else "constant")
    return lax.conv_general_dilated(
      x, kernel, (stride,) * 2, "VALID", dimension_numbers=numbers
    )

  def conv_transpose(x, kernel):
    layer = nn.ConvTranspose(
      kernel.shape[-1],
      (3, 3),
      strides=(2, 2),
      padding=((1, 2), (1, 2)),
      use_bias=False,
    )
    # Flax does not turn the kernel round, PyTorch and the definition do.
    return layer.apply({"params": {"kernel": kernel[::-1, ::-1]}}, x)

  def instance_norm(x, *, eps=1e-5):
    y = x.astype(jnp.float32)
    mean, variance = y.mean((1, 2), keepdims=True), y.var((1, 2), keepdims=True)
    return ((y - mean) * lax.rsqrt(variance + eps)).astype(x.dtype)

  convolution.conv = conv
  convolution.conv_transpose = conv_transpose
  normalization.instance_norm = instance_norm


def _torch_net(net: str) -> Any:
  """Builds a network of `torch.nn` layers with our weights."""
  import torch
  from torch import nn

  w = WIDTH

  class Residual(nn.Module):
    def __init__(self) -> None:
      super().__init__()
      body = []
      for act in (nn.ReLU(True), nn.Identity()):
        body += [nn.ReflectionPad2d(1), nn.Conv2d(4 * w, 4 * w, 3)]
        body += [nn.InstanceNorm2d(4 * w), act]
      self.body = nn.Sequential(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
      return x + self.body(x)

  def norm(channels: int, act: nn.Module) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), act]

  if net.startswith("gen"):
    modules = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7)]
    modules += norm(w, nn.ReLU(True))
    for i in (w, 2 * w):
      modules += [nn.Conv2d(i, 2 * i, 3, 2, 1), *norm(2 * i, nn.ReLU(True))]
    modules += [Residual() for _ in range(BLOCKS)]
    for i in (4 * w, 2 * w):
      modules.append(nn.ConvTranspose2d(i, i // 2, 3, 2, 1, output_padding=1))
      modules += norm(i // 2, nn.ReLU(True))
    modules += [nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()]
  else:
    modules = [nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for i, stride in ((w, 2), (2 * w, 2), (4 * w, 1)):
      modules.append(nn.Conv2d(i, 2 * i, 4, stride, 1))
      modules += norm(2 * i, nn.LeakyReLU(0.2, True))
    modules.append(nn.Conv2d(8 * w, 1, 4, 1, 1))
  module = nn.Sequential(*modules)
  kinds = (nn.Conv2d, nn.ConvTranspose2d)
  found = [m for m in module.modules() if isinstance(m, kinds)]
  with torch.no_grad():
    for index, (layer, (_, shape)) in enumerate(zip(found, layers(net))):
      order = (3, 2, 0, 1) if isinstance(layer, nn.Conv2d) else (2, 3, 0, 1)
      weight = torch.tensor(kernel(net, index, shape)).permute(*order)
      layer.weight.copy_(weight)
      layer.bias.zero_()
  return module


class _Pool:
  """The reference's pool of 50 earlier fakes."""

  def __init__(self) -> None:
    self.images: list[Any] = []

  def __call__(self, batch: Any) -> Any:
    import torch

    shown = []
    for image in batch.detach():
      if len(self.images) < POOL:
        self.images.append(image.clone())
        shown.append(image)
      elif random.random() < 0.5:
        slot = random.randrange(POOL)
        shown.append(self.images[slot])
        self.images[slot] = image.clone()
      else:
        shown.append(image)
    return torch.stack(shown)


def make_torch(arm: str, size: int, batch: int, precision: str) -> Step:
  """Builds `torch` or `compiled`."""
  import torch
  from torch.nn import functional

  device = "cuda" if torch.cuda.is_available() else "cpu"
  layout = torch.channels_last if arm == "compiled" else torch.contiguous_format
  torch.backends.cudnn.benchmark = True
  torch.set_float32_matmul_precision("high")  # as JAX's default on GPUs
  nets = [_torch_net(n).to(device, memory_format=layout) for n in NETS]
  used = [torch.compile(n) for n in nets] if arm == "compiled" else nets
  gab, gba, da, db = used
  discriminators = [p for n in nets[2:] for p in n.parameters()]
  generators = [p for n in nets[:2] for p in n.parameters()]
  options = dict(lr=2e-4, betas=(0.5, 0.999), fused=True)
  gen_opt = torch.optim.Adam(generators, **options)
  disc_opt = torch.optim.Adam(discriminators, **options)
  pools = _Pool(), _Pool()
  a, b = (
    (torch.tensor(x).permute(0, 3, 1, 2).float() / 127.5 - 1)
    .contiguous(memory_format=layout)
    .to(device)
    for x in pictures(size, batch).values()
  )
  cast = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
  l1 = functional.l1_loss

  def apply(net: Any, x: torch.Tensor) -> torch.Tensor:
    with cast:
      return net(x).float()

  def score(x: torch.Tensor, target: float) -> torch.Tensor:
    return functional.mse_loss(x, torch.full_like(x, target))

  def run() -> tuple[float, float]:
    for p in discriminators:
      p.requires_grad_(False)
    fake_b, fake_a = apply(gab, a), apply(gba, b)
    cycle = l1(apply(gba, fake_b), a) + l1(apply(gab, fake_a), b)
    same = l1(apply(gba, a), a) + l1(apply(gab, b), b)
    fooled = score(apply(da, fake_a), 1.0) + score(apply(db, fake_b), 1.0)
    gen_loss = fooled + CYCLE * cycle + IDENTITY * same
    gen_opt.zero_grad(set_to_none=True)
    gen_loss.backward()
    gen_opt.step()
    for p in discriminators:
      p.requires_grad_(True)
    disc_opt.zero_grad(set_to_none=True)
    disc_loss = 0.0
    for net, real, fake, pool in (
      (da, a, fake_a, pools[0]),
      (db, b, fake_b, pools[1]),
    ):
      loss = score(apply(net, real), 1.0) + score(apply(net, pool(fake)), 0.0)
      (loss / 2).backward()
      disc_loss = disc_loss + loss.detach() / 2
    disc_opt.step()
    return gen_loss.item(), disc_loss.item()

  return run


def serve(jax_arm: Callable[..., Step], torch_arm: Callable[..., Step]) -> None:
  """Serves one arm: `cyclegan_arms.py ARM SIZE BATCH PRECISION`.

  Args:
    jax_arm: builds our arms.
    torch_arm: builds PyTorch's.
  """
  arm, size, batch, precision = sys.argv[1:]
  # Whatever prints to stdout must not disturb the protocol.
  answers = os.fdopen(os.dup(1), "w", buffering=1)
  os.dup2(2, 1)
  make = torch_arm if arm in ("torch", "compiled") else jax_arm
  start = time.perf_counter()
  step = make(arm, int(size), int(batch), precision)
  losses = [float(x) for x in step()]
  seconds = time.perf_counter() - start
  answers.write(json.dumps({"losses": losses, "start_s": seconds}) + "\n")
  for line in sys.stdin:
    if line.strip() == "quit":
      break
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answers.write(json.dumps({"wall_s": wall, "cpu_s": cpu}) + "\n")
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  answers.write(json.dumps({"peak_mib": peak, **_device_peak(arm)}) + "\n")


def _device_peak(arm: str) -> dict[str, float]:
  """Peak of the accelerator's memory, where there is one."""
  if arm in ("torch", "compiled"):
    import torch

    if not torch.cuda.is_available():
      return {}
    return {"device_peak_mib": torch.cuda.max_memory_allocated() / 2**20}
  import jax

  stats = jax.devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" not in stats:
    return {}
  return {"device_peak_mib": stats["peak_bytes_in_use"] / 2**20}


if __name__ == "__main__":
  serve(make_jax, make_torch)
