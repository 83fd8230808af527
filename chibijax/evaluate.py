"""Evaluation: the loop calls it, and so does `--mode=evaluate`.

Networks are applied to the whole held-out set in a fixed order; every metric
is the mean over its examples (padding of the last batch is masked out).
"""

import functools
import importlib
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import clu.metrics
import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from chibijax.core import checkpoint, parallel, warm_start, workdir
from chibijax.core.logging import image_grid, write_png
from chibijax.core.types import Batch, TrainState
from chibijax.data import pipeline
from chibijax.errors import UserError
from chibijax.metrics import collect, psnr_ssim, suite

# The pictures that are judged, and what they are judged by when it is known.
OUTPUT, TARGET = "image/output", "image/target"


def run_eval(
  eval_step: Callable[..., dict[str, Any]],
  state: TrainState,
  batches: Iterable[Batch],
  key: PRNGKeyArray,
  placement: parallel.Placement,
  *,
  rows: int = 8,
  collector: collect.Collector | None = None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
  """Applies a task to a held-out set.

  Args:
    eval_step: the compiled `Task.eval_step`, results replicated.
    state: the state to judge.
    batches: this process's rows of each batch, with a `mask`.
    key: the run's key.
    placement: where batches go.
    rows: how many examples to keep for the sample grid.
    collector: is given everything, for metrics of sets; None for none.

  Returns:
    Means by metric name, and pictures in [-1, 1] by column title.
  """
  totals: dict[str, Any] = {}
  columns: dict[str, list[np.ndarray]] = {}
  kept = 0
  for index, batch in enumerate(batches):
    outputs = eval_step(
      state, placement.put(batch), jax.random.fold_in(key, index)
    )
    outputs = parallel.fetch(outputs)
    parallel.beat()
    mask = outputs.pop("mask")
    if collector is not None:
      collector.add(outputs, mask)
    for name, values in _per_example(outputs).items():
      part = clu.metrics.Average.from_model_output(values=values, mask=mask)
      totals[name] = totals[name].merge(part) if name in totals else part
    if kept < rows:
      good = np.flatnonzero(mask)[: rows - kept]
      kept += len(good)
      for name, picture in outputs.items():
        if name.startswith("image/"):
          columns.setdefault(name.removeprefix("image/"), []).append(
            picture[good]
          )
  metrics = {name: float(total.compute()) for name, total in totals.items()}
  return metrics, {n: np.concatenate(parts) for n, parts in columns.items()}


def _per_example(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The task's own metrics, and pixel metrics where the truth is known."""
  values = {
    name.removeprefix("metric/"): value
    for name, value in outputs.items()
    if name.startswith("metric/")
  }
  if TARGET in outputs:
    output, target = ((outputs[n] + 1) / 2 for n in (OUTPUT, TARGET))
    values["l1"] = np.abs(output - target).mean((1, 2, 3))
    values["psnr"] = np.asarray(psnr_ssim.psnr(output, target))
    values["ssim"] = np.asarray(psnr_ssim.ssim(output, target))
  return values


def with_mask(
  eval_step: Callable[..., dict[str, Any]], also: tuple[str, ...] = ()
) -> Callable[..., Any]:
  """Hands the batch's mask through, so that every host sees all of it.

  Args:
    eval_step: `Task.eval_step`.
    also: more of the batch to hand through, where it is there.

  Returns:
    The step to compile.
  """

  def step(
    state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Any]:
    kept = {name: batch[name] for name in also if name in batch}
    return eval_step(state, batch, key) | {"mask": batch["mask"]} | kept

  return step


def evaluate(config: ConfigDict, folder: str | pathlib.Path) -> dict[str, Any]:
  """Judges a run's newest checkpoint; writes `metrics.json` and a grid.

  Args:
    config: the run's config. Its `metrics` names metrics of sets to compute as
      well (`metrics.suite`), such as ("kid_squeeze", "lpips_squeeze"), with
      feature networks' weights from `feature_weights`, a folder or file, or
      from where the environment says.
    folder: the run's folder.

  Returns:
    What was written: the step, the number of examples, the metrics; under
    `set_metrics` those of sets with intervals and what was compared.

  Raises:
    UserError: if there is no checkpoint, or a metric of sets cannot be had.
  """
  wanted = tuple(config.get("metrics", ()))
  # What cannot be is said before anything is computed; whether there are pairs
  # shows with the first batch.
  suite.check_names(wanted, paired=True)
  folder = pathlib.Path(folder).absolute()
  config = warm_start.resolve(config, folder)
  placement = parallel.make_placement("jit", config.data.batch_size)
  held_out = make_pipeline(config, "eval")
  task = importlib.import_module(f"chibijax.tasks.{config.task}").build(config)
  key = jax.random.key(config.seed)
  spec = {k: v for k, v in held_out.spec.items() if k != "mask"}
  target = placement.abstract(jax.eval_shape(lambda k: task.init(k, spec), key))
  with checkpoint.Checkpointer(folder, config.keep) as checkpoints:
    step = checkpoints.latest()
    if step is None:
      raise UserError(f"{folder} holds no checkpoint to evaluate.")
    state, _ = checkpoints.restore(target, step)
  collector = collect.Collector() if wanted else None
  metrics, pictures = run_eval(
    placement.compile_eval(
      with_mask(task.eval_step, ("image_b",) if wanted else ())
    ),
    state,
    held_out.iterator(),
    placement.replicate(key),
    placement,
    collector=collector,
  )
  report = {
    "step": step,
    "examples": held_out.examples,
    "data": held_out.description,
    "metrics": metrics,
  }
  if collector is not None:
    find = functools.partial(
      suite.find_weights, where=config.get("feature_weights", "")
    )
    report["set_metrics"] = collector.measure(
      wanted, find, f"{folder.name}, step {step}"
    )
  if parallel.is_primary():
    workdir.write_text(
      folder / "metrics.json", json.dumps(report, indent=2) + "\n"
    )
    (folder / "samples").mkdir(exist_ok=True)
    write_png(folder / "samples" / "evaluation.png", image_grid(pictures))
  return report


def make_pipeline(config: ConfigDict, split: str) -> pipeline.Pipeline:
  """This process's part of a split of the config's data."""
  return pipeline.make(
    config.data,
    split=split,
    batch_size=config.data.batch_size,
    seed=config.seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
