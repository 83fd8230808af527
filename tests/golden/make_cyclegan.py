"""Makes the CycleGAN goldens with PyTorch.

    /path/to/python/with/torch tests/golden/make_cyclegan.py

Writes `cyclegan_layers.npz` and `cyclegan_step.npz` beside this file. The
tests read those and never import torch. Everything is seeded; made with torch
2.13 on a CPU. Pictures are stored NHWC and kernels HWIO, under the names that
our networks give their parameters.
"""

import itertools
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
# Not 32 pixels: jax 0.7 compiles a norm of 32x32x4 for ten seconds.
WIDTH, BLOCKS, SIZE, BATCH, STEPS, TOTAL = 4, 2, 40, 2, 3, 4


def to_nhwc(x: torch.Tensor) -> np.ndarray:
  return x.detach().permute(0, 2, 3, 1).contiguous().numpy()


def to_nchw(x: np.ndarray) -> torch.Tensor:
  return torch.tensor(x).permute(0, 3, 1, 2).contiguous()


def to_hwio(layer: nn.Module, weight: torch.Tensor) -> np.ndarray:
  # Conv2d keeps [out, in, h, w], ConvTranspose2d [in, out, h, w].
  order = (2, 3, 1, 0) if isinstance(layer, nn.Conv2d) else (2, 3, 0, 1)
  return weight.detach().permute(*order).contiguous().numpy()


class Residual(nn.Module):
  def __init__(self, width: int):
    super().__init__()
    self.body = nn.Sequential(
      nn.ReflectionPad2d(1),
      nn.Conv2d(width, width, 3),
      nn.InstanceNorm2d(width),
      nn.ReLU(),
      nn.ReflectionPad2d(1),
      nn.Conv2d(width, width, 3),
      nn.InstanceNorm2d(width),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return x + self.body(x)


def generator() -> nn.Sequential:
  w = WIDTH

  def after(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU()]

  def up(i: int, o: int) -> nn.Module:
    return nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)

  return nn.Sequential(
    nn.ReflectionPad2d(3),
    nn.Conv2d(3, w, 7),
    *after(w),
    nn.Conv2d(w, 2 * w, 3, stride=2, padding=1),
    *after(2 * w),
    nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1),
    *after(4 * w),
    *[Residual(4 * w) for _ in range(BLOCKS)],
    up(4 * w, 2 * w),
    *after(2 * w),
    up(2 * w, w),
    *after(w),
    nn.ReflectionPad2d(3),
    nn.Conv2d(w, 3, 7),
    nn.Tanh(),
  )


def discriminator() -> nn.Sequential:
  w = WIDTH
  layers = [nn.Conv2d(3, w, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
  for i, o, stride in ((w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)):
    layers += [
      nn.Conv2d(i, o, 4, stride=stride, padding=1),
      nn.InstanceNorm2d(o),
      nn.LeakyReLU(0.2),
    ]
  return nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, padding=1))


NAMES = {
  "gen": [
    "stem",
    "down_0",
    "down_1",
    *[f"block_{i}/conv_{j}" for i in range(BLOCKS) for j in range(2)],
    "up_0",
    "up_1",
    "head",
  ],
  "disc": ["conv_0", "conv_1", "conv_2", "conv_3", "head"],
}


def convolutions(net: nn.Module) -> list[nn.Module]:
  kinds = (nn.Conv2d, nn.ConvTranspose2d)
  return [m for m in net.modules() if isinstance(m, kinds)]


def draw(net: nn.Module) -> None:
  # Larger than the recipe's 0.02, so that every layer matters at this width,
  # and biases that are not zero, so that the inert ones are seen to be inert.
  for layer in convolutions(net):
    nn.init.normal_(layer.weight, 0.0, 0.1)
    nn.init.normal_(layer.bias, 0.0, 0.1)


def flat(net: nn.Module, kind: str, gradient: bool = False) -> dict:
  out = {}
  for name, layer in zip(NAMES[kind], convolutions(net), strict=True):
    weight = layer.weight.grad if gradient else layer.weight
    bias = layer.bias.grad if gradient else layer.bias
    out[f"{name}/kernel"] = to_hwio(layer, weight)
    out[f"{name}/bias"] = bias.detach().numpy().copy()
  return out


