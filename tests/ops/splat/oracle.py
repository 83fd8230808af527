"""Gaussian splatting in float64 NumPy, written from the definition alone.

One scene, one camera. Gradients of the projection are central differences (a
Gaussian's outputs depend on nobody else's inputs), those of the compositing the
classic recurrence from back to front. Decisions (skip, stop) are taken in
float32, as the definition asks.
"""

import dataclasses
import math
import types

import numpy as np

f32 = np.float32


def settings_of(options, width, height):
  """The options, and the size of the picture."""
  return types.SimpleNamespace(
    **dataclasses.asdict(options), width=width, height=height
  )


def harmonic(n, m, v):
  """Real harmonic of degree n, order m at unit vectors [N, 3]: Rodrigues."""
  theta, phi = np.arccos(v[:, 2]), np.arctan2(v[:, 1], v[:, 0])
  k = abs(m)
  # d^(n+k)/dz^(n+k) of (z^2 - 1)^n / (2^n n!), with (-1)^k.
  p = np.polynomial.Polynomial([-1, 0, 1]) ** n
  p = p.deriv(n + k) if n + k else p
  legendre = (-1) ** k * np.sin(theta) ** k * p(np.cos(theta))
  legendre = legendre / (2**n * math.factorial(n))
  ratio = math.factorial(n - k) / math.factorial(n + k)
  norm = math.sqrt((2 * n + 1) / (4 * math.pi) * ratio)
  if m == 0:
    return norm * legendre
  turn = np.cos(k * phi) if m > 0 else np.sin(k * phi)
  return math.sqrt(2) * norm * legendre * turn


def shade(sh, means, viewmat):
  """Colours [N, D] that a camera sees."""
  away = means - np.linalg.inv(viewmat)[:3, 3]
  away = away / np.linalg.norm(away, axis=-1, keepdims=True)
  degree = math.isqrt(sh.shape[1]) - 1
  values = [
    harmonic(n, m, away) for n in range(degree + 1) for m in range(-n, n + 1)
  ]
  return np.maximum(np.einsum("kn,nkd->nd", values, sh) + 0.5, 0)


def rotation(q, normalize=True):
  """Columns are the turned axes: q e q* for each unit vector e."""
  q = np.float64(q)
  if normalize:
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
  w, v = q[..., :1], q[..., 1:]
  columns = []
  for e in np.eye(3):
    t = 2 * np.cross(v, e)
    columns.append(e + w * t + np.cross(v, t))
  return np.stack(columns, axis=-1)


def pixels_of(p, K, model):
  x, y, z = np.moveaxis(p, -1, 0)
  if model == "pinhole":
    u, v = x / z, y / z
  elif model == "ortho":
    u, v = x, y
  else:
    r = np.hypot(x, y)
    safe = np.where(r > 0, r, 1)
    k = np.where(r > 0, np.arctan2(r, z) / safe, 1 / z)
    u, v = x * k, y * k
  return np.stack([K[0, 0] * u + K[0, 2], K[1, 1] * v + K[1, 2]], axis=-1)


def jacobian(p, K, settings):
  """Closed forms; the pinhole's at the clamped point."""
  x, y, z = np.moveaxis(p, -1, 0)
  fx, fy, zero = K[0, 0], K[1, 1], np.zeros(len(z))
  if settings.camera_model == "ortho":
    rows = [[fx + zero, zero, zero], [zero, fy + zero, zero]]
  elif settings.camera_model == "fisheye":
    r2, r = x * x + y * y, np.hypot(x, y)
    d2 = r2 + z * z
    a, b = z / d2 / r2, np.arctan2(r, z) / r / r2
    rows = [
      [fx * (x * x * a + y * y * b), fx * x * y * (a - b), -fx * x / d2],
      [fy * x * y * (a - b), fy * (y * y * a + x * x * b), -fy * y / d2],
    ]
  else:
    half = 0.15 * settings.width / fx, 0.15 * settings.height / fy
    low = -K[0, 2] / fx - half[0], -K[1, 2] / fy - half[1]
    high = (
      (settings.width - K[0, 2]) / fx + half[0],
      (settings.height - K[1, 2]) / fy + half[1],
    )
    tx = z * np.clip(x / z, low[0], high[0])
    ty = z * np.clip(y / z, low[1], high[1])
    rows = [
      [fx / z, zero, -fx * tx / z**2],
      [zero, fy / z, -fy * ty / z**2],
    ]
  return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def project(means, quats, scales, opacities, viewmat, K, settings):
  """Dict of means2d, conics, opacities, depths, radii; not yet culled."""
  with np.errstate(all="ignore"):
    means, viewmat, K = np.float64(means), np.float64(viewmat), np.float64(K)
    p = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    axes = rotation(quats, settings.normalize_quats)
    axes = axes * np.float64(scales)[:, None, :]
    world = axes @ np.swapaxes(axes, -1, -2)
    inner = viewmat[:3, :3] @ world @ viewmat[:3, :3].T
    J = jacobian(p, K, settings)
    cov = J @ inner @ np.swapaxes(J, -1, -2)
    before = np.linalg.det(cov)
    cov = cov + settings.eps2d * np.eye(2)
    det = np.linalg.det(cov)
    opacity = np.float64(opacities)
    if settings.antialiased:
      opacity = opacity * np.sqrt(np.maximum(0.005**2, before / det))
    conics = np.stack([cov[:, 1, 1], -cov[:, 0, 1], cov[:, 0, 0]], -1)
    extent = np.sqrt(2 * np.log(255 * opacity))
    diagonal = np.stack([cov[:, 0, 0], cov[:, 1, 1]], axis=-1)
    return dict(
      means2d=pixels_of(p, K, settings.camera_model),
      conics=conics / det[:, None],
      opacities=opacity,
      depths=p[:, 2],
      radii=np.ceil(extent[:, None] * np.sqrt(diagonal)),
      det=det,
    )


