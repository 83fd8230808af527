"""Any metric by group of people, and the gap between the best and the worst.

Groups are the values of each label (sex, age, skin tone, ...) and of all
labels crossed. A group too small to be judged is named, and not judged.
"""

import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from chibijax.errors import UserError
from chibijax.metrics.estimate import Estimate

Labels = Mapping[str, Sequence[str]]
# Fewer examples than this say nothing of a group.
LEAST = 30
_FILE_COLUMNS = ("file", "filename", "image", "path", "name")


@dataclasses.dataclass(frozen=True)
class Gap:
  """The distance between two groups of one kind.

  Attributes:
    value: worst minus best, in the metric's unit; not negative.
    best: name of a group.
    worst: name of a group.
    apart: whether their intervals do not touch; None if one has none. Groups
      whose intervals touch may still differ: there are too few examples to say.
  """

  value: float
  best: str
  worst: str
  apart: bool | None


@dataclasses.dataclass(frozen=True)
class Fairness:
  """A metric by group.

  Attributes:
    groups: estimates by name, such as "sex=f" or "sex=f,skin=dark".
    too_small: examples of the groups that were not judged.
    gaps: by what the groups divide, such as "sex" or "sex x skin"; only where
      two groups could be judged.
    least: examples a group needs.
  """

  groups: Mapping[str, Estimate]
  too_small: Mapping[str, int]
  gaps: Mapping[str, Gap]
  least: int

  @property
  def worst(self) -> Gap | None:
    """The largest gap, if there is any."""
    return max(self.gaps.values(), key=lambda gap: gap.value, default=None)

  def sentences(self) -> list[str]:
    """The result in words."""
    said = [f"{name}: {value}" for name, value in self.groups.items()]
    for kind, gap in self.gaps.items():
      sure = {
        True: "intervals apart", False: "intervals touch", None: "no interval"
      }[gap.apart]  # fmt: skip
      said.append(
        f"gap by {kind}: {gap.value:.4g} ({gap.worst} against {gap.best}, "
        f"{sure})"
      )
    if self.too_small:
      small = ", ".join(f"{k} ({n})" for k, n in self.too_small.items())
      said.append(f"fewer than {self.least} examples, not judged: {small}")
    return said


def by_group(
  metric: Callable[[Int[np.ndarray, " k"]], Estimate],
  labels: Labels,
  *,
  better: Literal["lower", "higher"],
  least: int = LEAST,
) -> Fairness:
  """Measures each group.

  Args:
    metric: indices of a group's examples to its estimate. For values of each
      example: `lambda i: estimate.mean(values[i])`; for sets: `lambda i:
      kid(real[i], fake[i], ...)`.
    labels: for each label the value of every example; "" is unknown, and such
      an example is in no group of that label.
    better: which values are.
    least: examples a group needs to be judged.

  Returns:
    Single labels, then all of them crossed where there are several.

  Raises:
    ValueError: if labels have different lengths or there are none.
  """
  lengths = {len(values) for values in labels.values()}
  if len(lengths) != 1:
    raise ValueError(f"Labels need one common length, got {sorted(lengths)}.")
  kinds = [(name,) for name in labels]
  if len(labels) > 1:
    kinds.append(tuple(labels))
  groups, too_small, gaps = {}, {}, {}
  for kind in kinds:
    judged = {}
    for name, index in _members(labels, kind).items():
      if len(index) < least:
        too_small[name] = len(index)
      else:
        judged[name] = metric(index)
    groups |= judged
    if len(judged) > 1:
      gaps[" x ".join(kind)] = _gap(judged, better)
  return Fairness(groups, too_small, gaps, least)


def read_csv(
  path: str | pathlib.Path, names: Sequence[str]
) -> dict[str, list[str]]:
  """Reads labels of pictures.

  Args:
    path: CSV with a header; a column file, filename, image, path or name, and
      one column for each label, such as sex, age and skin.
    names: the pictures, as paths or file names; matched without folders and
      suffixes.

  Returns:
    Labels in the order of `names`; "" where the file says nothing.

  Raises:
    UserError: if the file cannot be read, lacks a column, names a picture
      twice, or names none of them.
  """
  try:
    with open(path, newline="", encoding="utf-8-sig") as stream:
      reader = csv.DictReader(stream)
      rows, header = list(reader), list(reader.fieldnames or ())
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    raise UserError(f"{path} cannot be read as CSV ({e}).") from e
  key = next((c for c in _FILE_COLUMNS if c in header), None)
  labels = [c for c in header if c and c != key]
  if key is None or not labels:
    raise UserError(
      f"{path} needs a column {_FILE_COLUMNS[0]!r} and one for each label, got "
      f"{', '.join(header) or 'nothing'}."
    )
  found: dict[str, dict[str, Any]] = {}
  for row in rows:
    stem = pathlib.PurePath(row[key] or "").stem
    if stem in found:
      raise UserError(f"{path} names {stem} twice.")
    found[stem] = row
  stems = [pathlib.PurePath(name).stem for name in names]
  if not any(stem in found for stem in stems):
    raise UserError(f"{path} names none of the pictures, such as {stems[0]}.")
  return {
    label: [(found.get(s, {}).get(label) or "").strip() for s in stems]
    for label in labels
  }


def _members(
  labels: Labels, kind: tuple[str, ...]
) -> dict[str, Int[np.ndarray, " k"]]:
  """Indices of the examples of each combination of values, by its name."""
  columns = [np.asarray(labels[name], str) for name in kind]
  values = [sorted(set(column) - {""}) for column in columns]
  found = {}
  for combination in itertools.product(*values):
    chosen = np.all(
      [column == value for column, value in zip(columns, combination)], 0
    )
    # Combinations of labels that nobody has are not listed.
    if chosen.any():
      name = ",".join(f"{k}={v}" for k, v in zip(kind, combination))
      found[name] = np.flatnonzero(chosen)
  return found


def _gap(judged: Mapping[str, Estimate], better: str) -> Gap:
  order = sorted(judged, key=lambda name: judged[name].value)
  best, worst = order[0], order[-1]
  low, high = judged[best], judged[worst]
  ends = (low.high, high.low)
  apart = None if None in ends else bool(low.high < high.low)
  if better == "higher":
    best, worst = worst, best
  return Gap(high.value - low.value, best, worst, apart)
