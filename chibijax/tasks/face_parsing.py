"""Reading faces, learned from the artist's portraits: landmarks or masks.

The portraits' landmarks and labels are exact. A step aligns each portrait as a
detector would, with errors, bends it (`ops.face_views`), repaints it
(`ops.augment_faces`), and makes one update. Losses are those of the usual
practice: the mean absolute error of points (in units of the distance between
the eyes), and cross-entropy plus the soft Dice loss (Milletari et al. 2016) of
labels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from chibijax.core import optim
from chibijax.core.types import (
  Axis,
  Batch,
  Metrics,
  Params,
  Precision,
  TrainState,
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import parsing
from chibijax.models import face_parser
from chibijax.models.face_parser import LandmarkNet, SegmentNet, Window
from chibijax.ops import augment_faces, face_views

NAME = "net"
# The five points' parts among the 68: eyes, corners of the mouth.
_EYES = (slice(36, 42), slice(42, 48))
_MOUTH = (48, 54)
# Colours of the labels in sample pictures, [-1, 1].
_COLORS = np.array(
  [[-0.6, -0.6, 0.2], [0.8, -0.2, -0.6], [0.9, 0.6, 0.3], [0, 0, 0]], np.float32
)


@dataclasses.dataclass(frozen=True)
class FaceParsing:
  """The task; see `build` for what the config says of each field.

  Attributes:
    net: the network.
    window: what it sees of the canonical frame.
    optimizer: its optimiser.
    view: strengths of `ops.face_views.draw_view`, by name.
    ema: decay of the parameters' average; 0 keeps none.
    axis: the data axis.
  """

  net: LandmarkNet | SegmentNet
  window: Window
  optimizer: optax.GradientTransformation
  view: tuple[tuple[str, float], ...] = ()
  ema: float = 0.0
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the network's parameters; see `core.types.Task`.

    Raises:
      UserError: if the batches have no labels.
    """
    if not {"image", "landmarks", "label"} <= set(spec):
      raise UserError(
        "face_parsing needs labelled portraits: set data.source_a to artist,"
        " data.domain_a to labelled and data.source_b to nothing."
      )
    blank = jnp.zeros((1, self.window.side, self.window.side, 3))
    params = {NAME: self.net.init(key, blank)["params"]}
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={NAME: self.optimizer.init(params[NAME])},
      # Copies: a buffer that is in the state twice could not be donated.
      ema=jax.tree.map(jnp.copy, params) if self.ema else {},
    )

  def loss(
    self, params: Params, images: Array, points: Array, label: Array
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch as it is seen.

    Args:
      params: the network's.
      images: windows, [B, S, S, 3] in [-1, 1].
      points: [B, 68, 2] in units of the window's side.
      label: shares of the labels, [B, S, S, 4].

    Returns:
      The loss and metrics.
    """
    found = self.net.apply({"params": params}, images)
    if isinstance(self.net, LandmarkNet):
      # 1 is the distance between the eyes.
      unit = self.window.side / _unit(self.window)
      shape, peak = (unit * jnp.abs(x - points).mean() for x in found)
      loss = shape + peak
      return loss, {"loss/total": loss, "loss/shape": shape, "loss/map": peak}
    entropy = parsing.cross_entropy(found, label)
    dice = parsing.dice(jax.nn.softmax(found), label)
    loss = entropy + dice
    return loss, {
      "loss/total": loss,
      "loss/entropy": entropy,
      "loss/dice": dice,
    }

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the network once; see `Task`."""
    images, points, label = self.seen(batch, key)
    gradient = jax.value_and_grad(self.loss, has_aux=True)
    (_, metrics), grads = gradient(state.params[NAME], images, points, label)
    updates, opt = self.optimizer.update(
      grads, state.opt[NAME], state.params[NAME]
    )
    params = {NAME: optax.apply_updates(state.params[NAME], updates)}
    ema = state.ema
    if self.ema:
      ema = optim.ema_update(ema, params, self.ema)
    state = state.replace(
      step=state.step + 1, params=params, opt={NAME: opt}, ema=ema
    )
    return state, self.axis.mean(metrics)

  def seen(
    self, batch: Batch, key: PRNGKeyArray | None
  ) -> tuple[Array, Array, Array]:
    """What the network sees of a batch, and what it should find there.

    Args:
      batch: `image` uint8 [B, S, S, 3], `landmarks` [B, 68, 2] in its pixels,
        `label` uint8 [B, S, S].
      key: draws the augmentation, the same on all shards; None for none.

    Returns:
      Windows in [-1, 1], points in units of their side, shares of the labels.
    """
    pictures = batch["image"].astype(jnp.float32) / 255
    # A key for each example of the global batch, then this shard's.
    rows = self.axis.gather(jnp.arange(len(pictures))).shape[0]
    keys = jax.random.split(jax.random.key(0) if key is None else key, rows)
    # What may come behind or in front of a face: its neighbour's picture.
    others = jnp.roll(self.axis.gather(pictures), 1, 0)
    one = self._exact if key is None else self._augmented
    return jax.vmap(one)(
      self.axis.local(keys),
      pictures,
      batch["landmarks"],
      batch["label"],
      self.axis.local(others),
    )

  def _aligned(self, points: Array) -> Array:
    """Takes a portrait to the network's frame by its exact landmarks."""
    eyes = [points[part].mean(0) for part in _EYES]
    mouth = [points[k] for k in _MOUTH]
    target = self.window.place(face_parser.ANCHORS).astype(np.float32)
    return face_views.align(jnp.stack(eyes + mouth), jnp.asarray(target))

  def _exact(
    self,
    key: Key[Array, ""],
    picture: Array,
    points: Array,
    label: Array,
    other: Array,
  ) -> tuple[Array, Array, Array]:
    """One example as it is."""
    del other
    still = face_views.draw_view(
      key, self._aligned(points), points, self.window.size, 1.0
    )
    return self._look(still, picture, points, label)

  def _look(
    self, view: face_views.View, picture: Array, points: Array, label: Array
  ) -> tuple[Array, Array, Array]:
    shares = augment_faces.one_hot(label)
    window = self.window
    planes = face_views.see(
      view,
      jnp.concatenate([picture, shares], -1),
      window.side,
      window.side,
      window.corner,
    )
    corner = jnp.array(window.corner, jnp.float32)[None]
    points = (face_views.see_points(view, points) - corner) / window.side
    return planes[..., :3] * 2 - 1, points, planes[..., 3:]

  def _augmented(
    self,
    key: Key[Array, ""],
    picture: Array,
    points: Array,
    label: Array,
    other: Array,
  ) -> tuple[Array, Array, Array]:
    """One example, augmented."""
    keys = jax.random.split(key, 6)
    flip = jax.random.uniform(keys[0]) < 0.5
    width = picture.shape[1]
    mirrored = points[face_views.MIRRORED]
    mirrored = jnp.stack([width - mirrored[:, 0], mirrored[:, 1]], -1)
    points = jnp.where(flip, mirrored, points)
    picture = jnp.where(flip, picture[:, ::-1], picture)
    label = jnp.where(flip, label[:, ::-1], label)
    view = face_views.draw_view(
      keys[1],
      self._aligned(points),
      points,
      self.window.size,
      _unit(self.window),
      **dict(self.view),
    )
    picture, points, label = self._look(view, picture, points, label)
    side = self.window.side
    other = jax.image.resize(other, (side, side, 3), "nearest")
    picture = (picture + 1) / 2
    picture = augment_faces.change_parts(keys[2], picture, label, other)
    picture, covered = augment_faces.occlude(keys[3], picture, other)
    rest = jnp.arange(face_parser.CLASSES) == 3
    label = label + covered * (rest.reshape(1, 1, -1) - label)
    picture = augment_faces.relight(keys[4], picture)
    picture = augment_faces.photograph(keys[5], picture)
    return picture * 2 - 1, points, label

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Reads held-out portraits, exactly aligned and as drawn.

    Returns:
      `image/input`, `image/output`; of landmarks `metric/error`, the mean
      distance in units of that between the outer corners of the eyes; of
      masks `metric/iou_NAME`.
    """
    del key
    images, points, label = self.seen(batch, None)
    params = inference_params(state)[NAME]
    found = self.net.apply({"params": params}, images)
    if isinstance(self.net, LandmarkNet):
      found = sum(found) / 2
      return {
        "image/input": images,
        "image/output": jax.vmap(_dotted)(images, found),
        "metric/error": parsing.point_error(found, points),
      }
    shares = jax.nn.softmax(found)
    colors = jnp.asarray(_COLORS)
    out = {
      "image/input": images,
      "image/output": shares @ colors,
      "image/label": label @ colors,
    }
    for k, name in enumerate(augment_faces.LABELS):
      of = (x.argmax(-1) == k for x in (shares, label))
      out[f"metric/iou_{name}"] = parsing.iou(*of)
    return out


def _unit(window: Window) -> float:
  """Distance between the eyes in pixels of the frame."""
  eyes = window.place(face_parser.ANCHORS)[:2, 0]
  return float(eyes[1] - eyes[0])


def _dotted(image: Array, points: Array) -> Array:
  """A picture with a bright dot at each point."""
  height, width, _ = image.shape
  at = (points * jnp.array([[width, height]])).astype(jnp.int32)
  return image.at[at[:, 1], at[:, 0]].set(
    jnp.array([[-1.0, 1.0, -1.0]]), mode="drop"
  )


def build(config: Any, axis: Axis | None = None) -> FaceParsing:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.name`
      ("landmarks" or "segment"), `model.widths`, `model.blocks`, `view`,
      `optim`, `total_steps`, `precision` and `ema`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if `model.name` is unknown or a value is out of range.
  """
  kinds = {
    "landmarks": (LandmarkNet, face_parser.LANDMARKS),
    "segment": (SegmentNet, face_parser.SEGMENT),
  }
  if config.model.name not in kinds:
    raise UserError(
      f"model.name is {config.model.name!r}, expected 'landmarks' or 'segment'."
    )
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  net, window = kinds[config.model.name]
  axis = axis or Axis()
  return FaceParsing(
    net=net(
      tuple(config.model.widths),
      tuple(config.model.blocks),
      dtype=Precision(config.precision).dtype,
    ),
    window=window,
    optimizer=optim.make(config.optim, config.total_steps, axis),
    view=tuple(config.view.items()),
    ema=config.ema,
    axis=axis,
  )
