"""Makes the U-GAT-IT golden with PyTorch.

    /path/to/python/with/torch tests/golden/make_ugatit.py

Writes `ugatit_step.npz` beside this file: weights and spectral vectors, two
steps' losses, the first step's gradients and the last rhos of the light form,
and PyTorch's spectral norm of one convolution. The tests read it and never
import torch. Everything is seeded; made with torch 2.13 on a CPU. Pictures are
stored NHWC and kernels HWIO, under the names that our networks give them.

Two choices are not the authors' PyTorch code's: a discriminator's classifier
weighs its maps by its normalised weights, as their TensorFlow code does, and
real and generated pictures pass a discriminator in one call, so that the power
iterations advance once.
"""

import itertools
import pathlib

import numpy as np
import torch
from make_cyclegan import to_nchw, to_nhwc
from make_pix2pix import pictures
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
WIDTH, BLOCKS, LOCAL, GLOBAL = 2, 1, 1, 2
SIZE, STEPS, DECAY = 24, 2, 1e-4


def convolution(i: int, o: int, size: int, stride: int = 1, bias=False):
  return nn.Conv2d(
    i, o, size, stride, size // 2 if size != 4 else 1,
    bias=bias, padding_mode="reflect",
  )  # fmt: skip


class Cam(nn.Module):
  def __init__(self, channels: int, slope: float):
    super().__init__()
    self.gap = nn.Linear(channels, 1, bias=False)
    self.gmp = nn.Linear(channels, 1, bias=False)
    self.mix = nn.Conv2d(2 * channels, channels, 1)
    self.slope = slope

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = self.gap(x.mean((2, 3)))
    top = self.gmp(functional.adaptive_max_pool2d(x, 1).flatten(1))
    weights = (layer.weight.view(1, -1, 1, 1) for layer in (self.gap, self.gmp))
    x = self.mix(torch.cat([x * weight for weight in weights], 1))
    return functional.leaky_relu(x, self.slope), torch.cat([mean, top], 1)


class Blend(nn.Module):
  """AdaLIN, and ILN with parameters of its own."""

  def __init__(self, channels: int, own: bool):
    super().__init__()
    # Some at the borders, so that the clipping is seen.
    self.rho = nn.Parameter((2 * torch.rand(channels) - 0.5).clip(0, 1))
    if own:
      self.scale = nn.Parameter(1 + 0.2 * torch.randn(channels))
      self.bias = nn.Parameter(0.2 * torch.randn(channels))

  def forward(self, x: torch.Tensor, *style: torch.Tensor) -> torch.Tensor:
    def normal(axes: tuple[int, ...]) -> torch.Tensor:
      mean, var = x.mean(axes, keepdim=True), x.var(axes, keepdim=True)
      return (x - mean) / (var + 1e-5).sqrt()

    rho = self.rho.view(1, -1, 1, 1)
    x = rho * normal((2, 3)) + (1 - rho) * normal((1, 2, 3))
    scale, bias = style or (self.scale[None], self.bias[None])
    return x * scale[:, :, None, None] + bias[:, :, None, None]


class Residual(nn.Module):
  def __init__(self, channels: int, adaptive: bool):
    super().__init__()
    for i in range(2):
      self.add_module(f"conv_{i}", convolution(channels, channels, 3))
      norm = Blend(channels, False) if adaptive else None
      self.add_module(f"norm_{i}", norm or nn.InstanceNorm2d(channels))

  def forward(self, x: torch.Tensor, *style: torch.Tensor) -> torch.Tensor:
    y = self.norm_0(self.conv_0(x), *style).relu()
    return x + self.norm_1(self.conv_1(y), *style)


