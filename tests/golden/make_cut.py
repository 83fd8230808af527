"""Makes the CUT golden with PyTorch.

    /path/to/python/with/torch tests/golden/make_cut.py

Writes `cut_step.npz` beside this file: weights, given patch positions, two
steps' losses and the first step's gradients of CUT, and the first losses of
FastCUT with its pictures mirrored. The tests read it and never import torch.
Everything is seeded; made with torch 2.13 on a CPU. Pictures are stored NHWC
and kernels HWIO, under the names that our networks give their parameters.
"""

import pathlib

import numpy as np
import torch
from make_cyclegan import Residual, to_hwio, to_nchw, to_nhwc
from make_pix2pix import pictures
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
WIDTH, BLOCKS, LAYERS, FEATURES, PATCHES = 4, 1, 2, 8, 12
SIZE, STEPS, TEMPERATURE = 40, 2, 0.07
# Of the generator's layers below: what the recipe calls 0, 4, 8 and 12.
TAPS = (0, 4, 8, 12)


def binomial(*taps: float) -> torch.Tensor:
  taps = torch.tensor(taps)
  kernel = taps[:, None] * taps[None, :]
  return kernel / kernel.sum()


class Down(nn.Module):
  """[1, 2, 1], reflection padding, stride 2."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    kernel = binomial(1.0, 2.0, 1.0).expand(x.shape[1], 1, 3, 3)
    x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(x, kernel, stride=2, groups=x.shape[1])


class Up(nn.Module):
  """[1, 3, 3, 1], replication padding, a transposed convolution."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    kernel = 4 * binomial(1.0, 3.0, 3.0, 1.0).expand(x.shape[1], 1, 4, 4)
    x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    x = functional.conv_transpose2d(
      x, kernel, stride=2, padding=2, groups=x.shape[1]
    )
    return x[:, :, 1:-1, 1:-1]


def after(channels: int) -> list[nn.Module]:
  return [nn.InstanceNorm2d(channels), nn.ReLU()]


