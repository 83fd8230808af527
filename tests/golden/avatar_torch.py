"""GAGAvatar's networks in PyTorch, compact, with the released names.

Written from the papers' equations and the released checkpoint's layout, for
`make_avatar.py` and the full-size comparison. NCHW; pictures in [0, 1].
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def bilinear(x: torch.Tensor, size: int, *, corners: bool) -> torch.Tensor:
  return functional.interpolate(
    x, (size, size), mode="bilinear", align_corners=corners
  )


def group(**layers: nn.Module) -> nn.Module:
  """A nameless module with these parts."""
  module = nn.Module()
  for name, layer in layers.items():
    module.add_module(name, layer)
  return module


class Scale(nn.Module):
  def __init__(self, width: int):
    super().__init__()
    self.gamma = nn.Parameter(torch.ones(width))


class Dino(nn.Module):
  """DINOv2; `forward` returns the normalised tokens after every block."""

  def __init__(self, width, depth, heads, grid, registers=0, patch=14):
    super().__init__()
    self.heads, self.registers, self.patch = heads, registers, patch
    self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
    self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
    self.mask_token = nn.Parameter(torch.zeros(1, width))
    if registers:
      self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
    self.patch_embed = group(proj=nn.Conv2d(3, width, patch, patch))
    self.blocks = nn.ModuleList(
      group(
        norm1=nn.LayerNorm(width, eps=1e-6),
        attn=group(
          qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)
        ),
        ls1=Scale(width),
        norm2=nn.LayerNorm(width, eps=1e-6),
        mlp=group(
          fc1=nn.Linear(width, 4 * width), fc2=nn.Linear(4 * width, width)
        ),
        ls2=Scale(width),
      )
      for _ in range(depth)
    )
    self.norm = nn.LayerNorm(width, eps=1e-6)

  def positions(self, rows: int, columns: int) -> torch.Tensor:
    side = math.isqrt(self.pos_embed.shape[1] - 1)
    if (rows, columns) == (side, side):
      return self.pos_embed
    patches = self.pos_embed[:, 1:].unflatten(1, (side, side))
    patches = patches.permute(0, 3, 1, 2)
    if self.registers:
      fitted = functional.interpolate(
        patches, (rows, columns), mode="bicubic", antialias=True
      )
    else:
      factors = ((rows + 0.1) / side, (columns + 0.1) / side)
      fitted = functional.interpolate(
        patches, scale_factor=factors, mode="bicubic"
      )
    fitted = fitted.flatten(2).transpose(1, 2)
    return torch.cat([self.pos_embed[:, :1], fitted], 1)

  def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
    rows, columns = (n // self.patch for n in x.shape[2:])
    x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
    x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
    x = x + self.positions(rows, columns)
    if self.registers:
      extra = self.register_tokens.expand(len(x), -1, -1)
      x = torch.cat([x[:, :1], extra, x[:, 1:]], 1)
    found = []
    for block in self.blocks:
      x = x + block.ls1.gamma * self.attend(block.attn, block.norm1(x))
      y = functional.gelu(block.mlp.fc1(block.norm2(x)))
      x = x + block.ls2.gamma * block.mlp.fc2(y)
      found.append(self.norm(x))
    return found

  def attend(self, layers: nn.Module, x: torch.Tensor) -> torch.Tensor:
    q, k, v = layers.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])
    y = torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v)
    return layers.proj(y.flatten(2))


def refine_unit(width: int) -> nn.Module:
  return group(
    conv1=nn.Conv2d(width, width, 3, padding=1),
    conv2=nn.Conv2d(width, width, 3, padding=1),
  )


def refine(unit: nn.Module, x: torch.Tensor) -> torch.Tensor:
  return x + unit.conv2(functional.relu(unit.conv1(functional.relu(x))))


class Base(nn.Module):
  """DINOv2 and the DPT head: features and the top left patch's token."""

  def __init__(self, dino: Dino, widths: tuple[int, ...], hidden: int):
    super().__init__()
    self.dino_model = dino
    width = dino.norm.normalized_shape[0]
    self.projects = nn.ModuleList(nn.Conv2d(width, w, 1) for w in widths)
    self.resize_layers = nn.ModuleList(
      [
        nn.ConvTranspose2d(widths[0], widths[0], 4, 4),
        nn.ConvTranspose2d(widths[1], widths[1], 2, 2),
        nn.Identity(),
        nn.Conv2d(widths[3], widths[3], 3, 2, 1),
      ]
    )
    self.layer_rn = nn.ModuleList(
      nn.Conv2d(w + 3, hidden, 3, padding=1, bias=False) for w in widths
    )
    self.refinenet = nn.ModuleList(
      group(
        out_conv=nn.Conv2d(hidden, hidden, 1),
        resConfUnit1=refine_unit(hidden),
        resConfUnit2=refine_unit(hidden),
      )
      for _ in range(4)
    )
    self.output_conv = nn.Conv2d(hidden, hidden, 3, padding=1)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = (x - mean) / std
    side = x.shape[-1] // 14
    first = 1 + self.dino_model.registers
    patches = [t[:, first:] for t in self.dino_model(x)[-4:]]
    maps = []
    for i, tokens in enumerate(patches):
      y = tokens.transpose(1, 2).unflatten(2, (side, side))
      y = self.resize_layers[i](self.projects[i](y))
      small = functional.interpolate(
        x, y.shape[2:], mode="bilinear", align_corners=False, antialias=True
      )
      maps.append(self.layer_rn[i](torch.cat([small, y], 1)))
    y = maps[3]
    for i, block in enumerate(self.refinenet):
      if i:
        y = y + refine(block.resConfUnit1, maps[3 - i])
      size = maps[2 - i].shape[-1] if i < 3 else 2 * y.shape[-1]
      y = bilinear(refine(block.resConfUnit2, y), size, corners=True)
      y = block.out_conv(y)
    return self.output_conv(y), patches[-1][:, 0]


