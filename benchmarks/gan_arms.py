"""One arm of `gan_step.py`: python gan_arms.py MODEL ours|torch SIZE BATCH.

Answers "step" lines with the step's wall and processor seconds, as JSON. Both
arms have the same shapes of weights and the same mathematics; draws differ, so
their losses are not compared here: `tests/tasks/test_gan_golden.py` and
`test_stylegan2.py` do that. Moderate widths, no labels, no augmentation.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable

import numpy as np

WIDTHS = {4: 128, 8: 128, 16: 96, 32: 64, 64: 32, 128: 16}
LATENT, STYLE, GAMMA, R1_EVERY, PATH_EVERY = 64, 128, 1.0, 16, 4


def widths_of(size: int) -> tuple[int, ...]:
  """Channels from 4x4 upwards."""
  return tuple(w for side, w in WIDTHS.items() if side <= size)


def ours(model: str, size: int, batch: int) -> Callable[[], float]:
  """Our step, compiled; returns the discriminator's loss."""
  import jax

  from chibijax.core.types import spec_of
  from chibijax.models import stylegan2 as networks
  from chibijax.tasks import gan
  from configs import r3gan, stylegan2

  if model == "r3gan":
    config = r3gan.get_config("quick")
    config.model.update(widths=widths_of(size), latent=LATENT)
  else:
    config = stylegan2.get_config("quick")
    config.model.update(latent=LATENT, style=STYLE, depth=8)
    config.augment.name = "none"
    networks.channels = lambda size, **_: widths_of(size)
  config.data.update(size=size, batch_size=batch)
  config.loss.r1 = GAMMA
  task = gan.build(config)
  draws = np.random.default_rng(0)
  pictures = draws.integers(0, 256, (batch, size, size, 3), np.uint8)
  given = {"image": jax.numpy.asarray(pictures)}
  key = jax.random.key(0)
  state = jax.jit(lambda k: task.init(k, spec_of(given)))(key)
  compiled = jax.jit(task.train_step, donate_argnums=0)
  compiled = compiled.lower(state, given, key).compile()
  held = [state, 0]

  def step() -> float:
    held[0], metrics = compiled(
      held[0], given, jax.random.fold_in(key, held[1])
    )
    held[1] += 1
    jax.block_until_ready(held[0])
    return float(metrics["loss/discriminator"])

  return step


