"""The portrait: a photo-like rendering of a character's attributes.

The same attributes draw a chibi (`chibi.draw_chibi`); together they are an
exact pair. The face is built frontally as reflectance, height field and normals
(2.5D), lit in linear light, turned by a smooth warp to the head's pose, laid
over an out-of-focus background and photographed.

What depends on what: geometry, landmarks and masks depend on the attributes
(and, for a pixel here and there along a ragged hair outline, on the seed);
light colour, background, folds, texture, blur, noise and compression depend on
the seed. Sizes agree: a picture drawn at another size shows the same person in
the same scene, with other noise.
"""

import functools

import numpy as np
from jaxtyping import Float32

from chibijax.artist.attributes import Attributes
from chibijax.artist.drawing import MASKS, Drawing
from chibijax.artist.portrait_body import body_skin, clothes, ears, paint_ears
from chibijax.artist.portrait_camera import (
  background,
  build_light,
  take_photo,
  tone_map,
)
from chibijax.artist.portrait_canvas import (
  CENTER,
  UNIT,
  Canvas,
  Grid,
  ellipse,
  grid,
  paint,
  to_pixels,
)
from chibijax.artist.portrait_features import Features
from chibijax.artist.portrait_filter import product, value_noise
from chibijax.artist.portrait_geometry import (
  Face,
  build_face,
  posed,
  to_head_frame,
  unposed,
)
from chibijax.artist.portrait_hair import build_hair
from chibijax.artist.portrait_headwear import build_headwear
from chibijax.artist.portrait_relief import head_height
from chibijax.artist.portrait_scene import Layer, Scene
from chibijax.artist.portrait_shading import Light, normalize, shade
from chibijax.artist.portrait_skin import (
  hair_albedo,
  lay_beard,
  skin_albedo,
  skin_planes,
)
from chibijax.artist.portrait_wear import lay_earrings, lay_glasses

_WARP_CELLS = 14


def _random(seed: int, purpose: int) -> np.random.Generator:
  """One stream per purpose: drawing more in one never changes another."""
  return np.random.default_rng([seed, purpose])


def draw_portrait(
  attributes: Attributes, size: int, *, seed: int, masks: bool = True
) -> Drawing:
  """Draws a photo-like head-and-shoulders portrait.

  Args:
    attributes: the character; the same ones draw its chibi.
    size: side of the picture in pixels, at least 16.
    seed: the photograph's circumstances: light colour, background, folds,
      texture, blur, noise, compression.
    masks: whether to compute the masks; without them `masks` is empty.

  Returns:
    A drawing with opaque alpha. Landmarks depend on attributes and size only.

  Raises:
    ValueError: if the size is below 16 or the seed is negative.
  """
  if size < 16:
    raise ValueError(f"size must be at least 16 pixels; got {size!r}")
  if seed < 0:
    raise ValueError(f"seed must not be negative; got {seed!r}")
  # Finer where pixels are few: sampling it averages neighbours.
  fine = size * 3 // 2 if size <= 128 else size
  face = build_face(attributes)
  light = build_light(attributes, _random(seed, 0))
  scene = _compose(face, attributes, fine, seed)
  lit = _light_scene(scene, face, attributes, light, fine)
  camera = _random(seed, 5)
  exposure = 1.12 * float(np.exp(camera.normal(0, 0.10)))
  planes = [*(lit * scene.alpha), scene.alpha]
  names = ("person", *MASKS) if masks else ()
  if masks:
    planes += [scene.head, scene.locks, scene.bare]
  planes = _warp(np.stack(planes), attributes, size)
  behind = background(attributes, size, _random(seed, 4))
  mixed = planes[:3] + behind * (1 - planes[3])
  photo = take_photo(tone_map(mixed, exposure), camera)
  opaque = np.full((size, size, 1), 255, np.uint8)
  points = to_pixels(posed(face.landmarks, attributes), size)
  return Drawing(
    image=np.concatenate([photo, opaque], axis=2),
    landmarks=points.astype(np.float32),
    masks={name: plane >= 0.5 for name, plane in zip(names, planes[3:])},
    attributes=attributes,
  )


def _compose(face: Face, a: Attributes, size: int, seed: int) -> Scene:
  """Paints all layers from back to front, frontally."""
  g, canvas = grid(size), Canvas(size)
  scene = Scene(size, g.pixel)
  base = skin_albedo(a.skin_tone)
  hair = build_hair(face, a, canvas, g, _random(seed, 1))
  strands = hair_albedo(a.hair_color)[:, None, None]
  if hair is not None and hair.back.any():
    layer = Layer(hair.back, strands * hair.shade * 0.6, hair.back_height, 0.0)
    scene.lay(layer, hair=1.0, tangent=hair.tangent)
  scene.lay(body_skin(face, canvas, g, base), skin=1.0, bare=1.0)
  scene.lay(clothes(face, a, canvas, g, _random(seed, 2)))
  _lay_head(scene, face, a, canvas, g, seed)
  if hair is not None:
    layer = Layer(hair.front, strands * hair.shade, hair.height + 0.04, 0.0)
    scene.lay(layer, hair=1.0, tangent=hair.tangent)
  lay_earrings(scene, face, a, canvas)
  if a.headwear != "none":
    scene.lay(build_headwear(face, a, canvas, g, _random(seed, 3)))
  lay_glasses(scene, face, a, canvas, g)
  return scene


