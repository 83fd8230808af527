"""Makes the golden of StyleGAN2 with PyTorch.

    /path/to/python/with/torch tests/golden/make_stylegan2.py

Writes `stylegan2.npz` beside this file: pictures, scores, losses (R1 and the
path length among them) and their gradients, from drawn weights. Convolutions
are modulated kernel by kernel, a group for each picture, unlike ours. The test
reads it and never imports torch. Parameters are kept as our networks have them:
kernels HWIO, under their names.
"""

import math
import pathlib

import numpy as np
import torch
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
BATCH, LATENT, STYLE, GROUP = 4, 5, 6, 2
WIDTHS = (6, 4)  # from 4x4 upwards: 8 pixels
GAMMA, PATH, MEAN, RATE = 0.7, 2.0, 0.3, 0.01

Params = dict[str, torch.Tensor]


def blur(x: torch.Tensor, pads: tuple[int, ...], gain: float) -> torch.Tensor:
  taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8
  kernel = gain * torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
  return functional.conv2d(functional.pad(x, pads), kernel, groups=x.shape[1])


def upsample(x: torch.Tensor) -> torch.Tensor:
  b, c, h, w = x.shape
  spread = x.new_zeros(b, c, 2 * h, 2 * w)
  spread[:, :, ::2, ::2] = x
  return blur(spread, (2, 1, 2, 1), 4.0)


def activate(x: torch.Tensor) -> torch.Tensor:
  return functional.leaky_relu(x, 0.2) * math.sqrt(2)


def dense(
  p: Params, name: str, x: torch.Tensor, rate: float = 1.0
) -> torch.Tensor:
  kernel = p[f"{name}/kernel"]
  gain = rate / math.sqrt(kernel.shape[0])
  return x @ (kernel * gain) + p[f"{name}/bias"] * rate