def torch_arm(model: str, size: int, batch: int) -> Callable[[], float]:
  """PyTorch's step, eager, channels last."""
  import torch
  from torch.nn import functional

  torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
  torch.manual_seed(0)
  widths = widths_of(size)
  make, judge, shapes = (r3gan_torch if model == "r3gan" else style_torch)(
    widths, torch, functional
  )
  nets = [
    {
      k: torch.nn.Parameter(torch.randn(s) * scale)
      for k, (s, scale) in x.items()
    }
    for x in shapes
  ]
  gen, disc = nets
  adam = [torch.optim.Adam(n.values(), 1e-3, (0.0, 0.99)) for n in nets]
  real = torch.rand(batch, 3, size, size) * 2 - 1
  state = {"step": 0, "mean": torch.zeros(())}

  def descend(which: int, loss: torch.Tensor) -> None:
    adam[which].zero_grad(set_to_none=True)
    loss.backward(inputs=list(nets[which].values()))
    adam[which].step()

  def slope(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.detach().requires_grad_()
    scores = judge(disc, x)
    (found,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return scores, 0.5 * found.square().sum((1, 2, 3)).mean()

  def r3gan_step() -> float:
    with torch.no_grad():
      fake = make(gen, torch.randn(batch, LATENT))
    (good, r1), (bad, r2) = slope(real), slope(fake)
    loss = functional.softplus(bad - good).mean()
    descend(1, loss + GAMMA * (r1 + r2))
    fake = make(gen, torch.randn(batch, LATENT))
    with torch.no_grad():
      good = judge(disc, real)
    descend(0, functional.softplus(good - judge(disc, fake)).mean())
    return float(loss.detach())

  def style_step() -> float:
    with torch.no_grad():
      fake, _ = make(gen, torch.randn(2, batch, LATENT))
    loss = functional.softplus(-judge(disc, real)).mean()
    loss = loss + functional.softplus(judge(disc, fake)).mean()
    descend(1, loss)
    fake, _ = make(gen, torch.randn(2, batch, LATENT))
    descend(0, functional.softplus(-judge(disc, fake)).mean())
    if state["step"] % R1_EVERY == 0:
      descend(1, GAMMA * R1_EVERY * slope(real)[1])
    if state["step"] % PATH_EVERY == 0:
      fake, styles = make(gen, torch.randn(2, batch // 2, LATENT))
      way = torch.randn_like(fake) / size
      (back,) = torch.autograd.grad(
        (fake * way).sum(), styles, create_graph=True
      )
      lengths = back.square().sum(2).mean(1).sqrt()
      state["mean"] = state["mean"].lerp(lengths.detach().mean(), 0.01)
      descend(0, 2.0 * PATH_EVERY * (lengths - state["mean"]).square().mean())
    state["step"] += 1
    return float(loss.detach())

  return r3gan_step if model == "r3gan" else style_step


def r3gan_torch(widths, torch, functional):
  """R3GAN's generator, discriminator and shapes, as in `models.r3gan`."""

  def blur(x, pads, gain):
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 3, 3)
    return lambda stride: functional.conv2d(
      functional.pad(x, pads), kernel, stride=stride, groups=x.shape[1]
    )

  def block(p, name, x):
    y = functional.conv2d(x, p[f"{name}/a"])
    y = functional.leaky_relu(y + p[f"{name}/b0"].view(1, -1, 1, 1), 0.2)
    y = functional.conv2d(y, p[f"{name}/k"], padding=1)
    y = functional.leaky_relu(y + p[f"{name}/b1"].view(1, -1, 1, 1), 0.2)
    return x + functional.conv2d(y, p[f"{name}/c"])

  def make(p, z):
    x = p["basis"][None] * (z @ p["mix"])[:, :, None, None]
    for i in range(len(widths)):
      if i:
        if f"t{i}" in p:
          x = functional.conv2d(x, p[f"t{i}"])
        b, c, h, w = x.shape
        spread = x.new_zeros(b, c, 2 * h, 2 * w)
        spread[:, :, ::2, ::2] = x
        x = blur(spread, (2, 0, 2, 0), 4.0)(1)
      x = block(p, str(i), x)
    return functional.conv2d(x, p["rgb"])

  def judge(p, x):
    x = functional.conv2d(x, p["rgb"])
    for i in reversed(range(len(widths))):
      if i < len(widths) - 1:
        x = blur(x, (1, 0, 1, 0), 1.0)(2)
        if f"t{i}" in p:
          x = functional.conv2d(x, p[f"t{i}"])
      x = block(p, str(i), x)
    return (x * p["basis"][None]).sum((2, 3)) @ p["head"]

  def blocks():
    found = {}
    for i, w in enumerate(widths):
      found[f"{i}/a"] = ((w, w, 1, 1), 0.8 / math.sqrt(w))
      found[f"{i}/k"] = ((w, w, 3, 3), 0.8 / math.sqrt(9 * w))
      found[f"{i}/c"] = ((w, w, 1, 1), 0.0)
      found |= {f"{i}/b0": ((w,), 0.0), f"{i}/b1": ((w,), 0.0)}
    return found

  gen, disc = blocks(), blocks()
  first, last = widths[0], widths[-1]
  gen |= {"basis": ((first, 4, 4), 1.0), "rgb": ((3, last, 1, 1), 0.2)}
  gen["mix"] = ((LATENT, first), 1 / math.sqrt(LATENT))
  disc |= {"basis": ((first, 4, 4), 0.25), "rgb": ((last, 3, 1, 1), 0.6)}
  disc["head"] = ((first,), 1 / math.sqrt(first))
  for i in range(1, len(widths)):
    a, b = widths[i - 1], widths[i]
    if a != b:
      gen[f"t{i}"] = ((b, a, 1, 1), 1 / math.sqrt(a))
      disc[f"t{i - 1}"] = ((a, b, 1, 1), 1 / math.sqrt(b))
  return make, judge, (gen, disc)


def style_torch(widths, torch, functional):
  """StyleGAN2's networks, modulated by scaling inputs and outputs."""
  layers = 2 * len(widths)

  def act(x, bias):
    x = x + bias.view(1, -1, *[1] * (x.ndim - 2))
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)

  def blur(x, pads, gain, stride=1):
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)
    x = functional.pad(x, pads)
    return functional.conv2d(x, kernel, stride=stride, groups=x.shape[1])

  def upsample(x):
    b, c, h, w = x.shape
    spread = x.new_zeros(b, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = x
    return blur(spread, (2, 1, 2, 1), 4.0)

  def scaled(kernel):
    return kernel / math.sqrt(kernel[0].numel())

  def modulated(p, name, x, w, up=False, demod=True):
    styles = w @ (p[f"{name}/s"] / math.sqrt(STYLE)) + 1 + p[f"{name}/sb"]
    kernel = scaled(p[f"{name}/k"])
    y = x * styles[:, :, None, None]
    if up:
      y = functional.conv_transpose2d(y, kernel.transpose(0, 1), stride=2)
      y = blur(y, (1, 1, 1, 1), 4.0)
    else:
      y = functional.conv2d(y, kernel, padding=kernel.shape[2] // 2)
    if demod:
      norm = styles.square() @ kernel.square().sum((2, 3)).T
      y = y * torch.rsqrt(norm + 1e-8)[:, :, None, None]
    return y

  def mapping(p, z):
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
    for i in range(8):
      kernel = p[f"m{i}"]
      z = act(z @ (kernel * 0.01 / math.sqrt(len(kernel))), p[f"mb{i}"] * 0.01)
    return z

  def make(p, z):
    w, other = (mapping(p, x)[:, None].expand(-1, layers, -1) for x in z)
    start = torch.randint(1, layers, (len(w), 1, 1))
    styles = torch.where(torch.arange(layers)[None, :, None] < start, w, other)
    x = p["constant"].expand(len(w), -1, -1, -1)
    image, place = None, 0
    for i in range(len(widths)):
      for up in (True, False) if i else (False,):
        x = modulated(p, f"c{place}", x, styles[:, place], up)
        x = x + torch.randn_like(x[:, :1]) * p[f"c{place}/n"]
        x = act(x, p[f"c{place}/b"])
        place += 1
      rgb = modulated(p, f"r{i}", x, styles[:, place], demod=False)
      rgb = rgb + p[f"r{i}/b"].view(1, -1, 1, 1)
      image = rgb if image is None else upsample(image) + rgb
    return image, styles

  def judge(p, x):
    x = act(functional.conv2d(x, scaled(p["rgb"])), p["rgb/b"])
    for i in range(len(widths) - 1, 0, -1):
      y = functional.conv2d(x, scaled(p[f"a{i}"]), padding=1)
      y = blur(act(y, p[f"a{i}/b"]), (2, 2, 2, 2), 1.0)
      y = functional.conv2d(y, scaled(p[f"b{i}"]), stride=2)
      skip = blur(x, (1, 1, 1, 1), 1.0, 2)
      skip = functional.conv2d(skip, scaled(p[f"s{i}"]))
      x = (skip + act(y, p[f"b{i}/b"])) / math.sqrt(2)
    group = x.reshape(-1, math.gcd(4, len(x)), x[0].numel())
    spread = (group.var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    spread = spread.repeat_interleave(group.shape[1]).view(-1, 1, 1, 1)
    x = torch.cat([x, spread.expand(-1, 1, *x.shape[2:])], 1)
    x = act(functional.conv2d(x, scaled(p["last"]), padding=1), p["last/b"])
    x = x.flatten(1)
    x = act(x @ (p["dense"] / math.sqrt(x.shape[1])), p["dense/b"])
    return x @ (p["head"] / math.sqrt(len(p["head"]))) + p["head/b"]

  gen, disc = {"constant": ((1, widths[0], 4, 4), 1.0)}, {}
  for i in range(8):
    gen[f"m{i}"] = ((STYLE if i else LATENT, STYLE), 100.0)
    gen[f"mb{i}"] = ((STYLE,), 0.0)
  place, before = 0, widths[0]
  for i, w in enumerate(widths):
    sizes = [(f"c{place + j}", before if j == 0 else w, w, 3) for j in (0, 1)]
    sizes = sizes if i else sizes[:1]
    place, before = place + len(sizes), w
    for name, a, b, k in [*sizes, (f"r{i}", w, 3, 1)]:
      gen[f"{name}/k"], gen[f"{name}/b"] = ((b, a, k, k), 1.0), ((b,), 0.0)
      gen[f"{name}/s"], gen[f"{name}/sb"] = ((STYLE, a), 1.0), ((a,), 0.0)
      if k == 3:
        gen[f"{name}/n"] = ((1,), 0.0)
    if i:
      a = widths[i - 1]
      disc |= {f"a{i}": ((w, w, 3, 3), 1.0), f"a{i}/b": ((w,), 0.0)}
      disc |= {f"b{i}": ((a, w, 3, 3), 1.0), f"b{i}/b": ((a,), 0.0)}
      disc[f"s{i}"] = ((a, w, 1, 1), 1.0)
  first, last = widths[0], widths[-1]
  disc |= {"rgb": ((last, 3, 1, 1), 1.0), "rgb/b": ((last,), 0.0)}
  disc |= {"last": ((first, first + 1, 3, 3), 1.0), "last/b": ((first,), 0.0)}
  disc |= {"dense": ((16 * first, first), 1.0), "dense/b": ((first,), 0.0)}
  disc |= {"head": ((first,), 1.0), "head/b": ((1,), 0.0)}
  return make, judge, (gen, disc)


def main() -> None:
  """Builds the arm and answers."""
  model, arm, size, batch = sys.argv[1:5]
  began = time.perf_counter()
  step = (ours if arm == "ours" else torch_arm)(model, int(size), int(batch))
  loss = step()
  print(
    json.dumps({"start_s": time.perf_counter() - began, "loss": loss}),
    flush=True,
  )
  for line in sys.stdin:
    if line.strip() == "quit":
      print(json.dumps({}), flush=True)
      return
    wall, cpu = time.perf_counter(), time.process_time()
    loss = step()
    answer = {
      "wall_s": time.perf_counter() - wall,
      "cpu_s": time.process_time() - cpu,
    }
    assert math.isfinite(loss), loss
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
  main()