def visible(projected, inputs, settings):
  """Which Gaussians are kept."""
  p = projected
  ok = np.ones(len(p["depths"]), bool)
  for x in (*p.values(), *inputs[:4]):
    ok &= np.isfinite(x).reshape(len(ok), -1).all(-1)
  with np.errstate(all="ignore"):
    ok &= (p["depths"] >= settings.near) & (p["depths"] <= settings.far)
    ok &= (p["det"] > 0) & (p["opacities"] >= f32(1 / 255))
    ok &= (p["radii"] > settings.radius_clip).any(-1)
    size = np.array([settings.width, settings.height])
    ok &= (p["means2d"] + p["radii"] > 0).all(-1)
    ok &= (p["means2d"] - p["radii"] < size).all(-1)
  return ok


def project_culled(inputs, settings):
  """`project` with zeros for what is culled, and the mask."""
  p = project(*inputs, settings)
  ok = visible(p, inputs, settings)
  del p["det"]
  for name, x in p.items():
    p[name] = np.where(ok.reshape(-1, *(1,) * (x.ndim - 1)), x, 0.0)
  p["radii"] = p["radii"].astype(np.int32)
  return p, ok


NAMES = ("means2d", "conics", "opacities", "depths")


def project_vjp(inputs, cotangents, settings):
  """Gradients of means, quats, scales, opacities, viewmat, K."""
  inputs = [np.float64(x) for x in inputs]
  _, ok = project_culled(inputs, settings)
  inputs[:4] = [x[ok] for x in inputs[:4]]
  v = [np.float64(cotangents[name])[ok] for name in NAMES]

  def score(*inputs):
    """What the cotangents make of each Gaussian's outputs, [N]."""
    p = project(*inputs, settings)
    terms = (
      (p[name] * c).reshape(len(c), -1).sum(-1)
      for name, c in zip(NAMES, v, strict=True)
    )
    return sum(terms)

  results = []
  for i, x in enumerate(inputs):
    own = i < 4
    result = np.zeros((len(ok), *x.shape[1:]) if own else x.shape)
    for place in np.ndindex(x.shape[1:] if own else x.shape):
      index = (slice(None), *place) if own else place
      if place and place[0] == {4: 3, 5: 2}.get(i):
        continue
      step = 1e-6 * np.maximum(np.abs(x[index]), 1e-3)
      high, low = x.copy(), x.copy()
      high[index] += step
      low[index] -= step
      change = (
        score(*inputs[:i], high, *inputs[i + 1 :])
        - score(*inputs[:i], low, *inputs[i + 1 :])
      ) / (2 * step)
      if own:
        result[(ok, *place)] = change
      else:
        result[place] = change.sum()
    results.append(result)
  return results


def _contributions(p, colors, settings, offset):
  """Yields, front to back, index, alpha, exp(-sigma), dx, dy of a picture.

  The transmittance is the caller's; this knows only one Gaussian at a time.
  """
  y, x = np.mgrid[: settings.height, : settings.width] + 0.5
  order = np.argsort(f32(p["depths"]), kind="stable")
  for i in order:
    if not (p["radii"][i] > 0).all():
      continue
    dx, dy = (np.float64(p["means2d"][i]) + offset[i])[:, None, None] - [x, y]
    a, b, c = np.float64(p["conics"][i])
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    with np.errstate(all="ignore"):
      e = np.exp(-sigma)
    raw = p["opacities"][i] * e
    alpha = np.minimum(settings.max_alpha, raw)
    seen = (sigma >= 0) & (f32(alpha) >= f32(1 / 255))
    alpha = np.where(seen, alpha, 0)
    yield i, alpha, np.where(seen, e, 0), raw <= settings.max_alpha, dx, dy