def mlp(*sizes: int) -> nn.Sequential:
  layers = []
  for a, b in itertools.pairwise(sizes):
    layers += [nn.Linear(a, b), nn.ReLU()]
  return nn.Sequential(*layers[:-1])


class Linear(nn.Module):
  """The expression branch, with its quaternions normalised over vertices."""

  def __init__(self, inputs: int, width: int, heads: int):
    super().__init__()
    self.feature_layers = mlp(inputs, width, width, width, width)
    joined = width + 27
    self.color_layers = mlp(joined, heads, 32)
    self.opacity_layers = mlp(joined, heads, 1)
    self.scale_layers = mlp(joined, heads, 3)
    self.rotation_layers = mlp(joined, heads, 4)

  def forward(self, x, code) -> dict[str, torch.Tensor]:
    x = self.feature_layers(x)
    x = torch.cat([x, code[:, None].expand(-1, x.shape[1], -1)], -1)
    colors = self.color_layers(x)
    return {
      "colors": torch.cat([colors[..., :3].sigmoid(), colors[..., 3:]], -1),
      "opacities": self.opacity_layers(x)[..., 0].sigmoid(),
      "scales": 0.05 * self.scale_layers(x).sigmoid(),
      "quats": functional.normalize(self.rotation_layers(x), dim=1),
    }


class Convolutional(nn.Module):
  """One half of the lifting branch, with the sigmoid on three columns."""

  def __init__(self, inputs: int, hidden: int):
    super().__init__()
    widths, layers = (inputs + 27, hidden, hidden, hidden), []
    for a, b in itertools.pairwise(widths):
      layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
    self.gaussian_conv = nn.Sequential(*layers, nn.Conv2d(hidden, 41, 1))

  def forward(self, x, code) -> dict[str, torch.Tensor]:
    code = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
    y = self.gaussian_conv(torch.cat([x, code], 1)).permute(0, 2, 3, 1)
    left = (torch.arange(y.shape[2]) < 3).view(1, 1, -1, 1)
    colors = y[..., :32]
    made = {
      "colors": torch.where(left, colors.sigmoid(), colors),
      "opacities": y[..., 32].sigmoid(),
      "scales": 0.05 * y[..., 33:36].sigmoid(),
      "quats": functional.normalize(y[..., 36:40], dim=-1),
      "lift": y[..., 40].sigmoid(),
    }
    return {k: v.flatten(1, 2) for k, v in made.items()}


