"""The scene of `splat.py`: a seeded head of Gaussians, and its pairs.

Half of the Gaussians lie on an ellipsoid (skin), half in a shell around its top
and back (hair, long and thin). They look as what a one-shot head avatar lifts
from a picture does: flat discs a few pixels wide, whatever their number, with
opacities from 0.1 to 0.99. The camera is a long lens, as for portraits; more
cameras stand on an arc around the head.
"""

import dataclasses

import numpy as np
from scipy import sparse

MAX_ALPHA = 0.999  # of gsplat 1.5.3 and splax
EPS2D = 0.3
GRADIENTS = ("means", "quats", "scales", "opacities", "colors")
FOCAL, DISTANCE = 6.0, 7.0  # in image heights; in head heights
# Pixels at 512 for a standard deviation along a disc: median, log-spread.
WIDTH, SPREAD = 1.2, 0.45


@dataclasses.dataclass(frozen=True)
class Scene:
  """What every arm draws, float32: shapes as in `chibijax.ops.splat`."""

  means: np.ndarray
  quats: np.ndarray
  scales: np.ndarray
  opacities: np.ndarray
  colors: np.ndarray
  viewmats: np.ndarray
  Ks: np.ndarray
  width: int
  height: int

  @property
  def gaussians(self) -> dict[str, np.ndarray]:
    """The differentiated arrays by name."""
    return {name: getattr(self, name) for name in GRADIENTS}

  def cotangents(self) -> tuple[np.ndarray, np.ndarray]:
    """What the backward pass begins with: for image and alpha."""
    rng = np.random.default_rng(1)
    shape = (len(self.viewmats), self.height, self.width)
    image = rng.normal(size=(*shape, self.colors.shape[-1]))
    return image.astype(np.float32), rng.normal(size=shape).astype(np.float32)


def make(
  count: int, channels: int, width: int, height: int, cameras: int = 1
) -> Scene:
  """Builds the head of `count` Gaussians."""
  rng = np.random.default_rng(0)
  hair = np.arange(count) % 2 == 0
  axes = np.array([0.38, 0.5, 0.44])  # y points down, z away from the viewer
  normal = rng.normal(size=(count, 3))
  # Hair grows where the head looks up or back.
  face = (normal[:, 1] > 0) & (normal[:, 2] < 0) & hair
  normal[face] *= np.array([1, -1, 1])
  normal /= np.linalg.norm(normal, axis=1, keepdims=True)
  lift = np.where(hair, 1.02 + 0.12 * rng.random(count), 1.0)
  lift += 0.004 * rng.normal(size=count)
  pixel = DISTANCE / (FOCAL * 512)  # the size of a pixel at the head
  scales = np.exp(SPREAD * rng.normal(size=(count, 3))) * WIDTH * pixel
  scales *= np.where(hair[:, None], [1.6, 0.5, 0.5], [1.0, 1.0, 0.25])
  low = rng.random(count) < 0.5
  opacity = np.where(
    low, rng.uniform(0.1, 0.6, count), rng.uniform(0.6, 0.99, count)
  )
  wave = rng.normal(size=(3, channels)) * 4
  colors = 0.5 + 0.4 * np.sin(normal @ wave + rng.normal(size=channels))
  colors += 0.1 * rng.random((count, channels))
  # Cameras on an arc of 60 degrees, looking at the head's centre.
  viewmats = np.tile(np.eye(4), (cameras, 1, 1))
  yaw = np.radians(np.linspace(-30, 30, cameras)) if cameras > 1 else [0.0]
  viewmats[:, 0, 0] = viewmats[:, 2, 2] = np.cos(yaw)
  viewmats[:, 0, 2], viewmats[:, 2, 0] = np.sin(yaw), -np.sin(yaw)
  viewmats[:, 2, 3] = DISTANCE
  focal = FOCAL * height
  K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
  return Scene(
    *(
      np.asarray(a, np.float32)
      for a in (
        normal * axes * lift[:, None],
        _facing(normal, rng.uniform(0, np.pi, count)),
        scales,
        opacity,
        np.clip(colors, 0, 1),
        viewmats,
        np.tile(K, (cameras, 1, 1)),
      )
    ),
    width,
    height,
  )


def _facing(normal: np.ndarray, spin: np.ndarray) -> np.ndarray:
  """Quaternions wxyz that turn z to the normals [N, 3] after a spin."""
  x, y, z = normal.T
  turn = np.stack([1 + z, -y, x, np.zeros_like(z)], -1)
  turn /= np.maximum(np.linalg.norm(turn, axis=1, keepdims=True), 1e-9)
  a, b, c, d = turn.T
  w, k = np.cos(spin / 2), np.sin(spin / 2)
  return np.stack(
    [a * w - d * k, b * w + c * k, c * w - b * k, d * w + a * k], 1
  )


