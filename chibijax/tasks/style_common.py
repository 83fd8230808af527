"""What both style tasks share: the frozen feature network, and the step.

The losses look through a feature network that is not trained. Its weights are
in the state as `params["features"]`, so that a trained run needs no other file,
under one key that names their training and the SHA-256 of their file: a run
resumed with another file is refused, because its tree is another.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core import optim
from chibijax.core.types import (
  Axis,
  Batch,
  Metrics,
  Params,
  TrainState,
)
from chibijax.errors import UserError
from chibijax.losses import style as losses
from chibijax.models import features as feature_networks
from chibijax.ops import image as image_ops

Images: TypeAlias = Float[Array, "b h w 3"]
Maps: TypeAlias = dict[str, Array]

FEATURES = "features"
UNTRAINED = "random"
# The layer before the first: the picture's own colours.
PIXELS = "pixels"


@runtime_checkable
class Features(Protocol):
  """A frozen network: its weights, and its layers as a function of them."""

  def init(self, key: PRNGKeyArray) -> Params:
    """Reads the weights."""
    ...

  def __call__(
    self, params: Params, x: Images, names: Sequence[str]
  ) -> dict[str, Array]:
    """Layers by name of pictures in [-1, 1]."""
    ...


@dataclasses.dataclass(frozen=True)
class FrozenNetwork:
  """A network of `models.features`, with the picture itself as "pixels".

  Attributes:
    name: "squeezenet", "vgg16", "vgg19" or "alexnet".
    weights: its file, or a folder with it; "" asks the environment variable,
      "random" takes weights that have learnt nothing, for tests.
    depth: the layers that will be asked for; weights beyond them are dropped.
    normalize: divide each layer by its root mean square over smooth noise, so
      that all have about the same size, as in the rescaled VGG of Gatys et al.
      and AdaIN; networks with ReLUs allow it. The units differ by a
      thousand between published weights.
    zoom: how much pictures are enlarged before the network sees them, which
      makes up for a stride in its first layer: without, it is blind to fine
      stripes, and a network trained through it draws them.
  """

  name: str
  weights: str
  depth: tuple[str, ...]
  normalize: bool = False
  zoom: int = 1

  def init(self, key: PRNGKeyArray) -> Params:
    """Reads the weights, those of the layers that are needed.

    Args:
      key: of the noise that layers are measured on.

    Returns:
      One entry, named by the weights' origin and the SHA-256 of their file.

    Raises:
      UserError: if they are missing, or there is no such layer.
    """
    # Weights are constants, also where the first state is being traced.
    with jax.ensure_compile_time_eval():
      if self.weights == UNTRAINED:
        net = feature_networks.untrained(self.name, jax.random.key(0))
      else:
        net = feature_networks.load(self.name, self.weights or None)
      used = _Recorder(net.params)
      blank = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
      try:
        recorded = net.replace(params=used)
        jax.eval_shape(lambda x: recorded.layers(x, _inner(self.depth)), blank)
      except ValueError as error:
        raise UserError(str(error)) from error
    title = f"{net.source}-{net.sha256[:16]}".rstrip("-")
    layers = {name: net.params[name] for name in used.names}
    frozen = {title: {"layers": layers, "scales": {}}}
    if self.normalize:
      maps = self(frozen, _noise(key), self.depth)
      frozen[title]["scales"] = {
        name: jnp.sqrt(jnp.square(value).mean()) for name, value in maps.items()
      }
    return frozen

  def __call__(
    self, params: Params, x: Images, names: Sequence[str]
  ) -> dict[str, Array]:
    """Layers by name of pictures in [-1, 1]."""
    ((title, frozen),) = params.items()
    net = feature_networks.Network(
      params=frozen["layers"],
      name=self.name,
      source=title.partition("-")[0],
    )
    shape = (x.shape[0], self.zoom * x.shape[1], self.zoom * x.shape[2], 3)
    seen = jax.image.resize(x, shape, "linear") if self.zoom > 1 else x
    maps = net.layers(seen, _inner(names))
    if PIXELS in names:
      maps[PIXELS] = x
    scales = frozen["scales"]
    return {k: v / scales[k] if scales else v for k, v in maps.items()}


def _inner(names: Sequence[str]) -> tuple[str, ...]:
  return tuple(name for name in names if name != PIXELS)


class _Recorder(dict):
  """Parameters that remember which layers were asked for."""

  def __init__(self, params: Params) -> None:
    super().__init__(params)
    self.names: dict[str, None] = {}

  def __getitem__(self, name: str) -> Any:
    self.names[name] = None
    return super().__getitem__(name)


@dataclasses.dataclass(frozen=True)
class StyleTask:
  """What both tasks share.

  Attributes:
    net: the network that is trained, `params[NET]`.
    features: the frozen network, `params["features"]`.
    optimizer: of the trained network.
    content: weight of the content loss.
    style: weight of the style loss.
    style_layers: layers that the style loss looks at.
    variation: weight of the total variation.
    ema: decay of the trained network's average; 0 keeps none.
    axis: the data axis.
  """

  net: Any
  features: Features
  optimizer: optax.GradientTransformation
  content: float
  style: float
  style_layers: tuple[str, ...]
  variation: float = 0.0
  ema: float = 0.0
  axis: Axis = dataclasses.field(default_factory=Axis)

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Makes one update; see `core.types.Task`."""
    del key
    images, styles = (image_ops.signed(batch[f"image_{d}"]) for d in "ab")
    frozen = state.params[FEATURES]

    def loss(params: Params) -> tuple[Array, Metrics]:
      return self.loss(params, frozen, images, styles)

    (_, metrics), grads = jax.value_and_grad(loss, has_aux=True)(
      state.params[self.NET]
    )
    updates, opt = self.optimizer.update(
      grads, state.opt[self.NET], state.params[self.NET]
    )
    params = optax.apply_updates(state.params[self.NET], updates)
    ema = state.ema
    if self.ema:
      ema = {self.NET: optim.ema_update(ema[self.NET], params, self.ema)}
    state = state.replace(
      step=state.step + 1,
      params={**state.params, self.NET: params},
      opt={self.NET: opt},
      ema=ema,
    )
    return state, self.axis.mean(metrics)

  def weigh(
    self,
    content: Float[Array, ""],
    style: Float[Array, ""],
    pictures: Images,
  ) -> tuple[Float[Array, ""], Metrics]:
    """Adds up the losses by their weights.

    Args:
      content: the content loss.
      style: the style loss.
      pictures: what the network made, for their total variation.

    Returns:
      The loss and metrics, which are unweighted.
    """
    variation = losses.total_variation(pictures)
    total = self.content * content + self.style * style
    total += self.variation * variation
    return total, {
      "loss/total": total,
      "loss/content": content,
      "loss/style": style,
      "loss/variation": variation,
    }

  def make_state(self, params: Params, frozen: Params) -> TrainState:
    """The first state.

    Args:
      params: of the network that is trained.
      frozen: of the feature network.

    Returns:
      The state at step 0.
    """
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={self.NET: params, FEATURES: frozen},
      opt={self.NET: self.optimizer.init(params)},
      ema={self.NET: jax.tree.map(jnp.copy, params)} if self.ema else {},
    )


