"""Style transfer without training: the picture itself is optimised.

Gatys, Ecker & Bethge 2016 with L-BFGS. Two things differ from the paper: each
layer's losses are relative to their targets, so that one set of weights suits
any feature network, and the picture is made at half the size first, where the
style's larger shapes are within the network's reach (as in Gatys et al. 2017,
section 6).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from chibijax.errors import UserError
from chibijax.losses import style as losses
from chibijax.ops import resample

Images: TypeAlias = Float[Array, "b h w 3"]

# Iterations between two movements of the progress bar.
_CHUNK = 10
# Pictures are not made smaller than this in the first pass, in pixels.
_SMALLEST = 96


class Layers(NamedTuple):
  """Where a network is looked at.

  Attributes:
    content: layers of the content loss.
    style: layers of the style loss.
  """

  content: tuple[str, ...]
  style: tuple[str, ...]


LAYERS = {
  "vgg19": Layers(
    ("relu4_2",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
  ),
  "vgg16": Layers(
    ("relu3_3",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
  ),
  "squeezenet": Layers(
    ("fire3",), ("relu1", "fire2", "fire3", "fire4", "fire5", "fire7")
  ),
}


@dataclasses.dataclass(frozen=True)
class Weights:
  """What the losses count.

  Attributes:
    content: the picture's content.
    style: the styles, all together.
    variation: smoothness.
  """

  content: float = 1.0
  style: float = 6.0
  variation: float = 0.5


class Style(NamedTuple):
  """A style picture and its part.

  Attributes:
    image: [1, H, W, 3] in [-1, 1], of any size.
    weight: against the other styles, above 0.
    mask: [1, h, w, 1], where in the content it is wanted; None is everywhere.
  """

  image: Images
  weight: float = 1.0
  mask: Float[Array, "1 h w 1"] | None = None


def transfer(
  network: Any,
  content: Float[Array, "1 h w 3"],
  styles: Sequence[Style],
  *,
  layers: Layers,
  weights: Weights = Weights(),
  steps: int = 200,
  progress: bool = False,
) -> tuple[Float[Array, "1 h w 3"], list[float]]:
  """Makes a picture with the content of one and the style of others.

  Args:
    network: a pytree with `layers(x, names)`, as `models.features.Network`.
    content: the photo in [-1, 1].
    styles: one or more.
    layers: where the network is looked at.
    weights: what the losses count.
    steps: L-BFGS iterations, a third of them at half the size.
    progress: show a bar.

  Returns:
    The picture in [-1, 1], and the loss along the way at its full size.

  Raises:
    UserError: if there is no style, or a number is out of range.
  """
  if not styles or min(style.weight for style in styles) <= 0:
    raise UserError("style transfer needs styles with weights above 0.")
  if steps < 1:
    raise UserError(f"steps is {steps}, expected at least 1.")
  shape = content.shape[1:3]
  first = steps // 3 if min(shape) >= 2 * _SMALLEST else 0
  picture, history = content, []
  with tqdm(total=steps, unit="step", disable=not progress) as bar:
    if first:
      half = (shape[0] // 2, shape[1] // 2)
      small = [
        style._replace(
          image=_resized(style.image, *(n // 2 for n in style.image.shape[1:3]))
        )
        for style in styles
      ]
      picture, _ = _optimise(
        network, _resized(content, *half), _resized(content, *half), small,
        layers, weights, first, bar,
      )  # fmt: skip
      picture = jax.image.resize(picture, content.shape, "cubic")
    picture, history = _optimise(
      network, picture, content, list(styles), layers, weights, steps - first,
      bar,
    )  # fmt: skip
  return jnp.clip(picture, -1, 1), history


def _optimise(
  network: Any,
  picture: Images,
  content: Images,
  styles: list[Style],
  layers: Layers,
  weights: Weights,
  steps: int,
  bar: tqdm,
) -> tuple[Images, list[float]]:
  """Runs L-BFGS at one size."""
  goal = network.layers(content, layers.content)
  total = sum(style.weight for style in styles)
  targets = [
    losses.style_target(
      network.layers(style.image, layers.style),
      layers.style,
      weight=jnp.float32(style.weight / total / len(layers.style)),
      mask=losses.resize_mask(style.mask, content.shape[1:3]),
    )
    for style in styles
  ]
  state, history = None, []
  while (done := len(history) * _CHUNK) < steps:
    count = min(_CHUNK, steps - done)
    if state is None:
      state = _solver().init(picture)
    picture, state, value = _advance(
      network, picture, state, goal, targets, jnp.int32(count), layers, weights
    )
    history.append(float(value))
    bar.update(count)
    bar.set_postfix(loss=f"{history[-1]:.4f}")
  return picture, history


def _solver() -> optax.GradientTransformationExtraArgs:
  search = optax.scale_by_zoom_linesearch(
    max_linesearch_steps=8, initial_guess_strategy="one"
  )
  return optax.lbfgs(memory_size=10, linesearch=search)


def _loss(
  network: Any,
  goal: dict[str, Array],
  targets: list[losses.StyleTarget],
  layers: Layers,
  weights: Weights,
) -> Callable[[Images], Float[Array, ""]]:
  names = tuple(dict.fromkeys((*layers.content, *layers.style)))

  def loss(picture: Images) -> Float[Array, ""]:
    maps = network.layers(picture, names)
    content = losses.content(maps, goal, layers.content, relative=True)
    style = losses.gram(maps, targets, relative=True)
    smooth = losses.total_variation(picture)
    return (
      weights.content * content
      + weights.style * style
      + weights.variation * smooth
    )

  return loss


def _run(
  network: Any,
  picture: Images,
  state: Any,
  goal: dict[str, Array],
  targets: list[losses.StyleTarget],
  count: Array,
  layers: Layers,
  weights: Weights,
) -> tuple[Images, Any, Float[Array, ""]]:
  """`count` iterations."""
  loss, solver = _loss(network, goal, targets, layers, weights), _solver()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def body(_: Array, carry: tuple[Images, Any]) -> tuple[Images, Any]:
    picture, state = carry
    value, grad = value_and_grad(picture, state=state)
    updates, state = solver.update(
      grad, state, picture, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(picture, updates), state

  picture, state = jax.lax.fori_loop(0, count, body, (picture, state))
  return picture, state, optax.tree_utils.tree_get(state, "value")


_advance = jax.jit(_run, static_argnums=(6, 7))


def _resized(image: Images, height: int, width: int) -> Images:
  return resample.area(image[0], (max(height, 1), max(width, 1)))[None]
