"""Makes the pix2pix golden with PyTorch.

    /path/to/python/with/torch tests/golden/make_pix2pix.py

Writes `pix2pix_step.npz` beside this file: weights, two steps' losses and the
first step's gradients, dropout off. The tests read it and never import torch.
Everything is seeded; made with torch 2.13 on a CPU. Pictures are stored NHWC
and kernels HWIO, under the names that our networks give their parameters.
"""

import pathlib

import numpy as np
import torch
from make_cyclegan import to_hwio, to_nchw, to_nhwc
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
WIDTH, DEPTH, LAYERS, SIZE, BATCH, STEPS = 2, 5, 2, 32, 2, 2


class Unet(nn.Module):
  def __init__(self, width: int = WIDTH, depth: int = DEPTH):
    super().__init__()
    wide = [width * min(2**i, 8) for i in range(depth)]
    self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
    self.norm = nn.ModuleDict()
    for i, (a, b) in enumerate(zip([3, *wide], wide)):
      self.down[f"down_{i}"] = nn.Conv2d(a, b, 4, 2, 1, bias=False)
      if 0 < i < depth - 1:
        self.norm[f"down_norm_{i}"] = nn.BatchNorm2d(b)
    for i in range(depth - 1, 0, -1):
      a = wide[i] if i == depth - 1 else 2 * wide[i]
      self.up[f"up_{i}"] = nn.ConvTranspose2d(
        a, wide[i - 1], 4, 2, 1, bias=False
      )
      self.norm[f"up_norm_{i}"] = nn.BatchNorm2d(wide[i - 1])
    self.head = nn.ConvTranspose2d(2 * width, 3, 4, 2, 1)
    self.depth = depth

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(self.head(functional.relu(self.level(x, 0))))

  def level(self, x: torch.Tensor, i: int) -> torch.Tensor:
    y = self.down[f"down_{i}"](functional.leaky_relu(x, 0.2) if i else x)
    if 0 < i < self.depth - 1:
      y = self.norm[f"down_norm_{i}"](y)
    if i < self.depth - 1:
      y = self.level(y, i + 1)
    if i == 0:
      return y
    y = self.norm[f"up_norm_{i}"](self.up[f"up_{i}"](functional.relu(y)))
    return torch.cat([x, y], 1)

  def named_layers(self) -> dict[str, nn.Module]:
    return {**self.down, **self.up, **self.norm, "head": self.head}


class Discriminator(nn.Module):
  def __init__(self, width: int = WIDTH, layers: int = LAYERS):
    super().__init__()
    self.layers = nn.ModuleDict()
    channels = 6
    for i in range(layers + 1):
      out = width * min(2**i, 8)
      stride = 2 if i < layers else 1
      self.layers[f"conv_{i}"] = nn.Conv2d(
        channels, out, 4, stride, 1, bias=i == 0
      )
      if i:
        self.layers[f"norm_{i}"] = nn.BatchNorm2d(out)
      channels = out
    self.layers["head"] = nn.Conv2d(channels, 1, 4, 1, 1)

  def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    x, i = torch.cat([a, b], 1), 0
    while f"conv_{i}" in self.layers:
      x = self.layers[f"conv_{i}"](x)
      x = functional.leaky_relu(self.layers[f"norm_{i}"](x) if i else x, 0.2)
      i += 1
    return self.layers["head"](x)

  def named_layers(self) -> dict[str, nn.Module]:
    return dict(self.layers)


def draw(net: nn.Module) -> None:
  # Larger than the recipe's 0.02, so that every layer matters at this width.
  for name, value in net.named_parameters():
    nn.init.normal_(value, float("norm" in name and "weight" in name), 0.1)


def flat(net: nn.Module, gradient: bool = False) -> dict[str, np.ndarray]:
  out = {}
  for name, layer in net.named_layers().items():
    for kind, value in layer.named_parameters():
      value = value.grad if gradient else value
      if value.ndim == 4:
        out[f"{name}/kernel"] = to_hwio(layer, value)
      else:
        norm = isinstance(layer, nn.BatchNorm2d) and kind == "weight"
        title = "scale" if norm else "bias"
        out[f"{name}/{title}"] = value.detach().numpy().copy()
  return out


def pictures(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
  """Smooth pictures with some noise; uint8 as batches are."""
  cells = size // 8
  coarse = rng.uniform(0, 255, (steps, BATCH, cells, cells, 3))
  smooth = coarse.repeat(8, 2).repeat(8, 3)
  noisy = smooth + rng.normal(0, 20, smooth.shape)
  return np.clip(noisy, 0, 255).astype(np.uint8)


def main() -> None:
  torch.manual_seed(0)
  rng = np.random.default_rng(0)
  gen, disc = Unet(), Discriminator()
  out = {}
  for name, net in (("gen_ab", gen), ("disc_b", disc)):
    draw(net)
    out |= {f"params/{name}/{k}": v for k, v in flat(net).items()}
  out |= {f"image_{d}": pictures(rng, STEPS, SIZE) for d in "ab"}
  options = dict(lr=2e-4, betas=(0.5, 0.999), eps=1e-8)
  gen_opt = torch.optim.Adam(gen.parameters(), **options)
  disc_opt = torch.optim.Adam(disc.parameters(), **options)

  def score(scores: torch.Tensor, target: float) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(
      scores, torch.full_like(scores, target)
    )

  losses = []
  for step in range(STEPS):
    a, b = (
      to_nchw(out[f"image_{d}"][step].astype(np.float32) / 127.5 - 1)
      for d in "ab"
    )
    fake = gen(a)
    judged = 0.5 * (score(disc(a, fake.detach()), 0.0) + score(disc(a, b), 1.0))
    disc_opt.zero_grad()
    judged.backward()
    if step == 0:
      grads = {f"grads/disc_b/{k}": v for k, v in flat(disc, True).items()}
      out |= grads | {"fake": to_nhwc(fake)}
    disc_opt.step()
    fooled = score(disc(a, fake), 1.0)
    distance = functional.l1_loss(fake, b)
    loss = fooled + 100 * distance
    gen_opt.zero_grad()
    loss.backward()
    if step == 0:
      out |= {f"grads/gen_ab/{k}": v for k, v in flat(gen, True).items()}
    gen_opt.step()
    losses.append([x.item() for x in (loss, fooled, distance, judged)])
  out["losses"] = np.array(losses)
  path = FOLDER / "pix2pix_step.npz"
  np.savez_compressed(path, **out)
  print(path, path.stat().st_size // 1024, "KiB")
  for net in (Unet(64, 8), Discriminator(64, 3)):
    print(sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
  main()