def lrelu(x: torch.Tensor) -> torch.Tensor:
  return functional.leaky_relu(x, 0.2)


def resized(x: torch.Tensor, factor: float) -> torch.Tensor:
  return bilinear(x, int(x.shape[-1] * factor), corners=False)


class Res(nn.Module):
  def __init__(self, a: int, b: int, factor: float):
    super().__init__()
    self.factor = factor
    self.conv1 = nn.Conv2d(a, a, 3, padding=1)
    self.conv2 = nn.Conv2d(a, b, 3, padding=1)
    self.skip = nn.Conv2d(a, b, 1, bias=False)

  def forward(self, x):
    y = lrelu(self.conv2(resized(lrelu(self.conv1(x)), self.factor)))
    return y + self.skip(resized(x, self.factor))


class Modulated(nn.Module):
  """Kernels scaled (and normalised) for each picture, one after another."""

  def __init__(self, a: int, b: int, size: int, style: int):
    super().__init__()
    self.modulation = nn.Linear(style, a)
    self.weight = nn.Parameter(torch.zeros(1, b, a, size, size))

  def forward(self, x, w, *, normalize: bool):
    found = []
    for picture, style in zip(x, self.modulation(w)):
      kernel = self.weight[0] * style.view(1, -1, 1, 1)
      if normalize:
        length = kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8
        kernel = kernel / length.sqrt()
      pad = kernel.shape[-1] // 2
      found.append(functional.conv2d(picture[None], kernel, padding=pad))
    return torch.cat(found)


class Styled(nn.Module):
  def __init__(self, a: int, b: int, style: int, *, colors: bool = False):
    super().__init__()
    self.colors = colors
    self.modulated_conv = Modulated(a, b, 1 if colors else 3, style)
    self.bias = nn.Parameter(torch.zeros(1, b, 1, 1))
    if not colors:
      self.weight = nn.Parameter(torch.zeros(1))

  def forward(self, x, w):
    y = self.modulated_conv(x, w, normalize=not self.colors)
    if self.colors:
      return y + self.bias
    # Without noise; its weight is one of the parameters all the same.
    return lrelu(y * math.sqrt(2) + self.bias)


class Constant(nn.Module):
  def __init__(self, width: int):
    super().__init__()
    self.weight = nn.Parameter(torch.zeros(1, width, 4, 4))


