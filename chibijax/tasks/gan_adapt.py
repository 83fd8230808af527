"""A trained generator learns another style from one to twenty pictures.

`config.init_from` names the training of a GAN. Its generator goes on against
its own discriminator, on the few pictures, held by:

* distance consistency (Ojha et al. 2021): pictures that the first generator
  made alike stay alike, measured on the maps of every resolution;
* frozen layers: of the generator what turns latents into the first map, of the
  discriminator those nearest the picture (Mo et al. 2020, FreezeD);
* DiffAugment (Zhao et al. 2020), R1, and a small learning rate;
* an early stop: once the order of distances between pictures is kept less than
  `least_order`, nothing changes any more (`stopped` in the log).

With `loss.consistency` 0, nothing frozen and `least_order` -1 it is plain
fine-tuning.
"""

import dataclasses
import importlib
from typing import Any

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
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import correspondence
from chibijax.models import stages
from chibijax.ops import diff_augment
from chibijax.ops import image as image_ops
from chibijax.tasks.gan_parts import LOSSES, Anneal, Augment
from chibijax.tasks.gan_step import Gan

# Of the running average of how the order of distances is kept.
_ORDER_DECAY = 0.9
# Columns of the grid of an evaluation.
_PAIRS = 3


@dataclasses.dataclass(frozen=True)
class GanAdapt:
  """The task; see `build` for what the config says of each field.

  Attributes:
    gan: the GAN that goes on, with this task's losses and optimisers.
    consistency: weight of the distance consistency; 0 computes none.
    compared: latents whose pictures are compared with each other, >= 3.
    least_order: correlation of distances below which it stops.
  """

  gan: Gan
  consistency: float
  compared: int
  least_order: float

  @property
  def latent(self) -> int:
    """Numbers of a latent."""
    return self.gan.latent

  @property
  def size(self) -> int:
    """Side of the pictures, in pixels."""
    return self.gan.size

  @property
  def conditional(self) -> bool:
    """Whether the generator must be told labels."""
    return self.gan.conditional

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """The shapes of the first state, which `adopt` fills; see `Task`.

    Raises:
      UserError: as `Gan.init`.
    """
    state = self.gan.init(key, spec)
    return state.replace(
      extra={
        **state.extra,
        "source": jax.tree.map(jnp.copy, _generator(state.params)),
        "order": jnp.ones(()),
        "stopped": jnp.zeros((), bool),
      }
    )

  def adopt(
    self, state: TrainState, params: dict[str, Params], ema: dict[str, Params]
  ) -> TrainState:
    """Starts from a GAN's networks: the averaged generator, where there is one.

    Args:
      state: from `init`.
      params: the GAN's networks by name.
      ema: its averaged ones.

    Returns:
      The first state.

    Raises:
      UserError: if the run has other networks, or others of them.
    """
    given = {**params, **ema}
    if missing := sorted(state.params.keys() - given.keys()):
      raise UserError(
        f"init_from has no network {missing[0]!r}: give a training of a GAN, "
        "not an export of its generator alone."
      )
    taken = {name: given[name] for name in state.params}
    same = jax.tree.structure(taken) == jax.tree.structure(state.params)
    shapes = [jnp.shape(x) for x in jax.tree.leaves(taken)]
    if not same or shapes != [x.shape for x in jax.tree.leaves(state.params)]:
      raise UserError(
        "init_from has networks of other sizes than its config says."
      )
    # The state must not hold a buffer twice, or it could not be donated.
    return state.replace(
      params=taken,
      ema={name: jax.tree.map(jnp.copy, taken[name]) for name in state.ema},
      extra={
        **state.extra,
        "source": jax.tree.map(jnp.copy, _generator(taken)),
      },
    )

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator, then the generator; see `Task`."""
    gan, params = self.gan, state.params
    real = image_ops.to_float(batch["image"])
    labels = batch["attributes"] if gan.conditional else None
    make_key, disc_key, gen_key, same_key = jax.random.split(key, 4)

    fake, _ = gan._make(params, labels, make_key, len(real))
    grads, metrics = jax.grad(gan.discriminator_loss, has_aux=True)(
      params["disc"], real, fake, labels, disc_key, state.step, state.extra
    )
    updates, disc_opt = gan.disc_optimizer.update(
      grads, state.opt["disc"], params["disc"]
    )
    params = {**params, "disc": optax.apply_updates(params["disc"], updates)}

    def loss(gen: Params) -> tuple[Array, tuple[Metrics, dict[str, Params]]]:
      fooled, stats = gan.generator_loss(
        gen, params, real, labels, gen_key, state.extra
      )
      found = {"loss/generator": fooled}
      far, found["order"] = self._compare(
        {**params, "gen": gen}, state.extra["source"], labels, same_key
      )
      found["loss/consistency"] = far
      return fooled + self.consistency * far, (found, stats)

    grads, (found, stats) = jax.grad(loss, has_aux=True)(params["gen"])
    updates, gen_opt = gan.gen_optimizer.update(
      grads, state.opt["gen"], params["gen"]
    )
    gen = optax.apply_updates(params["gen"], updates)
    new = state.replace(
      params={**params, "gen": gen, **stats},
      opt={"gen": gen_opt, "disc": disc_opt},
      ema=gan._averaged(state, gen),
    )
    metrics = gan.axis.mean({**found, **metrics})
    return self._unless_stopped(state, new, metrics)

  def _unless_stopped(
    self, old: TrainState, new: TrainState, metrics: Metrics
  ) -> tuple[TrainState, Metrics]:
    """The next state, which is the old one once the order is lost."""
    order = optim.ema_update(old.extra["order"], metrics["order"], _ORDER_DECAY)
    stopped = old.extra["stopped"] | (order < self.least_order)
    kept = jax.tree.map(
      lambda was, now: jnp.where(old.extra["stopped"], was, now),
      (old.params, old.opt, old.ema),
      (new.params, new.opt, new.ema),
    )
    state = old.replace(
      step=old.step + 1,
      params=kept[0],
      opt=kept[1],
      ema=kept[2],
      extra={**old.extra, "order": order, "stopped": stopped},
    )
    return state, {**metrics, "stopped": stopped.astype(jnp.float32)}

  def _compare(
    self,
    params: dict[str, Params],
    source: dict[str, Params],
    labels: Array | None,
    key: PRNGKeyArray,
  ) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Distance consistency, and how the order of distances is kept.

    The latents are the same on all shards, and so is what is made of them.
    """
    z = jax.random.normal(key, (self.compared, self.latent))
    if labels is not None:
      # The same labels for all: what differs is the latent.
      first = self.gan.axis.gather(labels)[:1]
      labels = jnp.broadcast_to(first, (self.compared, first.shape[1]))
    here = self._maps(params, z, labels)
    there = self._maps(source, z, labels)
    order = correspondence.order_kept(there[self.size], here[self.size])
    if not self.consistency:
      return jnp.zeros(()), order
    parts = [
      correspondence.distance_consistency(there[side], here[side])
      for side in sorted(here)
    ]
    return jnp.stack(parts).mean(), order

  def _maps(
    self, params: dict[str, Params], z: Array, labels: Array | None
  ) -> stages.Maps:
    variables = {"params": params["gen"]}
    if "gen_stats" in params:
      variables["stats"] = params["gen_stats"]
    given = (labels,) if self.conditional else ()
    return stages.run(self.gan.generator, variables, z, *given)[1]

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Draws pictures of both generators, from the same latents.

    Returns:
      `image/given`; `image/sample_0_before`, `image/sample_0_now`, ...
    """
    real = image_ops.to_float(batch["image"])
    labels = batch["attributes"] if self.conditional else None
    z = jax.random.normal(key, (_PAIRS, len(real), self.latent))
    out = {"image/given": real}
    for i in range(_PAIRS):
      for name, params in (
        ("before", state.extra["source"]),
        ("now", inference_params(state)),
      ):
        out[f"image/sample_{i}_{name}"] = self.generate(params, z[i], labels)
    return out

  def generate(
    self,
    params: Params,
    z: Float[Array, "b n"],
    labels: Float[Array, "b k"] | None = None,
  ) -> Float[Array, "b h w 3"]:
    """Pictures in [-1, 1] of latents; see `Gan.generate`."""
    return self.gan.generate(params, z, labels)


def build(config: Any, axis: Axis | None = None) -> GanAdapt:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `source`, the GAN's
      own config, which the loop adds for `init_from`; `data.size` as there;
      `loss.name`, `loss.r1`, `loss.r2`, `loss.consistency`; `freeze.gen` and
      `freeze.disc`, beginnings of the names of layers that stay as they are;
      `compared`, `least_order`, `half_life` (pictures; 0: no average),
      `augment.name` ("none" or "diffaugment") and its `policies`, `optim`,
      `total_steps`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if there is no GAN, or values do not fit.
  """
  _check_config(config)
  axis = axis or Axis()
  source = config.source
  while source.task == "gan_adapt":
    source = source.source
  gan = importlib.import_module(f"chibijax.tasks.{source.task}").build(
    source, axis
  )
  if gan.size != config.data.size:
    raise UserError(
      f"data.size is {config.data.size}, and the generator of init_from makes "
      f"pictures of {gan.size} pixels: set data.size to that."
    )
  loss = config.loss
  half_life = None
  if config.half_life:
    steps = config.half_life / config.data.batch_size
    half_life = Anneal(steps, steps, 1)
  gan = dataclasses.replace(
    gan,
    gen_optimizer=_optimizer(config, config.freeze.gen, axis),
    disc_optimizer=_optimizer(config, config.freeze.disc, axis),
    losses=LOSSES[loss.name],
    r1=loss.r1,
    r2=loss.r2,
    gradient_penalty=0.0,
    penalty_scale=Anneal(1.0, 1.0, 1),
    critic_steps=1,
    half_life=half_life,
    augment=Augment(config.augment.name, tuple(config.augment.policies)),
  )
  return GanAdapt(gan, loss.consistency, config.compared, config.least_order)


