"""The contract between the training loop and a task.

Conventions used by every task and by the loop:

* A `Batch` is a flat dict of arrays whose leading axis is the batch. Pictures
  travel as uint8 sRGB, NHWC, and become float32 in [-1, 1] inside the step:
  the transfer is four times smaller and the values are exact.
* Networks are dicts keyed by name (`params["gen_ab"]`), and so are optimiser
  states. The optimisers themselves are static and live in the task.
* `Metrics` are float32 scalars named `group/name`.
"""

import dataclasses
from typing import Any, Protocol, TypeAlias, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

Batch: TypeAlias = dict[str, Any]
Metrics: TypeAlias = dict[str, Array]
Params: TypeAlias = PyTree


class TrainState(flax.struct.PyTreeNode):
  """Everything that a restart must bring back.

  Attributes:
    step: int32 scalar, number of finished training steps.
    params: parameters by network name.
    opt: optimiser states by optimiser name.
    ema: averaged parameters by network name; empty when averaging is off.
    extra: other state that must survive a restart (image pools, augmentation
      probabilities, spectral-norm vectors); empty when there is none.
  """

  step: Int[Array, ""]
  params: dict[str, Params]
  opt: dict[str, PyTree]
  ema: dict[str, Params] = flax.struct.field(default_factory=dict)
  extra: dict[str, PyTree] = flax.struct.field(default_factory=dict)


def inference_params(state: TrainState) -> dict[str, Params]:
  """Networks by name to use after training: averaged where there are such.

  Args:
    state: a training state, or what was restored of one.

  Returns:
    `params` with the entries of `ema` in place of their namesakes.
  """
  return {**state.params, **state.ema}


@dataclasses.dataclass(frozen=True)
class Axis:
  """The data axis as a step sees it.

  Under `jit` the step sees the global batch and every method is the identity.
  Under `pmap` (`name` is set) it sees one shard, and whatever is defined over
  the whole batch (image pools, random draws, batch statistics) goes through
  `gather` and `local`, so that both give the same numbers.

  Attributes:
    name: the mapped axis, or None when the step sees the global batch.
  """

  name: str | None = None

  def mean(self, tree: PyTree) -> PyTree:
    """Averages each leaf over the shards."""
    return tree if self.name is None else lax.pmean(tree, self.name)

  def gather(self, x: Array) -> Array:
    """Joins the shards along the leading axis: [B/n, ...] to [B, ...]."""
    if self.name is None:
      return x
    return lax.all_gather(x, self.name, axis=0, tiled=True)

  def local(self, x: Array) -> Array:
    """Takes this shard's rows of a global array: [B, ...] to [B/n, ...]."""
    if self.name is None:
      return x
    rows = x.shape[0] // lax.psum(1, self.name)
    return lax.dynamic_slice_in_dim(x, lax.axis_index(self.name) * rows, rows)


@dataclasses.dataclass(frozen=True)
class Precision:
  """Number formats: parameters and reductions stay float32.

  Attributes:
    compute: dtype name of the networks' activations and matrix products.
  """

  compute: str = "float32"

  @property
  def dtype(self) -> jnp.dtype:
    """The compute dtype, to hand to a Linen module as `dtype`."""
    return jnp.dtype(self.compute)


@runtime_checkable
class Task(Protocol):
  """One experiment's mathematics: a module in `chibijax.tasks` builds it.

  Each such module has `build(config, axis=Axis()) -> Task`. The methods are
  pure and traceable; a task object holds only static things.
  """

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Makes the first state.

    Args:
      key: typed PRNG key.
      spec: the global batch as a dict of `jax.ShapeDtypeStruct`.

    Returns:
      The state at step 0.
    """
    ...

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Makes one update of every network.

    Args:
      state: the current state (its buffers may be donated).
      batch: one batch.
      key: the run's key already folded with the step; the same on all shards.

    Returns:
      The next state (`step` advanced by one) and scalar metrics, averaged
      over the shards.
    """
    ...

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Applies the networks to held-out data.

    Returns:
      `image/NAME`: [B, H, W, 3] pictures in [-1, 1], the columns of the sample
      grid; `metric/NAME`: [B] values per example, which the caller averages.
      Where `image/output` has a known truth, `image/target` is it, and the
      caller adds pixel metrics between the two.
    """
    ...


def spec_of(batch: Batch) -> Batch:
  """Shapes and dtypes of a batch, as `jax.ShapeDtypeStruct`."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
