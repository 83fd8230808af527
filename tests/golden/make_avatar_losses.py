"""Makes the golden of the Gaussian head's losses with PyTorch.

    /path/to/python/with/torch tests/golden/make_avatar_losses.py

Writes `avatar_losses.npz` beside this file: pictures, boxes, points, a random
convolution as the perceptual network, and the losses with their gradients. The
tests read it and never import torch. Seeded; made with torch 2.13 on a CPU.
"""

import pathlib

import numpy as np
import torch
from torch.nn import functional

SIDE, CROP, BATCH, VERTICES, POINTS = 20, 16, 2, 30, 700


def crop(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
  """Squares of 1.1 times the longer side, cut out by `grid_sample`."""
  middle = (boxes[:, :2] + boxes[:, 2:]) / 2
  half = 1.1 * (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
  theta = torch.zeros(len(boxes), 2, 3)
  for k in range(2):
    theta[:, k, k] = half / (SIDE / 2)
    theta[:, k, 2] = middle[:, k] / (SIDE / 2) - 1
  grid = functional.affine_grid(
    theta, (len(boxes), 3, CROP, CROP), align_corners=False
  )
  return functional.grid_sample(images, grid, align_corners=False)


def main() -> None:
  generator = torch.Generator().manual_seed(7)

  def rand(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator)

  coarse, fine, target = (rand(BATCH, 3, SIDE, SIDE) for _ in range(3))
  # The second reaches beyond the picture.
  boxes = torch.tensor([[3.0, 4.5, 14.0, 16.0], [9.0, 2.0, 20.0, 17.5]])
  vertices = rand(BATCH, VERTICES, 3) - 0.5
  points = rand(BATCH, POINTS, 3) - 0.5
  kernel = rand(4, 3, 3, 3) - 0.5
  for x in (coarse, fine, points):
    x.requires_grad_(True)

  def perceptual(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    a, b = (functional.conv2d(z, kernel).relu() for z in (x, y))
    return functional.l1_loss(a, b)

  cut = crop(target, boxes)
  crops = [crop(x, boxes) for x in (coarse, fine)]
  terms = {
    "l1": sum(functional.l1_loss(x, target) for x in (coarse, fine)),
    "box": sum(functional.l1_loss(x, cut) for x in crops),
    "perceptual": sum(perceptual(x, cut) for x in crops),
    "lifting": (vertices[:, :, None] - points[:, None])
    .square()
    .sum(-1)
    .amin(2)
    .mean(),
  }
  weights = {"l1": 0.5, "box": 0.5, "perceptual": 0.01, "lifting": 10.0}
  sum(weights[k] * v for k, v in terms.items()).backward()
  nhwc = {
    "coarse": coarse,
    "fine": fine,
    "target": target,
    "grad_coarse": coarse.grad,
    "grad_fine": fine.grad,
  }
  arrays = {k: x.detach().permute(0, 2, 3, 1) for k, x in nhwc.items()}
  arrays |= {
    "boxes": boxes,
    "vertices": vertices,
    "points": points,
    "grad_points": points.grad,
    "kernel": kernel.permute(2, 3, 1, 0),
    **terms,
  }
  path = pathlib.Path(__file__).resolve().parent / "avatar_losses.npz"
  np.savez_compressed(
    path,
    **{k: x.detach().numpy().astype(np.float32) for k, x in arrays.items()},
  )


if __name__ == "__main__":
  main()
