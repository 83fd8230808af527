"""Curves, a scene of filled curves, and its rasterisation by resvg.

A curve is an array [n, 4, 2] of n joined cubic Bezier segments. The same arrays
are filled, sampled for landmarks and labelled for masks, so the three agree by
construction. Curves reach the scene in canvas units: the picture is the square
[0, 1000]^2, x right, y down; any pixel size is a scale of it.
"""

import contextlib
import functools
import io
import math
from collections.abc import Iterator, Sequence

import numpy as np
import resvg_py
from jaxtyping import Bool, Float, UInt8
from PIL import Image

Curve = Float[np.ndarray, "_ 4 2"]
# Runtime type checkers do not take an int for a float, as people do.
Number = float | int
Point = tuple[Number, Number]

# Integers are shorter to write and faster to parse than decimals.
_STEPS = 10
# Shapes up to this extent are never the edge of a figure: lashes, buttons.
_DETAIL = 120.0
# Control distance that makes four cubics the best circle.
_KAPPA = 0.5523


def _array(segments: Sequence) -> Curve:
  return np.array(segments, np.float64).reshape(-1, 4, 2)


def spline(
  points: Sequence[Point],
  *,
  closed: bool = False,
  corners: Sequence[int] = (),
  roundness: Number = 1.1,
) -> Curve:
  """Joins points by a smooth curve (Catmull-Rom directions, chord lengths).

  Handles are a third of their own chord, so that uneven spacing does not make
  the curve overshoot as uniform Catmull-Rom does.

  Args:
    points: knots in order.
    closed: whether the last knot joins the first.
    corners: indices of knots where the curve may turn sharply.
    roundness: handle length relative to a third of the chord.

  Returns:
    One cubic per pair of neighbouring knots.
  """
  count = len(points)
  sharp = {c % count for c in corners}
  handles = []
  for i in range(count):
    ends = not closed and i in (0, count - 1)
    if ends or i in sharp:
      handles.append((0.0, 0.0))
      continue
    ax, ay = points[i - 1]
    bx, by = points[(i + 1) % count]
    dx, dy = bx - ax, by - ay
    scale = roundness / (3 * math.hypot(dx, dy) + 1e-9)
    handles.append((dx * scale, dy * scale))
  segments = []
  for i in range(count if closed else count - 1):
    j = (i + 1) % count
    (x, y), (u, v) = points[i], points[j]
    chord = math.hypot(u - x, v - y)
    (hx, hy), (kx, ky) = handles[i], handles[j]
    segments.append(
      (
        x,
        y,
        x + hx * chord,
        y + hy * chord,
        u - kx * chord,
        v - ky * chord,
        u,
        v,
      )
    )
  return _array(segments)


def polygon(points: Sequence[Point]) -> Curve:
  """Closes straight lines through the points."""
  return spline(points, closed=True, corners=range(len(points)))


def ellipse(
  x: Number,
  y: Number,
  rx: Number,
  ry: Number | None = None,
  angle: Number = 0.0,
) -> Curve:
  """An ellipse around (x, y), turned clockwise by `angle` degrees."""
  ry = rx if ry is None else ry
  k = _KAPPA
  unit = (
    (-1, 0, -1, -k, -k, -1, 0, -1),
    (0, -1, k, -1, 1, -k, 1, 0),
    (1, 0, 1, k, k, 1, 0, 1),
    (0, 1, -k, 1, -1, k, -1, 0),
  )
  curve = _array(unit) * (rx, ry)
  if angle:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    curve = curve @ np.array([[c, s], [-s, c]])
  return curve + np.array([x, y])


def brush(points: Sequence[Point], widths: Sequence[Number]) -> Curve:
  """A stroke of varying width: a closed curve around the spline of `points`.

  Args:
    points: centre line, at least two points.
    widths: full width at every point; 0 at an end makes it pointed.
  """
  count = len(points)
  left, right = [], []
  for i, ((x, y), width) in enumerate(zip(points, widths, strict=True)):
    ax, ay = points[max(i - 1, 0)]
    bx, by = points[min(i + 1, count - 1)]
    length = math.hypot(bx - ax, by - ay) + 1e-9
    nx, ny = (ay - by) / length, (bx - ax) / length
    half = width / 2
    left.append((x + nx * half, y + ny * half))
    right.append((x - nx * half, y - ny * half))
  if widths[-1] == 0:
    left.pop()
  knots = left + right[::-1]
  corners = [count - 1] if widths[-1] == 0 else []
  if widths[0] == 0:
    knots.pop()
    corners.append(0)
  return spline(knots, closed=True, corners=corners)