def generator(w: int = WIDTH, blocks: int = BLOCKS) -> nn.Sequential:
  layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), *after(w)]
  for c in (w, 2 * w):
    layers += [nn.Conv2d(c, 2 * c, 3, padding=1), *after(2 * c), Down()]
  layers += [Residual(4 * w) for _ in range(blocks)]
  for c in (4 * w, 2 * w):
    layers += [Up(), nn.Conv2d(c, c // 2, 3, padding=1), *after(c // 2)]
  head = [nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()]
  return nn.Sequential(*layers, *head)


def discriminator(w: int = WIDTH, count: int = LAYERS) -> nn.Sequential:
  layers = [nn.Conv2d(3, w, 4, padding=1), nn.LeakyReLU(0.2), Down()]
  for i in range(1, count + 1):
    layers += [
      nn.Conv2d(w * 2 ** (i - 1), w * 2**i, 4, padding=1),
      nn.InstanceNorm2d(w * 2**i),
      nn.LeakyReLU(0.2),
      *([Down()] if i < count else []),
    ]
  return nn.Sequential(*layers, nn.Conv2d(w * 2**count, 1, 4, padding=1))


class Sampler(nn.Module):
  def __init__(self, channels: list[int], features: int = FEATURES):
    super().__init__()
    self.mlps = nn.ModuleList(
      nn.Sequential(
        nn.Linear(c, features), nn.ReLU(), nn.Linear(features, features)
      )
      for c in channels
    )

  def forward(
    self, maps: list[torch.Tensor], positions: list[np.ndarray]
  ) -> list[torch.Tensor]:
    out = []
    for mlp, x, where in zip(self.mlps, maps, positions, strict=True):
      x = mlp(x.flatten(2).permute(0, 2, 1)[:, torch.tensor(where)])
      out.append(x / (x.pow(2).sum(-1, keepdim=True).sqrt() + 1e-7))
    return out


def encode(gen: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
  found = []
  for i, layer in enumerate(gen[: max(TAPS) + 1]):
    x = layer(x)
    if i in TAPS:
      found.append(x)
  return found


def nce(sampler: Sampler, query: list, key: list, positions: list):
  parts = []
  q = sampler(query, positions)
  k = [x.detach() for x in sampler(key, positions)]
  for x, y in zip(q, k):
    size = x.shape[1]
    same = (x * y).sum(-1, keepdim=True)
    other = torch.bmm(x, y.transpose(1, 2))
    # As the authors do: the patch itself is no negative.
    other = other.masked_fill(torch.eye(size, dtype=torch.bool), -10.0)
    logits = torch.cat([same, other], -1).flatten(0, 1) / TEMPERATURE
    target = torch.zeros(len(logits), dtype=torch.long)
    parts.append(functional.cross_entropy(logits, target))
  return sum(parts) / len(parts)


NAMES = {
  "gen_ab": [
    "stem", "down_0", "down_1",
    *[f"block_{i}/conv_{j}" for i in range(BLOCKS) for j in range(2)],
    "up_0", "up_1", "head",
  ],
  "disc_b": [*[f"conv_{i}" for i in range(LAYERS + 1)], "head"],
  "sampler": [f"mlp_{i}_{j}" for i in range(len(TAPS)) for j in range(2)],
}  # fmt: skip


def flat(net: nn.Module, kind: str, gradient: bool = False) -> dict:
  kinds = (nn.Conv2d, nn.Linear)
  layers = [m for m in net.modules() if isinstance(m, kinds)]
  out = {}
  for name, layer in zip(NAMES[kind], layers, strict=True):
    weight = layer.weight.grad if gradient else layer.weight
    bias = layer.bias.grad if gradient else layer.bias
    dense = isinstance(layer, nn.Linear)
    kernel = weight.detach().T.numpy() if dense else to_hwio(layer, weight)
    out[f"{kind}/{name}/kernel"] = kernel.copy()
    out[f"{kind}/{name}/bias"] = bias.detach().numpy().copy()
  return out


def losses_of(
  nets: dict, a: torch.Tensor, b: torch.Tensor, where: dict, fast: bool
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
  """The generator's loss, its parts, and the discriminator's."""
  gen, disc, sampler = nets.values()
  l2 = functional.mse_loss

  def flip(x: torch.Tensor) -> torch.Tensor:
    return x.flip(3) if fast else x

  fake = gen(flip(a))
  real, made = disc(b), disc(fake.detach())
  judged = 0.5 * (
    l2(real, torch.ones_like(real)) + l2(made, torch.zeros_like(made))
  )

  def rest() -> tuple[torch.Tensor, list[torch.Tensor]]:
    score = disc(fake)
    fooled = l2(score, torch.ones_like(score))
    again = [flip(x) for x in encode(gen, fake)]
    parts = [nce(sampler, again, encode(gen, a), where["photo"])]
    if fast:
      return fooled + 10 * parts[0], [fooled, *parts]
    same = gen(b)
    again = encode(gen, same)
    parts.append(nce(sampler, again, encode(gen, b), where["chibi"]))
    return fooled + (parts[0] + parts[1]) / 2, [fooled, *parts]

  return judged, rest, fake


def main() -> None:
  torch.manual_seed(1)
  rng = np.random.default_rng(1)
  w = WIDTH
  nets = {
    "gen_ab": generator(),
    "disc_b": discriminator(),
    "sampler": Sampler([3, 2 * w, 4 * w, 4 * w]),
  }
  out = {}
  for name, net in nets.items():
    for value in net.parameters():
      nn.init.normal_(value, 0.0, 0.5 if name == "sampler" else 0.1)
    out |= {f"params/{k}": v for k, v in flat(net, name).items()}
  out |= {f"image_{d}": pictures(rng, STEPS, SIZE) for d in "ab"}
  sides = (SIZE + 6, SIZE, SIZE // 2, SIZE // 4)
  where = {
    kind: [rng.permutation(n * n)[:PATCHES] for n in sides]
    for kind in ("photo", "chibi")
  }
  for kind, lists in where.items():
    out |= {f"positions/{kind}/{i}": x for i, x in enumerate(lists)}
  x = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
  out["blur/x"] = x
  for name, layer in (("down", Down()), ("up", Up())):
    t = to_nchw(x).requires_grad_(True)
    y = layer(t)
    cotangent = rng.normal(size=to_nhwc(y).shape).astype(np.float32)
    y.backward(to_nchw(cotangent))
    out[f"blur/{name}/y"], out[f"blur/{name}/dy"] = to_nhwc(y), cotangent
    out[f"blur/{name}/dx"] = to_nhwc(t.grad)

  options = dict(lr=2e-4, betas=(0.5, 0.999), eps=1e-8)
  opts = {
    k: torch.optim.Adam(net.parameters(), **options) for k, net in nets.items()
  }
  rows = []
  for step in range(STEPS):
    a, b = (
      to_nchw(out[f"image_{d}"][step].astype(np.float32) / 127.5 - 1)
      for d in "ab"
    )
    if step == 0:
      with torch.no_grad():
        judged, rest, _ = losses_of(nets, a, b, where, fast=True)
        loss, parts = rest()
        out["fast"] = np.array([x.item() for x in (loss, *parts, judged)])
    judged, rest, fake = losses_of(nets, a, b, where, fast=False)
    opts["disc_b"].zero_grad()
    judged.backward()
    if step == 0:
      grads = flat(nets["disc_b"], "disc_b", True)
      out |= {f"grads/{k}": v for k, v in grads.items()}
      out["fake"] = to_nhwc(fake)
    opts["disc_b"].step()
    loss, parts = rest()
    for name in ("gen_ab", "sampler"):
      opts[name].zero_grad()
    loss.backward()
    for name in ("gen_ab", "sampler"):
      if step == 0:
        grads = flat(nets[name], name, True)
        out |= {f"grads/{k}": v for k, v in grads.items()}
      opts[name].step()
    rows.append([x.item() for x in (loss, *parts, judged)])
  out["losses"] = np.array(rows)
  path = FOLDER / "cut_step.npz"
  np.savez_compressed(path, **out)
  print(path, path.stat().st_size // 1024, "KiB")
  full = (
    generator(64, 9),
    discriminator(64, 3),
    Sampler([3, 128, 256, 256, 256], 256),
  )
  for net in full:
    print(sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
  main()
