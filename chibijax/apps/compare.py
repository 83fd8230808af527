"""Two folders of pictures, compared: `chibijax compare`."""

import collections
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from chibijax.apps import fetch, photos
from chibijax.core import workdir
from chibijax.data.images import Reader
from chibijax.errors import UserError
from chibijax.metrics import fairness, report, suite

# Side of the squares that pictures can be read as.
MAX_SIZE = 4096


@dataclasses.dataclass(frozen=True)
class Options:
  """How to compare.

  Attributes:
    weights: folder or file of weights; None: environment and cache.
    groups: CSV of labels; None for none.
    least: pictures that a group needs.
    size: side that pictures are read at; None: their own.
    reference: "target" or "source".
    at: examples of the Frechet distance; None: all.
    block: of KID.
    seed: of all draws.
    progress: show bars.
  """

  weights: pathlib.Path | None = None
  groups: pathlib.Path | None = None
  least: int = fairness.LEAST
  size: int | None = None
  reference: str = "target"
  at: int | None = None
  block: int = 1000
  seed: int = 0
  progress: bool = False


def compare(
  real: pathlib.Path,
  fake: pathlib.Path,
  wanted: tuple[str, ...],
  options: Options,
) -> tuple[dict[str, Any], list[str]]:
  """Compares two folders.

  Files of the same name (without suffix, below their folder) are pairs if every
  picture that is judged has one; pictures of the reference without one are then
  left out.

  Args:
    real: the reference.
    fake: what is judged.
    wanted: names of metrics; empty: kid_squeeze, and ssim of pairs.
    options: how.

  Returns:
    The report, as `metrics.report.as_dict` makes it, and it in words.

  Raises:
    UserError: if a folder or weights are missing, pictures cannot be read, or
      a metric cannot be computed of them.
  """
  _check(options)
  reference, judged = _files(real), _files(fake)
  paired = judged.keys() <= reference.keys()
  if paired:
    reference = {name: reference[name] for name in judged}
  if not wanted:
    wanted = ("kid_squeeze", "ssim") if paired else ("kid_squeeze",)
  suite.check_names(wanted, paired=paired)
  smaller = min(len(judged), len(reference))
  if options.at is not None and not 2 <= options.at <= smaller:
    raise UserError(f"--at is {options.at}, expected 2 to {smaller}.")
  labels = (
    fairness.read_csv(options.groups, list(judged)) if options.groups else None
  )
  reader = Reader(size=options.size)
  sets = suite.Suite(
    [reader.read(path) for path in judged.values()],
    [reader.read(path) for path in reference.values()],
    paired=paired,
    find=functools.partial(find_weights, options.weights),
    key=jax.random.key(options.seed),
    block=options.block,
    at=options.at,
    progress=options.progress,
  )
  results, grouped = _measure(sets, wanted, labels, options.least)
  manifest = report.Manifest(
    judged=str(fake),
    judged_count=len(judged),
    reference=str(real),
    reference_count=len(reference),
    reference_is=options.reference,
    networks=sets.networks,
    notes=_notes(paired, options, labels),
  )
  return (
    report.as_dict(results, manifest, grouped),
    _words(results, grouped, paired),
  )


def _check(options: Options) -> None:
  if options.reference not in ("target", "source"):
    raise UserError(
      f"--reference is {options.reference!r}, expected target or source."
    )
  if options.block < 2:
    raise UserError(f"--block is {options.block}, expected 2 or more.")
  if options.size is not None and not 1 <= options.size <= MAX_SIZE:
    raise UserError(f"--size is {options.size}, expected 1 to {MAX_SIZE}.")
  if options.least < 1 or options.seed < 0:
    raise UserError(
      f"--least is {options.least} and --seed {options.seed}; expected at "
      "least 1 and 0."
    )


def write(found: dict[str, Any], out: pathlib.Path | None) -> str:
  """Writes a report.

  Args:
    found: the report.
    out: the file; None for none.

  Returns:
    Its text.

  Raises:
    UserError: if the file cannot be written.
  """
  text = report.to_json(found)
  if out is not None:
    try:
      workdir.write_text(out, text)
    except OSError as e:
      raise UserError(f"{out} cannot be written ({e.strerror}).") from e
  return text


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """The pictures of a folder by name below it, without suffix."""
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder.")
  found = {}
  for one in photos.find([str(folder)]):
    name = one.relative.with_suffix("").as_posix()
    if name in found:
      raise UserError(f"{folder} has two pictures named {name}.")
    found[name] = one.path
  if len(found) < 2:
    raise UserError(f"{folder} has {len(found)} picture(s), two are needed.")
  return found


def find_weights(where: pathlib.Path | None, name: str) -> pathlib.Path | None:
  """Finds weights: given, of the environment, or fetched before.

  Args:
    where: a folder or file; None asks the environment and the cache.
    name: a key of `features.VARIABLES`.

  Returns:
    The file, or None.

  Raises:
    UserError: if what was given is missing, or `chibijax fetch` would help.
  """
  if where is not None and not where.exists():
    raise UserError(f"--weights {where} is missing.")
  found = suite.find_weights(name, where)
  if found is None:
    found = fetch.find(name)
    if found is None and not name.startswith("lpips-"):
      raise UserError(
        f"Weights of {name} are missing: run `chibijax fetch {name}`, or give "
        "--weights."
      )
  return found


def _measure(
  sets: suite.Suite,
  wanted: tuple[str, ...],
  labels: dict[str, list[str]] | None,
  least: int,
) -> tuple[dict[str, Any], dict[str, fairness.Fairness]]:
  results, grouped = {}, {}
  everything = np.arange(len(sets.judged))
  for name in wanted:
    metric = sets.metric(name)
    results[metric.title] = metric.on(everything)
    if labels:
      grouped[metric.title] = fairness.by_group(
        metric.on, labels, better=metric.better, least=least
      )
  return results, grouped


def _notes(
  paired: bool, options: Options, labels: dict[str, list[str]] | None
) -> list[str]:
  notes = [
    "pairs by file name" if paired else "not paired: files are named otherwise"
  ]
  if options.size:
    notes.append(
      f"all pictures were read as squares of {options.size} px first"
    )
  if labels and not paired:
    notes.append("each group is compared with the whole reference")
  if labels:
    counts = {
      label: dict(collections.Counter(values))
      for label, values in labels.items()
    }
    notes.append(f"labels: {counts}")
  return notes


def _words(
  results: dict[str, Any],
  grouped: dict[str, fairness.Fairness],
  paired: bool,
) -> list[str]:
  lines = ["pairs by file name" if paired else "sets, not paired"]
  for title, value in results.items():
    lines.append(f"{title}: {value}")
    if value.note:
      lines.append(f"  ({value.note})")
    if title in grouped:
      lines += [f"  {line}" for line in grouped[title].sentences()]
  return lines