def project(scene: Scene, camera: int = 0) -> tuple[np.ndarray, ...]:
  """Centres [N, 2], conics [N, 3], depths [N] and boxes [N, 2] in pixels."""
  q = scene.quats.astype(np.float64)
  w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
  rotation = np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
  ).transpose(2, 0, 1)
  view, K = scene.viewmats[camera], scene.Ks[camera]
  p = scene.means @ view[:3, :3].T.astype(np.float64) + view[:3, 3]
  # Rounded as everywhere else: which of two is nearer must not depend on it.
  depth = p[:, 2].astype(np.float32).astype(np.float64)
  jacobian = np.zeros((len(p), 2, 3))
  for i in range(2):  # nothing is near the edges, where J would be clamped
    jacobian[:, i, i] = K[i, i] / depth
    jacobian[:, i, 2] = -K[i, i] * p[:, i] / depth**2
  root = jacobian @ view[:3, :3] @ (rotation * scene.scales[:, None])
  cov = root @ root.transpose(0, 2, 1) + EPS2D * np.eye(2)
  det = np.linalg.det(cov)
  conic = np.stack([cov[:, 1, 1], -cov[:, 0, 1], cov[:, 0, 0]], 1)
  centre = p[:, :2] / depth[:, None] * np.diag(K)[:2] + K[:2, 2]
  reach = np.sqrt(2 * np.log(np.maximum(255 * scene.opacities, 1)))
  box = reach[:, None] * np.sqrt(np.stack([cov[:, 0, 0], cov[:, 1, 1]], 1))
  return centre, conic / det[:, None], depth, box


def pairs(
  scene: Scene, camera: int = 0, chunk: int = 40_000
) -> tuple[np.ndarray, np.ndarray]:
  """Every pixel and Gaussian that meet before the pixel is full.

  Args:
    scene: the head.
    camera: which of its cameras.
    chunk: Gaussians taken at a time.

  Returns:
    Gaussians and pixels, int32 [M], by pixel and then from near to far.
  """
  centre, conic, depth, box = project(scene, camera)
  size = scene.width * scene.height
  through = np.ones(size)  # transmittance so far
  found = []
  order = np.argsort(depth, kind="stable")
  for ids in np.split(order, range(chunk, len(order), chunk)):
    who, pixel, alpha = _meetings(scene, ids, centre[ids], conic[ids], box[ids])
    live = through[pixel] > 1e-4
    who, pixel, alpha = who[live], pixel[live], alpha[live]
    # A stable counting sort by pixel.
    index = np.arange(1, len(who) + 1)
    shape = (size, len(who) + 1)
    rows = sparse.coo_array((index, (pixel, index)), shape).tocsr()
    by = rows.data - 1
    who, pixel = who[by], pixel[by]
    logs = np.cumsum(np.log1p(-alpha[by].astype(np.float64)))
    before = np.concatenate([[0.0], logs])[rows.indptr]
    inside = np.exp(logs - before[pixel]) * through[pixel]
    keep = inside > 1e-4
    found.append((who[keep], pixel[keep]))
    # A pixel that stopped takes nothing more.
    through *= np.exp(before[1:] - before[:-1])[:size]
  who, pixel = (np.concatenate(a) for a in zip(*found))
  index = np.arange(len(who))
  by = sparse.coo_array((index, (pixel, index)), (size, len(who))).tocsr().data
  return who[by].astype(np.int32), pixel[by].astype(np.int32)


def _meetings(
  scene: Scene,
  ids: np.ndarray,
  centre: np.ndarray,
  conic: np.ndarray,
  box: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """All pairs with alpha >= 1/255: Gaussians, pixels and alphas [M]."""
  limits = np.array([scene.width, scene.height])
  low = np.clip(np.floor(centre - box), 0, limits).astype(np.int64)
  high = np.clip(np.ceil(centre + box), 0, limits).astype(np.int64)
  span = high - low
  area = span.prod(1)
  k = np.repeat(np.arange(len(ids)), area)
  inner = np.arange(len(k)) - np.repeat(np.cumsum(area) - area, area)
  row, column = np.divmod(inner, span[k, 0])
  column, row = column + low[k, 0], row + low[k, 1]
  f32 = np.float32
  dx = centre[k, 0].astype(f32) - (column + 0.5).astype(f32)
  dy = centre[k, 1].astype(f32) - (row + 0.5).astype(f32)
  a, b, c = conic.astype(f32)[k].T
  sigma = f32(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
  alpha = scene.opacities[ids][k] * np.exp(-sigma)
  hit = (sigma >= 0) & (alpha >= f32(1 / 255))
  alpha = np.minimum(alpha[hit], f32(MAX_ALPHA))
  return ids[k[hit]], (row * scene.width + column)[hit], alpha