def _check_config(config: Any) -> None:
  if not config.get("source"):
    raise UserError(
      "gan_adapt starts from a trained GAN: set init_from to its workdir."
    )
  if not str(config.source.task).startswith("gan"):
    raise UserError(
      f"init_from is a run of the task {config.source.task!r}; gan_adapt "
      "starts from a GAN's."
    )
  if config.loss.name not in LOSSES:
    names = ", ".join(map(repr, LOSSES))
    raise UserError(
      f"loss.name is {config.loss.name!r}, expected one of {names}."
    )
  if config.compared < 3:
    raise UserError(f"compared is {config.compared}, expected at least 3.")
  if config.loss.consistency < 0 or not -1 <= config.least_order <= 1:
    raise UserError(
      "loss.consistency must not be negative and least_order must lie in "
      f"[-1, 1], got {config.loss.consistency} and {config.least_order}."
    )
  if config.augment.name not in ("none", "diffaugment"):
    raise UserError(
      f"augment.name is {config.augment.name!r}, expected 'none' or "
      "'diffaugment'."
    )
  if unknown := set(config.augment.policies) - set(diff_augment.POLICIES):
    raise UserError(
      f"augment.policies has {sorted(unknown)}, expected of "
      f"{diff_augment.POLICIES}."
    )


def _optimizer(
  config: Any, frozen: tuple[str, ...], axis: Axis
) -> optax.GradientTransformation:
  """The config's optimiser, which leaves frozen layers alone."""

  def is_frozen(params: Params) -> Params:
    found = jax.tree_util.tree_map_with_path(
      lambda path, _: str(path[0].key).startswith(frozen), params
    )
    if frozen and all(jax.tree.leaves(found)):
      raise UserError(f"freeze names every layer: {list(frozen)}.")
    return found

  inner = optim.make(config.optim, config.total_steps, axis)
  if not frozen:
    return inner
  return optax.chain(inner, optax.masked(optax.set_to_zero(), is_frozen))


def _generator(params: dict[str, Params]) -> dict[str, Params]:
  """What a generator needs of a state's networks."""
  return {k: v for k, v in params.items() if k.startswith("gen")}