class Decoder(nn.Module):
  def __init__(self, widths: list[int], style: int, mapping: int):
    super().__init__()
    layers = [nn.Identity()]
    for _ in range(mapping):
      layers += [nn.Linear(style, style), nn.LeakyReLU(0.2)]
    self.style_mlp = nn.Sequential(*layers)
    self.constant_input = Constant(widths[0])
    self.style_conv1 = Styled(widths[0], widths[0], style)
    self.to_rgb1 = Styled(widths[0], 3, style, colors=True)
    self.style_convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
    for a, b in itertools.pairwise(widths):
      self.style_convs += [Styled(a, b, style), Styled(b, b, style)]
      self.to_rgbs.append(Styled(b, 3, style, colors=True))

  def forward(self, code, conditions):
    w = code * (code.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    w = self.style_mlp(w)
    x = self.constant_input.weight.expand(len(w), -1, -1, -1)
    x = self.style_conv1(x, w)
    y = self.to_rgb1(x, w)
    for i, (scale, shift) in enumerate(conditions):
      x = self.style_convs[2 * i](resized(x, 2), w)
      x = self.style_convs[2 * i + 1](x * scale + shift, w)
      y = resized(y, 2) + self.to_rgbs[i](x, w)
    return y


class Renderer(nn.Module):
  """GFPGAN's clean network, 32 channels to 3 in [0, 1]."""

  def __init__(self, size, capacity=8192, most=256, style=512, mapping=8):
    super().__init__()
    sides = [2**i for i in range(2, size.bit_length())]
    widths = [min(most, capacity // side) for side in sides]
    down = widths[::-1]
    self.conv_body_first = nn.Conv2d(32, down[0], 1)
    self.conv_body_down = nn.ModuleList(
      Res(a, b, 0.5) for a, b in itertools.pairwise(down)
    )
    self.final_conv = nn.Conv2d(widths[0], widths[0], 3, padding=1)
    self.final_linear = nn.Linear(16 * widths[0], style)
    self.conv_body_up = nn.ModuleList(
      Res(a, b, 2) for a, b in itertools.pairwise(widths)
    )
    self.toRGB = nn.ModuleList(nn.Conv2d(w, 3, 1) for w in widths[1:])
    self.condition_scale, self.condition_shift = (
      nn.ModuleList(
        nn.Sequential(
          nn.Conv2d(w, w, 3, padding=1),
          nn.LeakyReLU(0.2),
          nn.Conv2d(w, 2 * w, 3, padding=1),
        )
        for w in widths[1:]
      )
      for _ in range(2)
    )
    self.stylegan_decoder = Decoder([2 * w for w in widths], style, mapping)

  def forward(self, x):
    x, skips = lrelu(self.conv_body_first(x)), []
    for block in self.conv_body_down:
      x = block(x)
      skips.append(x)
    x = lrelu(self.final_conv(x))
    code, conditions = self.final_linear(x.flatten(1)), []
    for i, block in enumerate(self.conv_body_up):
      x = block(x + skips.pop())
      scales = self.condition_scale[i](x)
      conditions.append((scales, self.condition_shift[i](x)))
    return self.stylegan_decoder(code, conditions).sigmoid()


class Avatar(nn.Module):
  """All networks, named as in the released checkpoint."""

  def __init__(
    self, dino, *, vertices, widths, features, lifting, base, heads, renderer
  ):
    super().__init__()
    width = dino.norm.normalized_shape[0]
    self.base_model = Base(dino, widths, features)
    self.head_base = nn.Parameter(torch.zeros(vertices, base))
    self.gs_generator_g = Linear(base + width, base, heads)
    self.gs_generator_l0 = Convolutional(features, lifting)
    self.gs_generator_l1 = Convolutional(features, lifting)
    self.upsampler = renderer

  def expression(self, code: torch.Tensor, direction: torch.Tensor):
    base = self.head_base[None].expand(len(code), -1, -1)
    code = code[:, None].expand(-1, base.shape[1], -1)
    return self.gs_generator_g(torch.cat([base, code], -1), direction)

  def lift(self, features: torch.Tensor, direction: torch.Tensor):
    sides = [
      net(features, direction)
      for net in (self.gs_generator_l0, self.gs_generator_l1)
    ]
    return {k: torch.stack([s[k] for s in sides], 1) for k in sides[0]}


def randomize(module: nn.Module, rng: torch.Generator) -> None:
  """Draws all parameters, so that no layer's output vanishes or explodes.

  Values are rounded to float16, so that they can be stored so.
  """
  for name, p in module.named_parameters():
    noise = torch.randn(p.shape, generator=rng)
    if name.endswith(("gamma", "modulation.bias")) or (
      "norm" in name.split(".")[-2:][0] and name.endswith("weight")
    ):
      value = 1 + 0.1 * noise
    elif p.ndim < 2 or name.endswith("bias"):
      value = 0.1 * noise
    elif name.endswith(("_token", "_tokens", "pos_embed", "head_base")):
      value = noise
    elif "constant_input" in name:
      value = noise
    else:
      value = 1.2 * noise / math.sqrt(p[0].numel())
    if "conv_body" in name:
      # Residuals add up over fourteen blocks at the published size.
      value = 0.6 * value
    if "condition_" in name and ".2." in name:
      # The maps are scaled at each level: by about 1, or they explode.
      value = 0.2 * value + float(name.endswith("bias") and "scale" in name)
    p.data = value.half().float()
