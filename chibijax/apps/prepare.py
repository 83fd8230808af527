"""Photos made a data set: checked, without copies, aligned, split, documented.

OUT/train/**/NAME.png  pictures to train on, in the photos' own tree
OUT/eval/**/NAME.png   pictures held out
OUT/manifest.jsonl     a line for each face and each photo that was left out:
                       see `alignment_manifest`; and `split`, `licence`,
                       `consent`, `group`, `labels`, `copy_of`, `width`,
                       `height` and `place` (its path below its folder)
OUT/labels.csv         what the CSV says of each picture beside that, if
                       anything: `--config.data.label_file`
OUT/README.md          the data set's card
OUT/contact_sheet.png  a look at up to 100 of them

The folder is a `folder` source of training with its split. What is decided
about each photo: `prepare_plan`. A run that was killed goes on; one with more
photos adds them and moves none from one side to the other, unless they link
groups of both.
"""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from chibijax.apps import (
  alignment,
  contact_sheet,
  prepare_card,
  prepare_looks,
  prepare_plan,
)
from chibijax.apps import photos as photo_files
from chibijax.apps.alignment_manifest import Manifest
from chibijax.apps.prepare_pictures import Maker
from chibijax.core import workdir
from chibijax.data import images
from chibijax.data.folder import CONTACT_SHEET, Split
from chibijax.errors import UserError

LABELS = "labels.csv"


@dataclasses.dataclass
class Report:
  """What happened.

  Attributes:
    written: pictures made now.
    kept: those that an earlier run had made.
    dropped: photos of which there is no picture: a word and the reason.
    splits: pictures on each side.
    photos: photos looked at, those of earlier runs included.
    licences: photos of the data set by licence.
    consents: photos of the data set by consent.
    unused: files that the CSV names and that are none of the photos.
    seconds: how long it took.
    out: the folder.
  """

  out: pathlib.Path
  written: list[pathlib.Path] = dataclasses.field(default_factory=list)
  kept: list[pathlib.Path] = dataclasses.field(default_factory=list)
  dropped: dict[pathlib.Path, tuple[str, str]] = dataclasses.field(
    default_factory=dict
  )
  splits: Counter[str] = dataclasses.field(default_factory=Counter)
  photos: int = 0
  licences: Counter[str] = dataclasses.field(default_factory=Counter)
  consents: Counter[str] = dataclasses.field(default_factory=Counter)
  unused: list[str] = dataclasses.field(default_factory=list)
  seconds: float = 0.0

  @property
  def reasons(self) -> Counter[str]:
    """How many photos were dropped for each reason."""
    return Counter(word for word, _ in self.dropped.values())

  def to_dict(self) -> dict[str, Any]:
    """Everything as JSON-able values."""
    return {
      "written": [str(path) for path in self.written],
      "kept": [str(path) for path in self.kept],
      "dropped": {
        str(path): {"status": word, "reason": why}
        for path, (word, why) in self.dropped.items()
      },
      "reasons": dict(self.reasons),
      "splits": dict(self.splits),
      "photos": self.photos,
      "licences": dict(self.licences),
      "consents": dict(self.consents),
      "unused": self.unused,
      "seconds": round(self.seconds, 3),
      "out": str(self.out),
    }


