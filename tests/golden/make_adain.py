"""Makes the AdaIN golden with PyTorch.

    /path/to/python/with/torch tests/golden/make_adain.py

Writes `adain_step.npz` beside this file: three training steps with a small
random encoder of two poolings. The test reads it and never imports torch.
Everything is seeded; made with torch 2.13 on a CPU. Pictures are stored NHWC
and kernels HWIO, under our names.
"""

import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent
SIZE, BATCH, STEPS, LR, DECAY = 32, 2, 3, 1e-3, 0.5
# Channels and convolutions of the encoder's blocks; the decoder mirrors them.
BLOCKS = ((6, 2), (8, 1), (10, 1))


def to_nhwc(x: torch.Tensor) -> np.ndarray:
  return x.detach().permute(0, 2, 3, 1).contiguous().numpy()


def to_nchw(x: np.ndarray) -> torch.Tensor:
  return torch.tensor(x).permute(0, 3, 1, 2).contiguous()


class Encoder(nn.Module):
  """Convolutions with zero padding, ReLU, maximum poolings between blocks."""

  def __init__(self):
    super().__init__()
    self.names, layers, before = [], [], 3
    for i, (width, count) in enumerate(BLOCKS, 1):
      for j in range(1, count + 1):
        layers.append(nn.Conv2d(before, width, 3, padding=1))
        self.names.append(f"relu{i}_{j}")
        before = width
    self.layers = nn.ModuleList(layers)

  def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in zip(self.names, self.layers, strict=True):
      if name.endswith("_1") and name != "relu1_1":
        x = functional.max_pool2d(x, 2)
      x = functional.relu(layer(x))
      found[name] = x
    return found


def decoder() -> tuple[nn.Sequential, list[str]]:
  layers, names = [], []
  before = BLOCKS[-1][0]
  for i in reversed(range(len(BLOCKS))):
    width, count = BLOCKS[i]
    leaving = BLOCKS[i - 1][0] if i else 3
    for j in range(count):
      after = width if j + 1 < count else leaving
      layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3)]
      names.append(f"block_{i}_conv_{j}")
      if i or j + 1 < count:
        layers.append(nn.ReLU())
      before = after
    if i:
      layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
  return nn.Sequential(*layers), names


def statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
  variance = x.var((2, 3), unbiased=False, keepdim=True)
  return x.mean((2, 3), keepdim=True), (variance + 1e-5).sqrt()


def adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
  mean, deviation = statistics(content)
  goal, wide = statistics(style)
  return (content - mean) / deviation * wide + goal


def main() -> None:
  torch.manual_seed(0)
  rng = np.random.default_rng(0)
  encoder, (net, names) = Encoder(), decoder()
  convolutions = [m for m in net if isinstance(m, nn.Conv2d)]
  out = {}
  groups = {
    "features": zip(encoder.names, encoder.layers, strict=True),
    "decoder": zip(names, convolutions, strict=True),
  }
  for kind, pairs in groups.items():
    for name, layer in pairs:
      fan_in = layer.weight[0].numel()
      nn.init.normal_(layer.weight, 0.0, (2 / fan_in) ** 0.5)
      nn.init.normal_(layer.bias, 0.0, 0.1)
      weight = layer.weight.detach().permute(2, 3, 1, 0).contiguous()
      out[f"{kind}/{name}/kernel"] = weight.numpy()
      out[f"{kind}/{name}/bias"] = layer.bias.detach().numpy().copy()
  encoder.requires_grad_(False)
  shape = (STEPS, BATCH, SIZE, SIZE, 3)
  for domain in "ab":
    coarse = rng.uniform(0, 255, (STEPS, BATCH, 8, 8, 3)).repeat(4, 2)
    noisy = coarse.repeat(4, 3) + rng.normal(0, 20, shape)
    out[f"image_{domain}"] = np.clip(noisy, 0, 255).astype(np.uint8)

  optimizer = torch.optim.Adam(net.parameters(), lr=LR)
  schedule = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda step: 1 / (1 + DECAY * step)
  )
  deepest, losses = encoder.names[-1], []
  style_layers = ("relu1_1", "relu2_1", "relu3_1")
  for step in range(STEPS):
    content, styles = (
      to_nchw(out[f"image_{d}"][step].astype(np.float32) / 127.5 - 1)
      for d in "ab"
    )
    goal = encoder(styles)
    mixed = adain(encoder(content)[deepest], goal[deepest])
    result = net(mixed)
    found = encoder(result)
    kept = functional.mse_loss(found[deepest], mixed)
    style = sum(
      functional.mse_loss(x, y)
      for name in style_layers
      for x, y in zip(statistics(found[name]), statistics(goal[name]))
    )
    loss = kept + 10 * style
    optimizer.zero_grad()
    loss.backward()
    if step == 0:
      out["output"] = to_nhwc(result)
      for name, layer in zip(names, convolutions, strict=True):
        grad = layer.weight.grad.permute(2, 3, 1, 0).contiguous()
        out[f"grads/{name}/kernel"] = grad.numpy().copy()
        out[f"grads/{name}/bias"] = layer.bias.grad.numpy().copy()
    optimizer.step()
    schedule.step()
    losses.append([x.item() for x in (loss, kept, style)])
  out["losses"] = np.array(losses)
  path = FOLDER / "adain_step.npz"
  np.savez_compressed(path, **out)
  print(path, path.stat().st_size // 1024, "KiB", losses)


if __name__ == "__main__":
  main()