def mirror(curve: Curve) -> Curve:
  """Reflects a curve given in head or body coordinates about x = 0."""
  return curve * (-1, 1)


def join(*curves: Curve) -> Curve:
  """Chains curves end to end into one outline."""
  return np.concatenate(curves)


def at(curve: Curve, position: Number) -> Point:
  """The point at `position` in [0, n], counted in segments."""
  index = min(int(position), len(curve) - 1)
  t = position - index
  s = 1 - t
  weights = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
  x, y = np.dot(weights, curve[index])
  return float(x), float(y)


@functools.cache
def _bernstein(count: int) -> Float[np.ndarray, "count 4"]:
  """Weights of `count` even steps along one cubic, both ends included."""
  t = np.linspace(0, 1, count)
  s = 1 - t
  return np.stack([s**3, 3 * s * s * t, 3 * s * t * t, t**3], axis=1)


def divide(curve: Curve, count: int) -> Float[np.ndarray, "count 2"]:
  """Points at even steps of the parameter of a curve of one cubic."""
  return _bernstein(count) @ curve[0]


def sample(curve: Curve, count: int) -> Float[np.ndarray, "count 2"]:
  """Returns `count` points on the curve, evenly spaced by arc length."""
  dense = (_bernstein(33)[:-1] @ curve).reshape(-1, 2)
  dense = np.concatenate([dense, curve[-1:, 3]])
  steps = np.hypot(*np.diff(dense, axis=0).T)
  length = np.concatenate([[0.0], np.cumsum(steps)])
  wanted = np.linspace(0, length[-1], count)
  return np.stack(
    [np.interp(wanted, length, dense[:, axis]) for axis in (0, 1)], axis=1
  )


def _data(curve: Curve, closed: bool = True) -> str:
  """Writes one curve as SVG path data."""
  numbers = np.rint(curve * _STEPS).astype(int).reshape(-1, 8)
  x, y = numbers[0, :2].tolist()
  body = " ".join(map(str, numbers[:, 2:].ravel().tolist()))
  return f"M{x} {y}C{body}" + ("Z" if closed else "")