def run(
  photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
  out: pathlib.Path,
  maker: Maker,
  *,
  rules: prepare_plan.Rules | None = None,
  about: pathlib.Path | None = None,
  jobs: int = 4,
  overwrite: bool = False,
  prune: bool = False,
  progress: bool = True,
) -> Report:
  """Makes a data set, or goes on with one.

  Args:
    photos: files, folders and patterns, see `chibijax.apps.photos`.
    out: the folder of the results.
    maker: from `prepare_pictures.make`.
    rules: which photos are taken, and how they are split.
    about: a CSV of licence, consent, groups and labels, see
      `prepare_plan.About`.
    jobs: photos at a time.
    overwrite: whether everything is made anew, the split included.
    prune: whether photos of earlier runs that are not named now are removed,
      with their pictures.
    progress: whether bars show speed and remaining time.

  Returns:
    What happened.

  Raises:
    UserError: if there is no photo, a value is out of range, the folder holds
      pictures of other settings, or a picture cannot be written.
  """
  start = time.perf_counter()
  rules = rules or prepare_plan.Rules()
  if jobs < 1:
    raise UserError(f"--jobs is {jobs}, expected at least 1.")
  if out.is_file():
    raise UserError(f"{out} is a file; a data set is written into a folder.")
  names = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
  found = photo_files.find(names, exclude=out)
  if any(one.path == photo_files.STDIN for one in found):
    raise UserError("a data set is made of files; - cannot be one.")
  table = prepare_plan.About(about)
  log = Manifest(out, maker.settings, overwrite=overwrite)
  report = Report(out)
  looks = prepare_looks.look_at(
    found,
    out,
    background=tuple(maker.settings.get("background", images.WHITE)),
    jobs=jobs,
    progress=progress,
  )
  _forget(looks, found, log, every=prune or overwrite)
  work = _Work(log, looks, maker, rules, table, jobs, progress)
  with log:
    entries = work.all()
  _count(report, entries, log, work.fresh)
  report.unused = table.unused(looks.values())
  report.seconds = time.perf_counter() - start
  columns = [name for name in table.labels if name != rules.group]
  if columns:
    _write_labels(out, log.records(), columns)
  # Of who refused nothing is kept or shown.
  refused = {e.look.source for e in entries if e.drop == "refused"}
  prepare_looks.keep(
    out, {k: look for k, look in looks.items() if k not in refused}
  )
  shown = [line for line in log.records() if line["status"] != "refused"]
  if contact_sheet.write(out, shown) is None:
    (out / CONTACT_SHEET).unlink(missing_ok=True)
  prepare_card.write(report, maker.settings, rules)
  return report


def _forget(
  looks: dict[pathlib.Path, prepare_looks.Look],
  found: list[photo_files.Found],
  log: Manifest,
  *,
  every: bool,
) -> None:
  """Forgets photos that are not named: all, or those whose pictures are lost.

  Photos that were moved away keep their pictures.
  """
  named = {one.path.absolute() for one in found}
  for source in [source for source in looks if source not in named]:
    lines = log.lines(source)
    names = [name for line in lines for name in line["outputs"]]
    there = all((log.path.parent / name).is_file() for name in names)
    if every or not (source.exists() or (names and there)):
      log.drop(source)
      del looks[source]