def make_layers(rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Single layers, forward and the gradients of sum(y * cotangent)."""
  cases = {
    "conv_stride": ((2, 9, 8, 3), nn.Conv2d(3, 5, 3, stride=2, padding=1)),
    "conv_patch": ((2, 8, 10, 3), nn.Conv2d(3, 4, 4, stride=1, padding=1)),
    "conv_transpose": (
      (2, 5, 6, 4),
      nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    ),
    "conv_reflect": (
      (2, 8, 9, 3),
      nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7)),
    ),
    "instance_norm": ((2, 6, 7, 3), nn.InstanceNorm2d(3)),
  }
  out = {}
  for case, (shape, net) in cases.items():
    x = rng.normal(0.3, 2.0, shape).astype(np.float32)
    draw(net)
    t = to_nchw(x).requires_grad_(True)
    y = net(t)
    cotangent = rng.normal(size=to_nhwc(y).shape).astype(np.float32)
    y.backward(to_nchw(cotangent))
    out |= {
      f"{case}/x": x,
      f"{case}/y": to_nhwc(y),
      f"{case}/dy": cotangent,
      f"{case}/dx": to_nhwc(t.grad),
    }
    for layer in convolutions(net):
      out |= {
        f"{case}/kernel": to_hwio(layer, layer.weight),
        f"{case}/bias": layer.bias.detach().numpy().copy(),
        f"{case}/dkernel": to_hwio(layer, layer.weight.grad),
        f"{case}/dbias": layer.bias.grad.numpy().copy(),
      }
  return out


def make_step(rng: np.random.Generator) -> dict[str, np.ndarray]:
  """A few whole steps; the pool is still filling, so it hands fakes through."""
  nets = {
    "gen_ab": generator(),
    "gen_ba": generator(),
    "disc_a": discriminator(),
    "disc_b": discriminator(),
  }
  kind = {name: name.split("_")[0] for name in nets}
  out = {}
  for name, net in nets.items():
    draw(net)
    for key, value in flat(net, kind[name]).items():
      out[f"params/{name}/{key}"] = value
  shape = (STEPS, BATCH, SIZE, SIZE, 3)
  for domain in "ab":
    # Smooth pictures with some noise; uint8 as batches are.
    coarse = rng.uniform(0, 255, (STEPS, BATCH, 5, 5, 3)).repeat(8, 2)
    noisy = coarse.repeat(8, 3) + rng.normal(0, 20, shape)
    out[f"image_{domain}"] = np.clip(noisy, 0, 255).astype(np.uint8)

  gab, gba, da, db = nets.values()
  options = dict(lr=2e-4, betas=(0.5, 0.999), eps=1e-8)
  gen_opt = torch.optim.Adam(
    itertools.chain(gab.parameters(), gba.parameters()), **options
  )
  disc_opt = torch.optim.Adam(
    itertools.chain(da.parameters(), db.parameters()), **options
  )

  def rate(step: int) -> float:  # constant, then linear to 0 at TOTAL
    return min(1.0, (TOTAL - step) / (TOTAL / 2))

  schedules = [
    torch.optim.lr_scheduler.LambdaLR(o, rate) for o in (gen_opt, disc_opt)
  ]

  def score(scores: torch.Tensor, target: float) -> torch.Tensor:
    return functional.mse_loss(scores, torch.full_like(scores, target))

  losses = []
  for step in range(STEPS):
    a, b = (
      to_nchw(out[f"image_{d}"][step].astype(np.float32) / 127.5 - 1)
      for d in "ab"
    )
    fake_b, fake_a = gab(a), gba(b)
    back_a, back_b = gba(fake_b), gab(fake_a)
    fooled = score(db(fake_b), 1.0) + score(da(fake_a), 1.0)
    l1 = functional.l1_loss
    cycle = l1(back_a, a) + l1(back_b, b)
    same = l1(gba(a), a) + l1(gab(b), b)
    loss = fooled + 10 * cycle + 5 * same
    gen_opt.zero_grad()
    loss.backward()
    if step == 0:
      out["fake_a"], out["fake_b"] = to_nhwc(fake_a), to_nhwc(fake_b)
      out["score_a"] = to_nhwc(da(fake_a))
      for name in ("gen_ab", "gen_ba"):
        for key, value in flat(nets[name], "gen", True).items():
          out[f"grads/{name}/{key}"] = value
    gen_opt.step()
    disc_opt.zero_grad()
    judged = sum(
      0.5 * (score(d(real), 1.0) + score(d(fake.detach()), 0.0))
      for d, real, fake in ((da, a, fake_a), (db, b, fake_b))
    )
    judged.backward()
    if step == 0:
      for name in ("disc_a", "disc_b"):
        for key, value in flat(nets[name], "disc", True).items():
          out[f"grads/{name}/{key}"] = value
    disc_opt.step()
    for schedule in schedules:
      schedule.step()
    losses.append([x.item() for x in (loss, fooled, cycle, same, judged)])
  out["losses"] = np.array(losses)
  return out


def main() -> None:
  torch.manual_seed(0)
  rng = np.random.default_rng(0)
  for name, make in (("layers", make_layers), ("step", make_step)):
    path = FOLDER / f"cyclegan_{name}.npz"
    np.savez_compressed(path, **make(rng))
    print(path, path.stat().st_size // 1024, "KiB")


if __name__ == "__main__":
  main()