def modulated(
  p: Params, name: str, x: torch.Tensor, w: torch.Tensor, up: bool, demod: bool
) -> torch.Tensor:
  kernel = p[f"{name}/kernel"].permute(3, 2, 0, 1)  # OIHW
  kernel = kernel / math.sqrt(kernel[0].numel())
  styles = dense(p, f"{name}/style", w)
  each = kernel[None] * styles[:, None, :, None, None]
  if demod:
    norm = each.square().sum((2, 3, 4), keepdim=True)
    each = each * torch.rsqrt(norm + 1e-8)
  b, o, i, k, _ = each.shape
  joined = x.reshape(1, b * i, *x.shape[2:])
  if up:
    filters = each.transpose(1, 2).reshape(b * i, o, k, k)
    y = functional.conv_transpose2d(joined, filters, stride=2, groups=b)
    y = y.reshape(b, o, *y.shape[2:])
    return blur(y, (1, 1, 1, 1), 4.0)
  filters = each.reshape(b * o, i, k, k)
  y = functional.conv2d(joined, filters, padding=k // 2, groups=b)
  return y.reshape(b, o, *y.shape[2:])


def mapping(p: Params, z: torch.Tensor) -> torch.Tensor:
  z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
  return activate(dense(p, "mapping/dense_0", z, RATE))


def synthesis(p: Params, styles: torch.Tensor) -> torch.Tensor:
  x = p["synthesis/constant"].permute(0, 3, 1, 2).expand(BATCH, -1, -1, -1)
  image, place = None, 0
  for i in range(len(WIDTHS)):
    for up in (True, False) if i else (False,):
      name = f"synthesis/conv_{place}"
      x = modulated(p, name, x, styles[:, place], up, True)
      side = x.shape[2]
      noise = np.random.default_rng(place).standard_normal((side, side))
      noise = torch.from_numpy(noise.astype(np.float32)).to(x.dtype)
      x = x + noise * p[f"{name}/noise"]
      x = activate(x + p[f"{name}/bias"].view(1, -1, 1, 1))
      place += 1
    name = f"synthesis/rgb_{i}"
    rgb = modulated(p, name, x, styles[:, place], False, False)
    rgb = rgb + p[f"{name}/bias"].view(1, -1, 1, 1)
    image = rgb if image is None else upsample(image) + rgb
  return image


def conv(p: Params, name: str, x: torch.Tensor, down: bool) -> torch.Tensor:
  kernel = p[f"{name}/kernel"].permute(3, 2, 0, 1)
  kernel = kernel / math.sqrt(kernel[0].numel())
  side = kernel.shape[2]
  if down:
    pad = 1 + side // 2
    x = functional.conv2d(blur(x, (pad,) * 4, 1.0), kernel, stride=2)
  else:
    x = functional.conv2d(x, kernel, padding=side // 2)
  if f"{name}/bias" not in p:
    return x
  return activate(x + p[f"{name}/bias"].view(1, -1, 1, 1))


def discriminator(p: Params, image: torch.Tensor) -> torch.Tensor:
  x = conv(p, "rgb", image, False)
  y = conv(p, "conv_1_1", conv(p, "conv_1_0", x, False), True)
  x = (conv(p, "skip_1", x, True) + y) / math.sqrt(2)
  grouped = x.reshape(BATCH // GROUP, GROUP, -1)
  variance = (grouped - grouped.mean(1, keepdim=True)).square().mean(1)
  spread = (variance + 1e-8).sqrt().mean(1).repeat_interleave(GROUP)
  spread = spread.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
  x = conv(p, "conv_0", torch.cat([x, spread], 1), False)
  x = x.permute(0, 2, 3, 1).reshape(BATCH, -1)
  return dense(p, "head", activate(dense(p, "dense", x)))[:, 0]


def shapes() -> dict[str, tuple[int, ...]]:
  a, b = WIDTHS
  found = {"gen/mapping/dense_0/kernel": (LATENT, STYLE)}
  found |= {"gen/mapping/dense_0/bias": (STYLE,)}
  found |= {"gen/synthesis/constant": (1, 4, 4, a)}
  layers = {"conv_0": (3, a, a), "conv_1": (3, a, b), "conv_2": (3, b, b)}
  layers |= {"rgb_0": (1, a, 3), "rgb_1": (1, b, 3)}
  for name, (side, i, o) in layers.items():
    found[f"gen/synthesis/{name}/kernel"] = (side, side, i, o)
    found[f"gen/synthesis/{name}/bias"] = (o,)
    found[f"gen/synthesis/{name}/style/kernel"] = (STYLE, i)
    found[f"gen/synthesis/{name}/style/bias"] = (i,)
    if side == 3:
      found[f"gen/synthesis/{name}/noise"] = (1,)
  convs = {"rgb": (1, 3, b), "conv_1_0": (3, b, b), "conv_1_1": (3, b, a)}
  convs |= {"skip_1": (1, b, a), "conv_0": (3, a + 1, a)}
  for name, (side, i, o) in convs.items():
    found[f"disc/{name}/kernel"] = (side, side, i, o)
    if name != "skip_1":
      found[f"disc/{name}/bias"] = (o,)
  found |= {"disc/dense/kernel": (16 * a, a), "disc/dense/bias": (a,)}
  return found | {"disc/head/kernel": (a, 1), "disc/head/bias": (1,)}


def main() -> None:
  draws = np.random.default_rng(5)
  out = {}
  for name, shape in shapes().items():
    value = draws.normal(size=shape)
    if name.endswith(("bias", "noise")):
      value *= 0.3
    if name.endswith("style/bias"):
      value += 1.0
    if "mapping" in name:
      value /= RATE
    out[f"before/{name}"] = value.astype(np.float32)
  out["image"] = draws.integers(0, 256, (BATCH, 8, 8, 3), np.uint8)
  out["z"] = draws.normal(size=(BATCH, LATENT)).astype(np.float32)
  out["way"] = draws.normal(size=(BATCH, 8, 8, 3)).astype(np.float32)

  params = {
    net: {
      name.removeprefix(f"before/{net}/"): torch.tensor(
        value, dtype=torch.float64, requires_grad=True
      )
      for name, value in out.items()
      if name.startswith(f"before/{net}/")
    }
    for net in ("gen", "disc")
  }
  gen, disc = params["gen"], params["disc"]
  z, way = (torch.tensor(out[n], dtype=torch.float64) for n in ("z", "way"))
  real = torch.tensor(out["image"] / 127.5 - 1.0).permute(0, 3, 1, 2)
  real.requires_grad_()
  w = mapping(gen, z)
  styles = w[:, None].expand(-1, 2 * len(WIDTHS), -1) * 1.0
  fake = synthesis(gen, styles)
  out["fake"] = fake.detach().permute(0, 2, 3, 1).numpy().astype(np.float32)
  on_real = discriminator(disc, real)
  on_fake = discriminator(disc, fake.detach())
  out["scores"] = torch.stack([on_real, on_fake]).detach().numpy()

  (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
  r1 = 0.5 * slope.square().sum((1, 2, 3)).mean()
  judged = functional.softplus(-on_real).mean()
  judged = judged + functional.softplus(on_fake).mean()
  (way_back,) = torch.autograd.grad(
    (fake * way.permute(0, 3, 1, 2) / 8).sum(), styles, create_graph=True
  )
  lengths = way_back.square().sum(2).mean(1).sqrt()
  path = (lengths - MEAN).square().mean()
  fooled = functional.softplus(-discriminator(disc, fake)).mean()
  losses = [judged, r1, fooled, path]
  out["losses"] = np.array([float(x.detach()) for x in losses])
  for net, loss in (
    ("disc", judged + GAMMA * r1),
    ("gen", fooled + PATH * path),
  ):
    grads = torch.autograd.grad(
      loss, list(params[net].values()), retain_graph=True
    )
    for name, grad in zip(params[net], grads):
      out[f"grad/{net}/{name}"] = grad.numpy().astype(np.float32)
  np.savez_compressed(FOLDER / "stylegan2.npz", **out)


if __name__ == "__main__":
  main()