class Scene:
  """Filled and stroked curves in painter's order.

  Every opaque shape carries a label, which is what its pixels are in the masks:
  "hair", "skin" or "other"; shading that lies on top of a shape has none.
  """

  def __init__(self) -> None:
    self._defs: list[str] = []
    self._body: list[str] = []
    self._labels: list[str] = []
    # Outlines of what can be the edge of the figure.
    self._solid: list[str] = []
    self._clipped = False

  def draw(
    self,
    *curves: Curve,
    fill: str = "none",
    stroke: str = "none",
    width: Number = 0.0,
    opacity: Number = 1.0,
    label: str | None = None,
    closed: bool = True,
    holes: bool = False,
  ) -> None:
    """Adds one shape, which may consist of several curves.

    One shape of many curves is much cheaper than many shapes. Curves that
    overlap unite only if they turn the same way; all ellipses do, and so do all
    brush strokes.

    Args:
      *curves: outlines in canvas units.
      fill: colour, `url(#id)` of a gradient, or "none".
      stroke: colour of the outline.
      width: width of the outline in canvas units, centred on the curve.
      opacity: of the whole shape.
      label: what the shape is in the masks; None leaves them as they are.
      closed: whether the outline's end joins its start.
      holes: fill only where an odd number of curves overlap; otherwise the
        shape is the union of the curves.
    """
    data = "".join(_data(curve, closed) for curve in curves)
    style = f'fill="{fill}"'
    if holes:
      style += ' fill-rule="evenodd"'
    if stroke != "none" and width > 0:
      style += f' stroke="{stroke}" stroke-width="{width * _STEPS:.0f}"'
    if opacity < 1:
      # `opacity` costs a layer; a shape with one paint does not need it.
      both = fill != "none" and stroke != "none"
      name = "opacity" if both else "fill-opacity"
      style += f' {name}="{opacity:.3f}"'
    self._body.append(f'<path d="{data}" {style}/>')
    if label is not None:
      color = {"hair": "#f00", "skin": "#0f0", "other": "#000"}[label]
      paint = f'fill="{color}"' if fill != "none" else 'fill="none"'
      if stroke != "none" and width > 0:
        paint += f' stroke="{color}" stroke-width="{width * _STEPS:.0f}"'
      if holes:
        paint += ' fill-rule="evenodd"'
      self._labels.append(f'<path d="{data}" {paint}/>')
      spans = [np.ptp(curve.reshape(-1, 2), axis=0).max() for curve in curves]
      if not self._clipped and fill != "none" and max(spans) > _DETAIL:
        self._solid.append(data)

  @contextlib.contextmanager
  def clip(self, *curves: Curve) -> Iterator[None]:
    """Restricts what the `with` block draws to the inside of curves.

    Curves that overlap must turn the same way.
    """
    name = f"c{len(self._defs)}"
    data = "".join(map(_data, curves))
    self._defs.append(f'<clipPath id="{name}"><path d="{data}"/></clipPath>')
    start = len(self._labels)
    opening = f'<g clip-path="url(#{name})">'
    self._body.append(opening)
    self._labels.append(opening)
    clipped, self._clipped = self._clipped, True
    yield
    self._clipped = clipped
    self._body.append("</g>")
    if len(self._labels) == start + 1:
      self._labels.pop()
    else:
      self._labels.append("</g>")

  def gradient(
    self,
    stops: Sequence[tuple[Number, str]],
    *,
    vector: tuple[Number, ...] = (0, 0, 0, 1),
  ) -> str:
    """Defines a gradient over the bounding box of the shape it fills.

    Args:
      stops: (offset 0..1, colour) pairs; a colour may be `#rrggbb` or
        `#rrggbbaa`.
      vector: as fractions of the box, either x1, y1, x2, y2 of a linear
        gradient, or x, y, radius of a radial one.

    Returns:
      The paint to give as `fill`.
    """
    name = f"g{len(self._defs)}"
    marks = "".join(
      f'<stop offset="{offset}" stop-color="{color[:7]}"'
      + (
        f' stop-opacity="{int(color[7:], 16) / 255:.3f}"'
        if len(color) == 9
        else ""
      )
      + "/>"
      for offset, color in stops
    )
    if len(vector) == 3:
      tag, shape = "radialGradient", ' cx="{}" cy="{}" r="{}"'.format(*vector)
    else:
      tag = "linearGradient"
      shape = ' x1="{}" y1="{}" x2="{}" y2="{}"'.format(*vector)
    self._defs.append(f'<{tag} id="{name}"{shape}>{marks}</{tag}>')
    return f"url(#{name})"

  def mark(self) -> int:
    """The place in painter's order that the next shape will take."""
    return len(self._body)

  def rim(self, place: int, color: str, width: Number) -> None:
    """Draws a band around every large shape that has a label, below them.

    Args:
      place: from `mark`; shapes drawn before it stay under the band.
      color: sRGB hex.
      width: how far the band reaches beyond the shapes, canvas units.
    """
    around = f'stroke="{color}" stroke-width="{2 * width * _STEPS:.0f}"'
    whole = "".join(f'<path d="{data}"/>' for data in self._solid)
    self._body.insert(place, f'<g fill="{color}" {around}>{whole}</g>')

  def svg(self) -> str:
    """Returns the picture as an SVG document (viewBox 0 0 10000 10000)."""
    return _document(self._defs, self._body)

  def render(self, size: int) -> UInt8[np.ndarray, "size size 4"]:
    """Rasterises the picture: RGBA, straight alpha."""
    return _rasterize(self.svg(), size, "geometric_precision")

  def render_labels(
    self, size: int
  ) -> dict[str, Bool[np.ndarray, "size size"]]:
    """Rasterises the hair and skin masks, without antialiasing."""
    clips = [d for d in self._defs if d.startswith("<clip")]
    pixels = _rasterize(_document(clips, self._labels), size, "crisp_edges")
    solid = pixels[..., 3] > 127
    return {
      "hair": solid & (pixels[..., 0] > 127),
      "skin": solid & (pixels[..., 1] > 127),
    }


def render_mask(curve: Curve, size: int) -> Bool[np.ndarray, "size size"]:
  """Rasterises the inside of one curve: True where a pixel's centre is in."""
  shape = f'<path d="{_data(curve)}" fill="#000"/>'
  return _rasterize(_document([], [shape]), size, "crisp_edges")[..., 3] > 127


def _document(defs: list[str], body: list[str]) -> str:
  extent = 1000 * _STEPS
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {extent} {extent}" '
    'stroke-linecap="round" stroke-linejoin="round">'
    f"<defs>{''.join(defs)}</defs>{''.join(body)}</svg>"
  )


def _rasterize(
  svg: str, size: int, shape_rendering: str
) -> UInt8[np.ndarray, "size size 4"]:
  png = resvg_py.svg_to_bytes(
    svg_string=svg,
    width=size,
    height=size,
    skip_system_fonts=True,
    shape_rendering=shape_rendering,
  )
  with Image.open(io.BytesIO(png)) as picture:
    return np.array(picture.convert("RGBA"))