@dataclasses.dataclass
class _Work:
  """Plans, makes, and plans again until nothing is left to do."""

  log: Manifest
  looks: dict[pathlib.Path, prepare_looks.Look]
  maker: Maker
  rules: prepare_plan.Rules
  table: prepare_plan.About
  jobs: int
  progress: bool
  tried: dict[pathlib.Path, prepare_plan.Done] = dataclasses.field(
    default_factory=dict
  )
  fresh: set[pathlib.Path] = dataclasses.field(default_factory=set)

  def all(self) -> list[prepare_plan.Entry]:
    """Does everything; what was planned in the end."""
    held: dict[str, Split] = {}
    for source in self.looks:
      if (done := self._done(source)) is not None:
        self.tried[source] = done
    for round_ in itertools.count():
      entries = prepare_plan.make(
        self.looks.values(), self.tried, self.rules, self.table, held
      )
      todo = self._todo(entries)
      # A copy has its turn when nothing could be made of the better one.
      if todo:
        self._make(todo, f"making, round {round_ + 1}")
      elif not held and (held := self._empty_side(entries)):
        continue
      else:
        return entries
    raise AssertionError("the count above has no end")

  def _empty_side(self, entries: list[prepare_plan.Entry]) -> dict[str, Split]:
    made = {source for source, done in self.tried.items() if done.split}
    fraction = self.rules.eval_fraction
    return prepare_plan.missing_side(entries, made, fraction)

  def _done(self, source: pathlib.Path) -> prepare_plan.Done | None:
    """What the manifest says was made of a photo; None when it must be."""
    lines = self.log.lines(source)
    if not lines or lines[0]["status"] in prepare_plan.DROPPED:
      return None
    # A photo that was moved away keeps what was made of it.
    if source.exists() and self.log.known(source) is None:
      return None
    made = any(line["outputs"] for line in lines)
    return prepare_plan.Done(lines[0].get("split", "") if made else "")

  def _todo(
    self, entries: list[prepare_plan.Entry]
  ) -> list[prepare_plan.Entry]:
    """Brings the manifest up to date; what pictures must be made of."""
    todo = []
    for entry in entries:
      source = entry.look.source
      lines = self.log.lines(source)
      done = self.tried.get(source)
      if entry.drop:
        wanted = {"status": entry.drop, "reason": entry.reason}
        if not (lines and wanted.items() <= lines[0].items()):
          self.log.drop(source)
          sums = {"sha256": entry.look.sha256, "outputs": []}
          self.log.append(source, [wanted | sums | entry.record()])
        self.tried.pop(source, None)
      elif done is None or done.split not in ("", entry.split):
        if done is None or source.exists():
          todo.append(entry)
          continue
        entry.split = done.split  # The photo is gone, its picture stays.
      for line in self.log.lines(source):
        line |= entry.record()
    return todo

  def _make(
    self,
    entries: list[prepare_plan.Entry],
    title: str,
  ) -> None:
    """Makes pictures, and writes their lines."""
    todo, records = [], {}
    found = [
      photo_files.Found(e.look.source, pathlib.PurePath(e.look.relative))
      for e in entries
    ]
    targets = photo_files.targets(found, pathlib.Path())
    out = self.log.path.parent
    for entry, target in zip(entries, targets, strict=True):
      source = entry.look.source
      self.log.drop(source)
      self.tried.pop(source, None)
      target = self.log.free(out / entry.split / target, source)
      todo.append((source, target))
      records[source] = entry.record() | {"sha256": entry.look.sha256}
    bar = tqdm(
      total=len(todo),
      desc=title,
      unit="photo",
      smoothing=0.1,
      dynamic_ncols=True,
      disable=None if self.progress else True,
    )
    with bar:
      for source, lines in alignment.in_order(todo, self.maker, self.jobs):
        lines = [records[source] | line for line in lines]
        self.log.append(source, lines)
        made = any(line["outputs"] for line in lines)
        split = records[source]["split"] if made else ""
        self.tried[source] = prepare_plan.Done(split)
        self.fresh.add(source)
        bar.update()


def _write_labels(
  out: pathlib.Path, records: alignment.Lines, columns: list[str]
) -> None:
  """Writes the labels of every picture that has any."""
  text = io.StringIO()
  rows = csv.writer(text, lineterminator="\n")
  rows.writerow(["file", *columns])
  for record in records:
    labels = record["labels"]
    for name in record["outputs"] if labels else ():
      rows.writerow([name, *(labels.get(column, "") for column in columns)])
  workdir.write_text(out / LABELS, text.getvalue())


def _count(
  report: Report,
  entries: list[prepare_plan.Entry],
  log: Manifest,
  fresh: set[pathlib.Path],
) -> None:
  """Fills the report."""
  report.photos = len(entries)
  for entry in entries:
    source = entry.look.source
    lines = log.lines(source)
    outputs = [report.out / name for x in lines for name in x["outputs"]]
    if not outputs:
      report.dropped[source] = lines[0]["status"], lines[0]["reason"]
      continue
    made = report.written if source in fresh else report.kept
    made += outputs
    report.splits[entry.split] += len(outputs)
    report.licences[entry.fields["licence"]] += 1
    report.consents[entry.fields["consent"]] += 1
