"""Makes the GAN goldens with PyTorch.

    /path/to/python/with/torch tests/golden/make_gan.py

Writes `gan_r3gan.npz` and `gan_wgan_gp.npz` beside this file: one whole step,
critic and then generator, by plain gradient descent of rate RATE, so that the
change of a weight is its gradient. The tests read them and never import torch.
Parameters are kept as our networks have them: kernels HWIO, under their names.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
BATCH, LATENT, RATE, GAMMA, LAMBDA = 3, 5, 0.01, 0.7, 10.0
# R3GAN: widths from 4x4 upwards, channels of a group.
WIDTHS, GROUP = (6, 4), 4
# DCGAN's networks at 16 pixels.
WIDTH, SIZE = 3, 16

Params = dict[str, torch.Tensor]


def conv(x: torch.Tensor, kernel: torch.Tensor, **options) -> torch.Tensor:
  return functional.conv2d(x, kernel.permute(3, 2, 0, 1), **options)


def linear(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
  return conv(x, kernel[None, None])


def leaky(x: torch.Tensor) -> torch.Tensor:
  return functional.leaky_relu(x, 0.2)


def binomial(channels: int) -> torch.Tensor:
  taps = torch.tensor([1.0, 2.0, 1.0]) / 4
  return torch.outer(taps, taps).expand(channels, 1, 3, 3)


def upsample(x: torch.Tensor) -> torch.Tensor:
  b, c, h, w = x.shape
  spread = x.new_zeros(b, c, 2 * h, 2 * w)
  spread[:, :, ::2, ::2] = x
  spread = functional.pad(spread, (2, 0, 2, 0))
  return functional.conv2d(spread, 4 * binomial(c), groups=c)


def downsample(x: torch.Tensor) -> torch.Tensor:
  x = functional.pad(x, (1, 0, 1, 0))
  c = x.shape[1]
  return functional.conv2d(x, binomial(c), groups=c, stride=2)


def block(x: torch.Tensor, p: Params, name: str) -> torch.Tensor:
  y = linear(x, p[f"{name}/linear_0/kernel"])
  y = leaky(y + p[f"{name}/bias_0"].view(1, -1, 1, 1))
  kernel = p[f"{name}/kernel"]
  y = conv(y, kernel, padding=1, groups=y.shape[1] // GROUP)
  y = leaky(y + p[f"{name}/bias_1"].view(1, -1, 1, 1))
  return x + linear(y, p[f"{name}/linear_1/kernel"])


def r3gan_generator(p: Params, z: torch.Tensor) -> torch.Tensor:
  basis = p["basis"].permute(2, 0, 1)[None]
  x = basis * (z @ p["mixing/kernel"])[:, :, None, None]
  x = block(x, p, "block_0_0")
  x = upsample(linear(x, p["transition_1/kernel"]))
  return linear(block(x, p, "block_1_0"), p["rgb/kernel"])


def r3gan_discriminator(p: Params, x: torch.Tensor) -> torch.Tensor:
  x = block(linear(x, p["rgb/kernel"]), p, "block_0_0")
  x = linear(downsample(x), p["transition_1/kernel"])
  x = block(x, p, "block_1_0")
  x = (x * p["basis"].permute(2, 0, 1)[None]).sum((2, 3))
  return (x @ p["head/kernel"])[:, 0]


def dcgan_generator(p: Params, z: torch.Tensor) -> torch.Tensor:
  # ConvTranspose2d keeps [in, out, h, w].
  x = functional.conv_transpose2d(
    z[:, :, None, None], p["stem"].permute(2, 3, 0, 1)
  )
  for i in range(2):
    scale, shift = p[f"norm_{i}/scale"], p[f"norm_{i}/bias"]
    x = functional.batch_norm(x, None, None, scale, shift, training=True)
    x = functional.conv_transpose2d(
      functional.relu(x), p[f"up_{i}"].permute(3, 2, 0, 1), stride=2, padding=1
    )
  return torch.tanh(x)


def dcgan_discriminator(p: Params, x: torch.Tensor) -> torch.Tensor:
  for i in range(2):
    x = leaky(conv(x, p[f"down_{i}"], stride=2, padding=1))
  return conv(x, p["head"])[:, 0, 0, 0]


def r3gan_shapes() -> tuple[dict, dict]:
  def blocks(widths: tuple[int, ...]) -> dict:
    shapes = {}
    for i, width in enumerate(widths):
      name, inside = f"block_{i}_0", 2 * width
      shapes[f"{name}/linear_0/kernel"] = (width, inside)
      shapes[f"{name}/bias_0"] = shapes[f"{name}/bias_1"] = (inside,)
      shapes[f"{name}/kernel"] = (3, 3, GROUP, inside)
      shapes[f"{name}/linear_1/kernel"] = (inside, width)
    return shapes

  low, high = WIDTHS
  gen = blocks(WIDTHS) | {
    "basis": (4, 4, low),
    "mixing/kernel": (LATENT, low),
    "transition_1/kernel": (low, high),
    "rgb/kernel": (high, 3),
  }
  disc = blocks(WIDTHS[::-1]) | {
    "basis": (4, 4, low),
    "head/kernel": (low, 1),
    "transition_1/kernel": (high, low),
    "rgb/kernel": (3, high),
  }
  return gen, disc


def dcgan_shapes() -> tuple[dict, dict]:
  w = WIDTH
  gen = {
    "stem": (4, 4, LATENT, 2 * w),
    "up_0": (4, 4, w, 2 * w),
    "up_1": (4, 4, 3, w),
  }
  for i, width in enumerate((2 * w, w)):
    gen[f"norm_{i}/scale"] = gen[f"norm_{i}/bias"] = (width,)
  disc = {
    "down_0": (4, 4, 3, w),
    "down_1": (4, 4, w, 2 * w),
    "head": (4, 4, 2 * w, 1),
  }
  return gen, disc


def slope(
  score: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
  """Scores and the squared norm of each one's gradient."""
  x = x.detach().requires_grad_(True)
  scores = score(x)
  (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
  return scores, gradient.square().sum((1, 2, 3))


def draw(rng: np.random.Generator, shapes: dict) -> Params:
  return {
    name: torch.tensor(rng.normal(0, 0.3, shape).astype(np.float32))
    .add(1.0 if name.endswith("scale") else 0.0)
    .requires_grad_(True)
    for name, shape in shapes.items()
  }


def descend(params: Params, loss: torch.Tensor) -> None:
  names = list(params)
  grads = torch.autograd.grad(loss, [params[n] for n in names])
  with torch.no_grad():
    for name, grad in zip(names, grads):
      params[name] -= RATE * grad


def make(name: str, seed: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  ours = name == "r3gan"
  size = 8 if ours else SIZE
  shapes = r3gan_shapes() if ours else dcgan_shapes()
  generator = r3gan_generator if ours else dcgan_generator
  discriminator = r3gan_discriminator if ours else dcgan_discriminator
  gen, disc = (draw(rng, s) for s in shapes)
  out = {
    "image": rng.integers(0, 256, (BATCH, size, size, 3)).astype(np.uint8),
    "z_disc": rng.normal(size=(BATCH, LATENT)).astype(np.float32),
    "z_gen": rng.normal(size=(BATCH, LATENT)).astype(np.float32),
    "share": rng.uniform(size=BATCH).astype(np.float32),
  }

  def keep(kind: str) -> None:
    for net, params in (("gen", gen), ("disc", disc)):
      for key, value in params.items():
        out[f"{kind}/{net}/{key}"] = value.detach().numpy().copy()

  keep("before")
  signed = out["image"].astype(np.float32) / 127.5 - 1
  real = torch.tensor(signed).permute(0, 3, 1, 2)
  fake = generator(gen, torch.tensor(out["z_disc"])).detach()

  def score(x: torch.Tensor) -> torch.Tensor:
    return discriminator(disc, x)

  if ours:
    (on_real, r1), (on_fake, r2) = slope(score, real), slope(score, fake)
    loss = functional.softplus(on_fake - on_real).mean()
    parts = [loss, r1.mean() / 2, r2.mean() / 2]
    total = loss + GAMMA * (parts[1] + parts[2])
  else:
    share = torch.tensor(out["share"]).view(-1, 1, 1, 1)
    _, squared = slope(score, share * real + (1 - share) * fake)
    loss = score(fake).mean() - score(real).mean()
    parts = [loss, (squared.sqrt() - 1).square().mean()]
    total = loss + LAMBDA * parts[1]
  descend(disc, total)
  fake = generator(gen, torch.tensor(out["z_gen"]))
  if ours:
    loss = functional.softplus(score(real) - score(fake)).mean()
  else:
    loss = -score(fake).mean()
  descend(gen, loss)
  keep("after")
  out["losses"] = np.array([x.item() for x in [loss, *parts]])
  return out


def main() -> None:
  for seed, name in enumerate(("r3gan", "wgan_gp")):
    path = FOLDER / f"gan_{name}.npz"
    np.savez_compressed(path, **make(name, seed))
    print(path, path.stat().st_size // 1024, "KiB")


if __name__ == "__main__":
  main()