def _lay_head(
  scene: Scene,
  face: Face,
  a: Attributes,
  canvas: Canvas,
  g: Grid,
  seed: int,
) -> None:
  rng = _random(seed, 6)
  base = skin_albedo(a.skin_tone)
  cover = canvas.mask(face.head)
  scene.head[:] = cover
  ear = canvas.mask(*ears(face))
  z = head_height(face, g)
  if g.pixel < 0.025:
    z += np.float32(0.0010) * value_noise(rng, 260, g.size)[0]
  albedo = skin_planes(face, a, g, rng)
  side = Layer(ear, albedo.copy(), np.minimum(z, 0.45) * 0.3 + 0.10 * ear, 0.3)
  paint_ears(side.albedo, face, canvas, base)
  scene.lay(side, skin=1.0, bare=1.0)
  gloss = _oil(face, g)
  skin = np.ones_like(cover)
  bare = np.ones_like(cover)
  Features(albedo, gloss, skin, bare, face, a, canvas, g, rng).paint()
  scene.lay(Layer(cover, albedo, z, gloss), skin=skin, bare=bare)
  lay_beard(scene, face, a, canvas, g, z, cover, rng)


def _oil(face: Face, g: Grid) -> Float32[np.ndarray, "h w"]:
  """How glossy the skin is: forehead, nose and cheekbones shine most."""
  spots = [
    (0, -0.75, 0.5, 0.3, 0.3),
    (0, 0.40, 0.10, 0.35, 0.45),
    (0.58, 0.25, 0.2, 0.14, 0.22),
    (-0.58, 0.25, 0.2, 0.14, 0.22),
    (0, face.chin - 0.18, 0.18, 0.1, 0.2),
  ]
  p = np.array(spots, np.float32)
  across = np.exp(-0.5 * ((g.u - p[:, 0:1]) / p[:, 2:3]) ** 2)
  down = np.exp(-0.5 * ((g.v[:, 0] - p[:, 1:2]) / p[:, 3:4]) ** 2)
  return 0.20 + 0.75 * product((down * p[:, 4:5]).T, across)


def _light_scene(
  scene: Scene, face: Face, a: Attributes, light: Light, size: int
) -> Float32[np.ndarray, "3 h w"]:
  """Shades the frontal scene under lights turned into the head's frame."""
  turned = Light(
    key=to_head_frame(light.key, a),
    fill=to_head_frame(light.fill, a),
    key_color=light.key_color,
    fill_color=light.fill_color,
    sky_color=light.sky_color,
    ground_color=light.ground_color,
    rim=light.rim,
  )
  s = scene.surface
  # Layers were blended over nothing: divide by what covers a pixel.
  s.albedo *= 1 / np.maximum(scene.alpha, 1e-3)
  normalize(s.normal)
  out = shade(s, turned, scene.pixel)
  _catchlights(out, scene, face, a, light, size)
  return out


def _catchlights(
  out: np.ndarray,
  scene: Scene,
  face: Face,
  a: Attributes,
  light: Light,
  size: int,
) -> None:
  """The key light mirrored in both corneas."""
  if a.glasses == "sunglasses":
    return
  canvas = Canvas(size)
  e = face.expression
  du = e.gaze[0] + 0.5 * face.iris * light.key[0]
  dv = e.gaze[1] - 0.015 + 0.55 * face.iris * light.key[1]
  spots = [
    ellipse(u + du, v + dv, 0.021, 0.024, 12)
    for (u, v), opening in zip(face.eyes, (e.left, e.right))
    if opening >= 0.35
  ]
  if spots:
    part = canvas.coverage(*spots, blur=0.004)
    paint(out, part, light.key_color * 1.2, 0.9)


@functools.lru_cache(maxsize=8)
def _hat_weights(size: int) -> np.ndarray:
  """Linear weights [size, cells + 1] from mesh nodes to pixel centres."""
  x = (np.arange(size) + 0.5) / size * _WARP_CELLS
  nodes = np.arange(_WARP_CELLS + 1)
  weights = np.clip(1 - np.abs(x[:, None] - nodes), 0, 1)
  return weights.astype(np.float32)


def _warp(
  planes: Float32[np.ndarray, "c fine fine"], a: Attributes, size: int
) -> Float32[np.ndarray, "c size size"]:
  """Turns planes to the head's pose, bilinearly; the border repeats."""
  channels, fine, _ = planes.shape
  x = np.linspace(0, 1, _WARP_CELLS + 1, dtype=np.float32)
  nodes = np.stack(np.meshgrid(x, x), -1)
  units = (nodes - np.array(CENTER, np.float32)) * np.float32(1 / UNIT)
  source = to_pixels(unposed(units, a), fine).transpose(2, 0, 1)
  w = _hat_weights(size)
  at = np.stack([product(w @ axis, w.T) for axis in source])
  at = np.clip(at - 0.5, 0, fine - 1.001)
  low = at.astype(np.intp)
  fx, fy = (at - low).astype(np.float32)
  index = (low[1] * fine + low[0]).ravel()
  flat = planes.reshape(channels, -1)
  fx, fy = fx.ravel(), fy.ravel()
  # `take` is several times faster than indexing with an array.
  top = flat.take(index, 1)
  top += (flat.take(index + 1, 1) - top) * fx
  bottom = flat.take(index + fine, 1)
  bottom += (flat.take(index + (fine + 1), 1) - bottom) * fx
  top += (bottom - top) * fy
  return top.reshape(channels, size, size)