def _noise(key: PRNGKeyArray) -> Images:
  """Pictures with coarse and fine structure, about as varied as photos."""
  sides = (6, 24, 96)
  parts = [
    jax.image.resize(
      0.35 * jax.random.normal(k, (2, side, side, 3)), (2, 96, 96, 3), "linear"
    )
    for k, side in zip(jax.random.split(key, len(sides)), sides)
  ]
  return jnp.clip(sum(parts), -1, 1)


def each_example(loss: Any, found: Maps, goal: Maps) -> Float[Array, " b"]:
  """A loss for each example instead of their mean.

  Args:
    loss: a function of two dicts of feature maps.
    found: its first argument for the whole batch.
    goal: its second.

  Returns:
    The losses.
  """

  def one(x: Maps, y: Maps) -> Array:
    return loss(*({k: v[None] for k, v in maps.items()} for maps in (x, y)))

  return jax.vmap(one)(found, goal)


def checked_shape(spec: Batch, multiple: int) -> tuple[int, int]:
  """Height and width of both domains' pictures.

  Args:
    spec: the batch's.
    multiple: what both sides must be multiples of.

  Raises:
    UserError: if the networks cannot take them.
  """
  shapes = [tuple(spec[f"image_{d}"].shape[1:]) for d in "ab"]
  height, width, channels = shapes[0]
  if shapes[0] != shapes[1] or channels != 3:
    raise UserError(
      f"Both domains need RGB pictures of one size, got {shapes[0]} and "
      f"{shapes[1]}."
    )
  if height % multiple or width % multiple or min(height, width) < 32:
    raise UserError(
      f"data.size gives pictures of {height}x{width}; style needs sides that "
      f"are multiples of {multiple} and at least 32 pixels."
    )
  return height, width