class Generator(nn.Module):
  def __init__(self, w: int = WIDTH, blocks: int = BLOCKS):
    super().__init__()
    c = 4 * w
    self.stem = convolution(3, w, 7)
    self.down_0 = convolution(w, 2 * w, 3, 2)
    self.down_1 = convolution(2 * w, c, 3, 2)
    self.blocks = blocks
    for i in range(blocks):
      self.add_module(f"block_{i}", Residual(c, False))
      self.add_module(f"adalin_{i}", Residual(c, True))
    self.cam = Cam(c, 0.0)
    for name in ("style_0", "style_1", "gamma", "beta"):
      self.add_module(name, nn.Linear(c, c, bias=False))
    self.up_0, self.norm_up_0 = convolution(c, 2 * w, 3), Blend(2 * w, True)
    self.up_1, self.norm_up_1 = convolution(2 * w, w, 3), Blend(w, True)
    self.head = convolution(w, 3, 7)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for layer in (self.stem, self.down_0, self.down_1):
      x = functional.instance_norm(layer(x)).relu()
    for i in range(self.blocks):
      x = self.get_submodule(f"block_{i}")(x)
    x, logits = self.cam(x)
    style = self.style_1(self.style_0(x.mean((2, 3))).relu()).relu()
    style = self.gamma(style), self.beta(style)
    for i in range(self.blocks):
      x = self.get_submodule(f"adalin_{i}")(x, *style)
    for layer, norm in (
      (self.up_0, self.norm_up_0),
      (self.up_1, self.norm_up_1),
    ):
      x = functional.interpolate(x, scale_factor=2, mode="nearest")
      x = norm(layer(x)).relu()
    return self.head(x).tanh(), logits


class Discriminator(nn.Module):
  def __init__(self, layers: int, w: int = WIDTH):
    super().__init__()
    self.layers = layers
    i = 3
    for n in range(layers + 1):
      stride = 2 if n < layers else 1
      conv = convolution(i, w * 2**n, 4, stride, bias=True)
      self.add_module(f"conv_{n}", conv)
      i = w * 2**n
    self.cam = Cam(i, 0.2)
    self.head = convolution(i, 1, 4)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for n in range(self.layers + 1):
      x = functional.leaky_relu(self.get_submodule(f"conv_{n}")(x), 0.2)
    x, logits = self.cam(x)
    return self.head(x), logits


class Pair(nn.Module):
  def __init__(self):
    super().__init__()
    self.add_module("local", Discriminator(LOCAL))
    self.add_module("global", Discriminator(GLOBAL))

  def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
    return [y for net in self.children() for y in net(x)]


def normalize(net: nn.Module) -> None:
  for name, layer in net.named_modules():
    if hasattr(layer, "weight") and not name.endswith("mix"):
      nn.utils.spectral_norm(layer)


def ours(name: str, value: torch.Tensor) -> tuple[str, np.ndarray]:
  """A parameter under our name and in our order of axes."""
  *path, kind = name.split(".")
  value = value.detach().clone()
  if kind.startswith("weight"):
    order = (2, 3, 1, 0) if value.ndim == 4 else tuple(range(value.ndim))[::-1]
    value = value.permute(order).contiguous()
    path += [] if path[-1] in ("gap", "gmp") else ["kernel"]
  else:
    path.append(kind)
  return "/".join(path), value.numpy()


def flat(net: nn.Module, gradient: bool = False) -> dict[str, np.ndarray]:
  return dict(
    ours(name, p.grad if gradient else p) for name, p in net.named_parameters()
  )


def vectors(net: nn.Module) -> dict[str, np.ndarray]:
  found = {}
  for name, value in net.named_buffers():
    if name.endswith("weight_u"):
      name, _ = ours(name, value)
      found[name] = value.numpy().copy()
  return found


def score(scores: torch.Tensor, target: float) -> torch.Tensor:
  return functional.mse_loss(scores, torch.full_like(scores, target))


def domain(logits: torch.Tensor, target: float) -> torch.Tensor:
  return functional.binary_cross_entropy_with_logits(
    logits, torch.full_like(logits, target)
  )


def judge(pair: nn.Module, real: torch.Tensor, fake: torch.Tensor):
  results = pair(torch.cat([real, fake.detach()]))
  halves = [y.split(len(real)) for y in results]
  return sum(score(t, 1.0) + score(f, 0.0) for t, f in halves)


def generators(nets: dict, a: torch.Tensor, b: torch.Tensor):
  gab, gba, da, db = nets.values()
  l1 = functional.l1_loss
  (fake_b, to_b), (fake_a, to_a) = gab(a), gba(b)
  (same_b, own_b), (same_a, own_a) = gab(b), gba(a)
  cycle = l1(gba(fake_b)[0], a) + l1(gab(fake_a)[0], b)
  same = l1(same_a, a) + l1(same_b, b)
  cam = domain(to_b, 1.0) + domain(own_b, 0.0)
  cam = cam + domain(to_a, 1.0) + domain(own_a, 0.0)
  fooled = sum(score(y, 1.0) for y in [*da(fake_a), *db(fake_b)])
  loss = fooled + 10 * cycle + 10 * same + 1000 * cam
  return loss, (fooled, cycle, same, cam)


