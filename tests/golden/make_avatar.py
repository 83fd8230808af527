"""Makes the avatar's golden with PyTorch.

    /path/to/python/with/torch tests/golden/make_avatar.py

Writes `avatar.npz` beside this file: the state dict of small networks, named as
in GAGAvatar's released checkpoint (`released`, one float16 vector, with names
and shapes as JSON in `released_names`), one of DINOv2 with registers likewise,
and what they give (`in/NAME`, `out/NAME`), NHWC. The tests read it and never
import torch. Everything is seeded; made with torch 2.13 on a CPU.

    ... tests/golden/make_avatar.py --full FOLDER

compares the published sizes instead, with random weights, through a checkpoint
written to FOLDER (0.7 GB), and prints the largest differences.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from avatar_torch import Avatar, Dino, Renderer, randomize

FOLDER = pathlib.Path(__file__).resolve().parent
# As in tests/models/test_avatar.py.
SIDE, PLANE, VERTICES, PATCHES = 16, 5, 7, 3


def small() -> Avatar:
  return Avatar(
    Dino(12, 4, 2, grid=2),
    vertices=VERTICES,
    widths=(4, 6, 8, 10),
    features=8,
    lifting=6,
    base=8,
    heads=5,
    renderer=Renderer(SIDE, capacity=64, most=8, style=12, mapping=2),
  )


def full() -> Avatar:
  return Avatar(
    Dino(768, 12, 12, grid=37),
    vertices=5023,
    widths=(256, 512, 1024, 1024),
    features=256,
    lifting=128,
    base=256,
    heads=128,
    renderer=Renderer(512),
  )


def nhwc(x: torch.Tensor) -> np.ndarray:
  x = x.detach()
  return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).contiguous().numpy()


def code_of(direction: torch.Tensor) -> torch.Tensor:
  angles = torch.stack([direction * 2.0**i for i in range(4)], -1).flatten(1)
  return torch.cat([angles.sin(), angles.cos(), direction], 1)


def run(
  net: Avatar, rng: torch.Generator, patches: int, plane: int, side: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Inputs and outputs of every part."""
  image = draw(rng, 1, 3, 14 * patches, 14 * patches)
  direction = torch.randn(1, 3, generator=rng)
  direction = direction / direction.norm(dim=1, keepdim=True)
  coarse = draw(rng, 1, 32, side, side)
  with torch.no_grad():
    features, first = net.base_model(image)
    code = code_of(direction)
    cut = features[..., :plane, :plane]
    lifted = net.lift(cut, code)
    moved = net.expression(first, code)
    fine = net.upsampler(coarse)
  inputs = {"image": nhwc(image), "coarse": nhwc(coarse)}
  inputs |= {"direction": direction.numpy(), "plane": nhwc(cut)}
  outputs = {"features": nhwc(features), "first": first.numpy()}
  outputs |= {"fine": nhwc(fine)}
  outputs |= {f"lifting/{k}": v.numpy() for k, v in lifted.items()}
  outputs |= {f"expression/{k}": v.numpy() for k, v in moved.items()}
  return inputs, outputs


def registers(rng: torch.Generator) -> dict[str, np.ndarray]:
  """A network with registers, its tokens for 6 x 5 positions made 3 x 4."""
  net = Dino(8, 2, 2, grid=6, registers=2, patch=2)
  randomize(net, rng)
  image = draw(rng, 2, 3, 6, 8)
  with torch.no_grad():
    tokens = net(image)
  out = packed("registers", net) | {"in/registers": nhwc(image)}
  for i, x in enumerate(tokens):
    out[f"out/registers/{i}"] = x.numpy()
  return out


def packed(name: str, net: torch.nn.Module) -> dict[str, np.ndarray]:
  """A state dict as one array; a file in the archive takes 250 bytes more."""
  state = net.state_dict()
  flat = torch.cat([v.flatten() for v in state.values()])
  shapes = json.dumps({k: list(v.shape) for k, v in state.items()})
  return {
    name: flat.half().numpy(),
    f"{name}_names": np.frombuffer(shapes.encode(), np.uint8),
  }


def draw(rng: torch.Generator, *shape: int) -> torch.Tensor:
  """Numbers in [0, 1) that float16 holds."""
  return torch.rand(shape, generator=rng).half().float()


def main() -> None:
  rng = torch.Generator().manual_seed(0)
  net = small()
  randomize(net, rng)
  inputs, outputs = run(net, rng, PATCHES, PLANE, SIDE)
  dino = net.base_model.dino_model
  image = draw(rng, 1, 3, 28, 42)
  with torch.no_grad():
    tokens = dino(image)
  inputs["oblong"] = nhwc(image)
  outputs |= {f"oblong/{i}": x.numpy() for i, x in enumerate(tokens)}
  found = packed("released", net)
  for k, v in inputs.items():
    kept = v if k in ("plane", "direction") else v.astype(np.float16)
    found[f"in/{k}"] = kept
  found |= {f"out/{k}": v for k, v in outputs.items()}
  path = FOLDER / "avatar.npz"
  np.savez_compressed(path, **found, **registers(rng))
  print(path, path.stat().st_size // 1024, "KiB")
  for name, x in outputs.items():
    print(name, x.shape, f"{x.mean():.3f} +- {x.std():.3f}")


def compare_full(folder: pathlib.Path) -> None:
  """Prints how far the published sizes are from PyTorch's."""
  import jax

  from chibijax.models import avatar, avatar_weights

  rng = torch.Generator().manual_seed(0)
  net = full()
  randomize(net, rng)
  path = folder / "random.pt"
  torch.save({"model": net.state_dict(), "meta_cfg": {"NAME": "x"}}, path)
  inputs, outputs = run(net, rng, 37, 296, 512)
  config, params = avatar_weights.load_released(path)
  nets = avatar.build(config, 5023)

  def apply(name: str, *args):
    return jax.jit(nets[name].apply)({"params": params[name]}, *args)

  code = avatar.direction_code(inputs["direction"])
  features, first = apply("encoder", inputs["image"])
  ours = {"features": features, "first": first}
  ours["fine"] = apply("renderer", inputs["coarse"])
  ours |= {
    f"lifting/{k}": v
    for k, v in apply("lifting", inputs["plane"], code).items()
  }
  ours |= {
    f"expression/{k}": v
    for k, v in apply("expression", outputs["first"], code).items()
  }
  for name, theirs in outputs.items():
    far = np.abs(np.asarray(ours[name]) - theirs)
    spread = theirs.std()
    print(
      f"{name} {theirs.shape} std {spread:.3g}: largest difference "
      f"{far.max():.2e}, relative to the std {far.max() / spread:.2e}, to the "
      f"largest {far.max() / np.abs(theirs).max():.2e}"
    )


if __name__ == "__main__":
  if sys.argv[1:2] == ["--full"]:
    compare_full(pathlib.Path(sys.argv[2]))
  else:
    main()