def composite(p, colors, background, settings, offset=None):
  """image [H, W, D], transmittance, depth, and what the gradient needs."""
  n, size = len(p["depths"]), (settings.height, settings.width)
  offset = np.zeros((n, 2)) if offset is None else np.float64(offset)
  image = np.zeros((*size, np.shape(colors)[-1]))
  T, depth = np.ones(size), np.zeros(size)
  rounded, alive = np.ones(size, f32), np.ones(size, bool)
  saved = []
  for i, alpha, e, free, dx, dy in _contributions(p, colors, settings, offset):
    after = rounded * (f32(1) - f32(alpha))
    alive &= after > f32(1e-4)
    if not alive.any():
      break
    rounded = np.where(alive, after, rounded)
    alpha = np.where(alive, alpha, 0)
    e = np.where(alive, e, 0)
    if not alpha.any():
      continue
    weight = alpha * T
    image += weight[..., None] * np.float64(colors[i])
    depth += weight * p["depths"][i]
    T = T * (1 - alpha)
    saved.append((i, alpha, e, free, dx, dy))
  return image + T[..., None] * np.float64(background), T, depth, saved


def composite_vjp(
  p, colors, background, settings, v_image, v_T, v_depth=0.0, offset=None
):
  """Dict of gradients: means2d, conics, opacities, colors, depths, abs,
  background."""
  _, T_end, _, saved = composite(p, colors, background, settings, offset)
  n, channels = np.shape(colors)
  g = dict(
    means2d=np.zeros((n, 2)),
    conics=np.zeros((n, 3)),
    opacities=np.zeros(n),
    colors=np.zeros((n, channels)),
    depths=np.zeros(n),
    abs=np.zeros((n, 2)),
    background=np.einsum("hw,hwd->d", T_end, v_image),
  )
  v_T = v_T + np.asarray(v_image) @ np.float64(background)
  behind, T = np.zeros(T_end.shape), T_end
  for i, alpha, e, free, dx, dy in reversed(saved):
    T = T / (1 - alpha)
    weight = alpha * T
    worth = v_image @ np.float64(colors[i]) + v_depth * p["depths"][i]
    g["colors"][i] = np.einsum("hw,hwd->d", weight, v_image)
    g["depths"][i] = (weight * v_depth).sum()
    v_alpha = T * worth - (behind + T_end * v_T) / (1 - alpha)
    behind = behind + weight * worth
    v_alpha = np.where(free & (alpha > 0), v_alpha, 0)
    g["opacities"][i] = (e * v_alpha).sum()
    v_sigma = -p["opacities"][i] * e * v_alpha
    a, b, c = np.float64(p["conics"][i])
    g["conics"][i] = [
      (v_sigma * x).sum() for x in (dx * dx / 2, dx * dy, dy * dy / 2)
    ]
    v = v_sigma * np.stack([a * dx + b * dy, b * dx + c * dy])
    g["means2d"][i], g["abs"][i] = v.sum((1, 2)), np.abs(v).sum((1, 2))
  return g


def rasterize(inputs, colors, background, settings, offset=None):
  """One camera: image, alpha, depth as `splat.Rendering` has them."""
  p, _ = project_culled(inputs, settings)
  image, T, depth, _ = composite(p, colors, background, settings, offset)
  alpha = 1 - T
  if settings.depth == "ED":
    depth = depth / np.maximum(alpha, 1e-10)
  return image, alpha, depth


def rasterize_vjp(
  inputs, colors, background, settings, v_image, v_alpha, v_depth=0.0
):
  """Dict of gradients of one camera: `means` to `Ks`, and `composite_vjp`'s."""
  p, _ = project_culled(inputs, settings)
  if settings.depth == "ED":
    _, T, depth, _ = composite(p, colors, background, settings)
    alpha = np.maximum(1 - T, 1e-10)
    v_alpha = v_alpha - np.where(1 - T > 1e-10, v_depth * depth / alpha**2, 0)
    v_depth = v_depth / alpha
  g = composite_vjp(p, colors, background, settings, v_image, -v_alpha, v_depth)
  names = ("means", "quats", "scales", "opacities", "viewmats", "Ks")
  own = dict(zip(names, project_vjp(inputs, g, settings), strict=True))
  own |= {k: g[k] for k in ("means2d", "colors", "background", "abs")}
  return own