def spectral(rng: np.random.Generator) -> dict[str, np.ndarray]:
  """PyTorch's spectral norm of a convolution, and its gradient."""
  layer = nn.utils.spectral_norm(nn.Conv2d(3, 5, 4, bias=False))
  out = {"kernel": ours("conv.weight", layer.weight_orig)[1]}
  out["vector"] = layer.weight_u.numpy().copy()
  layer(torch.zeros(1, 3, 4, 4))
  out["normal"] = ours("conv.weight", layer.weight)[1]
  out["next"] = layer.weight_u.numpy().copy()
  out["cotangent"] = rng.normal(size=out["kernel"].shape).astype(np.float32)
  given = torch.tensor(out["cotangent"]).permute(3, 2, 0, 1)
  (layer.weight * given).sum().backward()
  out["gradient"] = ours("conv.weight", layer.weight_orig.grad)[1]
  prefix = "spectral/"
  return {prefix + k.removeprefix("/"): v for k, v in out.items()}


def main() -> None:
  torch.set_num_threads(1)
  torch.manual_seed(2)
  rng = np.random.default_rng(2)
  nets = {"gen_ab": Generator(), "gen_ba": Generator()}
  nets |= {"disc_a": Pair(), "disc_b": Pair()}
  out = spectral(rng)
  for name, net in nets.items():
    for key, value in net.named_parameters():
      if "rho" not in key and "norm_up" not in key:
        # Dense layers wide enough to be seen through their ReLUs.
        dense = key.startswith(("style", "gamma", "beta"))
        nn.init.normal_(value, 0.0, 0.6 if dense else 0.15)
    if name.startswith("disc"):
      normalize(net)
      out |= {f"vectors/{name}/{k}": v for k, v in vectors(net).items()}
    out |= {f"params/{name}/{k}": v for k, v in flat(net).items()}
  out |= {f"image_{d}": pictures(rng, STEPS, SIZE) for d in "ab"}
  gab, gba, da, db = nets.values()
  options = dict(lr=1e-4, betas=(0.5, 0.999), eps=1e-8, weight_decay=DECAY)
  gen_opt, disc_opt = (
    torch.optim.Adam(
      itertools.chain(*(net.parameters() for net in pair)), **options
    )
    for pair in ((gab, gba), (da, db))
  )
  rows = []
  for step in range(STEPS):
    a, b = (
      to_nchw(out[f"image_{d}"][step].astype(np.float32) / 127.5 - 1)
      for d in "ab"
    )
    with torch.no_grad():
      fake_b, fake_a = gab(a)[0], gba(b)[0]
    judged = judge(da, a, fake_a) + judge(db, b, fake_b)
    disc_opt.zero_grad()
    judged.backward()
    if step == 0:
      out["fake_a"], out["fake_b"] = to_nhwc(fake_a), to_nhwc(fake_b)
      out["logits"] = gab(a)[1].detach().numpy()
      for name in ("disc_a", "disc_b"):
        grads = flat(nets[name], True)
        out |= {f"grads/{name}/{k}": v for k, v in grads.items()}
    disc_opt.step()
    loss, parts = generators(nets, a, b)
    gen_opt.zero_grad()
    loss.backward()
    if step == 0:
      for name in ("gen_ab", "gen_ba"):
        grads = flat(nets[name], True)
        out |= {f"grads/{name}/{k}": v for k, v in grads.items()}
    gen_opt.step()
    for name in ("gen_ab", "gen_ba"):
      for key, value in nets[name].named_parameters():
        if key.endswith("rho"):
          value.data.clamp_(0.0, 1.0)
          key, after = ours(key, value)
          out[f"rho/{name}/{key}"] = after
    rows.append([x.item() for x in (loss, *parts, judged)])
  out["losses"] = np.array(rows)
  path = FOLDER / "ugatit_step.npz"
  np.savez_compressed(path, **out)
  print(path, path.stat().st_size // 1024, "KiB")
  print(out["losses"])


if __name__ == "__main__":
  main()
