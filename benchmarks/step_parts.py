"""Times the parts of one training step; `benchmarks.step_report` writes it."""

import importlib
import pathlib
import time
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

REGULARISERS = ("r1", "r2", "gradient_penalty", "path_length")


def build(config: ConfigDict, axis: Any = None) -> Any:
  """Makes the config's task."""
  module = importlib.import_module(f"chibijax.tasks.{config.task}")
  return module.build(config) if axis is None else module.build(config, axis)


def folded(task: Any) -> Callable[..., Any]:
  """The step as the training loop runs it."""
  import jax

  return lambda state, batch, key: task.train_step(
    state, batch, jax.random.fold_in(key, state.step)
  )


def plain(config: ConfigDict) -> ConfigDict:
  """The same mathematics without loops or work done twice."""
  bare = config.copy_and_resolve_references()
  with bare.unlocked():
    bare.microbatches = 1
    for part in (bare.model, *bare.model.values()):
      if isinstance(part, ConfigDict) and "remat" in part:
        part.remat = False
  return bare


def parts(subject: Any, repeats: int, folder: pathlib.Path) -> dict:
  """Times parts of a step, each compiled alone.

  They overlap and share work in the real step, so they need not add up to it.

  Args:
    subject: a `step_report.Subject` with a state.
    repeats: how often each is run.
    folder: for a checkpoint.

  Returns:
    Median seconds by part: `generator`, `discriminator` and `optimiser` where
    the task has them as CycleGAN does, `regulariser` as the difference of two
    whole steps where the loss has one, `checkpoint` and `eval` (one batch).
  """
  found = {}
  found |= _networks(subject, repeats)
  found |= _regulariser(subject, repeats)
  found |= _around(subject, repeats, folder)
  return found


def _networks(subject: Any, repeats: int) -> dict[str, float]:
  import jax

  from chibijax.ops import image
  from chibijax.tasks import translation_common as common
  from chibijax.tasks import translation_cyclegan as cyclegan

  if not isinstance(subject.task, cyclegan.CycleGan):
    return {}
  # Seen as a whole: the compiler places the reductions of these.
  task, state = build(plain(subject.config)), subject.state
  gen = common.pick(state.params, cyclegan.GENERATORS)
  disc = common.pick(state.params, cyclegan.DISCRIMINATORS)
  batch = _one_batch(subject)
  pictures = tuple(image.signed(batch[f"image_{x}"]) for x in "ab")
  generator = jax.jit(jax.value_and_grad(task.generator_loss, has_aux=True))
  discriminator = jax.jit(
    jax.value_and_grad(task.discriminator_loss, has_aux=True)
  )

  @jax.jit
  def optimiser(gen, disc, gen_grads, disc_grads, opt):
    return (
      common.update(task.gen_optimizer, gen_grads, opt["gen"], gen),
      common.update(task.disc_optimizer, disc_grads, opt["disc"], disc),
    )

  (_, (fakes, _)), gen_grads = generator(gen, pictures, disc)
  _, disc_grads = discriminator(disc, (pictures, fakes))
  return {
    "generator": _median(lambda: generator(gen, pictures, disc), repeats),
    "discriminator": _median(
      lambda: discriminator(disc, (pictures, fakes)), repeats
    ),
    "optimiser": _median(
      lambda: optimiser(gen, disc, gen_grads, disc_grads, state.opt), repeats
    ),
  }


def _regulariser(subject: Any, repeats: int) -> dict[str, float]:
  import jax

  loss = subject.config.get("loss", {})
  names = [name for name in REGULARISERS if loss.get(name, 0)]
  if not names:
    return {}
  without = subject.config.copy_and_resolve_references()
  with without.unlocked():
    without.loss.update({name: 0.0 for name in names})
  step, _ = subject.compile(build(without, subject.placement.axis))
  batch = _one_batch(subject)
  seconds = []
  for function in (subject.step, step):

    def run(function: Any = function) -> Any:
      # The step eats its state.
      subject.state, metrics = function(subject.state, batch, subject.key)
      return jax.block_until_ready(metrics)

    seconds.append(_median(run, repeats))
  return {"regulariser": seconds[0] - seconds[1]}


def _around(
  subject: Any, repeats: int, folder: pathlib.Path
) -> dict[str, float]:
  """A checkpoint, until it is on the disk, and one batch of evaluation."""
  import jax

  from chibijax import evaluate
  from chibijax.core import checkpoint

  began = time.perf_counter()
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(int(subject.state.step), subject.state, {"batches": 0})
    checkpoints.wait()
  found = {"checkpoint": time.perf_counter() - began}
  # Evaluation sees the whole batch, whatever the step sees.
  task = build(subject.config)
  step = subject.placement.compile_eval(task.eval_step)
  held_out = evaluate.make_pipeline(subject.config, "eval")
  with held_out.iterator() as batches:
    batch = subject.placement.put(next(iter(batches)))
  key = jax.random.key(0)
  found["eval batch"] = _median(
    lambda: step(subject.state, batch, key), repeats
  )
  return found


def _one_batch(subject: Any) -> Any:
  with subject.data.iterator() as batches:
    return subject.placement.put(next(batches))


def _median(function: Callable[[], Any], repeats: int) -> float:
  import jax

  jax.block_until_ready(function())
  seconds = []
  for _ in range(repeats):
    began = time.perf_counter()
    jax.block_until_ready(function())
    seconds.append(time.perf_counter() - began)
  return sorted(seconds)[len(seconds) // 2]
