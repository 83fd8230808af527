"""What becomes of each photo of a data set: which copy is kept, which split.

Of photos that show the same (`chibijax.data.duplicates`) one is kept: one that
an earlier run kept, else that with the most pixels, then the largest file, then
the first by content. A photo of which nothing could be made keeps no other out.

A group is one photo, the photos of a folder, or those with one value in a
column of the CSV, such as a person's. Groups that share a copy are one. All of
a group is on one side of the split: where some of it is already, "train" before
"eval"; else by a hash of the photo's content or the group's name, so that
neither more photos nor other names of files move any.
"""

import csv
import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chibijax.apps.prepare_looks import Look
from chibijax.data import duplicates
from chibijax.data.folder import Split
from chibijax.errors import UserError

UNKNOWN = "unknown"
# Why photos are left out before anything is made of them.
DROPPED = {
  "unreadable": "the file is no picture, or is damaged",
  "refused": "consent was refused or withdrawn",
  "too_small": "the photo has too few pixels",
  "duplicate": "a copy of another photo",
}
_REFUSALS = ("no", "refused", "withdrawn", "denied", "declined", "false", "0")


@dataclasses.dataclass(frozen=True)
class Rules:
  """How photos are chosen and split.

  Attributes:
    eval_fraction: share of the groups held out.
    group: "photo", "folder", or a column of the CSV.
    distance: signs of 255 in which copies may differ; -1 keeps all copies.
    colours: by how much copies' colours may differ, or None for any.
    min_side: the least shorter side of a photo in pixels.
    licence: of photos of which the CSV says none.
    consent: the same.
  """

  eval_fraction: float | int = 0.1
  group: str = "photo"
  distance: int = duplicates.LIMIT
  colours: int | None = None
  min_side: int = 1
  licence: str = UNKNOWN
  consent: str = UNKNOWN

  def __post_init__(self) -> None:
    if not 0 <= self.eval_fraction < 1:
      raise UserError(
        f"--eval-fraction is {self.eval_fraction}, expected 0 to below 1."
      )
    if self.min_side < 1:
      raise UserError(f"--min-side is {self.min_side}, expected at least 1.")
    if not -1 <= self.distance <= duplicates.SIGNS // 3:
      raise UserError(
        f"--distance is {self.distance}, expected -1 to "
        f"{duplicates.SIGNS // 3}."
      )


class About:
  """What a CSV says about photos.

  Attributes:
    columns: its columns but `file`.
  """

  def __init__(self, path: pathlib.Path | None = None) -> None:
    """Reads the table.

    Args:
      path: a CSV in UTF-8 with a header and a column `file`: a photo's path
        below the folder that was given, or its name. None for an empty one.

    Raises:
      UserError: if it cannot be read.
    """
    self.columns: tuple[str, ...] = ()
    self._rows: dict[str, dict[str, str]] = {}
    if path is None:
      return
    try:
      with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        names = [_column(name) for name in reader.fieldnames or ()]
        if "file" not in names:
          raise UserError(
            f"{path} has no column file; it has {', '.join(names) or 'none'}."
          )
        for row in reader:
          self._add(path, dict(zip(names, map(_cell, row.values()))))
    except OSError as error:
      raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (csv.Error, UnicodeDecodeError) as error:
      raise UserError(f"{path} is no CSV in UTF-8 ({error}).") from error
    self.columns = tuple(name for name in names if name and name != "file")

  def _add(self, path: pathlib.Path, row: dict[str, str]) -> None:
    name = row.pop("file").replace("\\", "/").removeprefix("./")
    if self._rows.setdefault(name, row) is not row:
      raise UserError(f"{path} names {name} twice.")

  @property
  def labels(self) -> tuple[str, ...]:
    """The columns that are neither licence nor consent."""
    return tuple(n for n in self.columns if n not in ("licence", "consent"))

  def of(self, look: Look) -> dict[str, str]:
    """What the table says of a photo; {} when nothing."""
    name = pathlib.PurePosixPath(look.relative).name
    return self._rows.get(look.relative) or self._rows.get(name, {})

  def unused(self, looks: Iterable[Look]) -> list[str]:
    """The files it names that are none of the photos."""
    used: set[str] = set()
    for look in looks:
      used |= {look.relative, pathlib.PurePosixPath(look.relative).name}
    return [name for name in self._rows if name not in used]


@dataclasses.dataclass
class Entry:
  """What shall become of one photo.

  Attributes:
    look: the photo.
    group: what it must not be parted from.
    fields: what goes into the manifest: licence, consent, labels, group.
    drop: a word of `DROPPED`, or "" when a picture shall be made.
    reason: why it is dropped, or "".
    copy_of: the photo that is kept instead of it, or "".
    split: its side; "" when it is dropped.
  """

  look: Look
  group: str
  fields: dict[str, Any]
  drop: str = ""
  reason: str = ""
  copy_of: str = ""
  split: Split | str = ""

  def record(self) -> dict[str, Any]:
    """What the manifest says of it beside what was found in it."""
    look = self.look
    size = {"width": look.width, "height": look.height}
    own = {"split": self.split, "copy_of": self.copy_of, "place": look.relative}
    return own | size | self.fields


@dataclasses.dataclass(frozen=True)
class Done:
  """What earlier work made of one photo.

  Attributes:
    split: the side its pictures are on; "" when nothing could be made of it.
  """

  split: Split | str


def make(
  looks: Iterable[Look],
  done: Mapping[pathlib.Path, Done],
  rules: Rules,
  about: About,
  held: Mapping[str, Split] | None = None,
) -> list[Entry]:
  """Decides about all photos of a data set.

  Args:
    looks: the photos.
    done: those that were tried; a split stays as it is.
    rules: how they are chosen.
    about: what is said of them.
    held: groups whose split is already decided.

  Returns:
    One entry for each photo, in the order of their paths.

  Raises:
    UserError: if the group is no column.
  """
  if rules.group not in ("photo", "folder", *about.columns):
    raise UserError(
      f"--group is {rules.group!r}, expected photo, folder or a column of "
      f"--about ({', '.join(about.columns) or 'there is none'})."
    )
  entries = [_entry(look, rules, about) for look in looks]
  usable = [entry for entry in entries if not entry.drop]
  joined = _Groups()
  _drop_copies(usable, done, rules, joined)
  kept = [entry for entry in usable if not entry.drop]
  for entry in kept:
    entry.group = joined.find(entry.group)
  _split(kept, done, rules.eval_fraction, held or {})
  return sorted(entries, key=lambda entry: str(entry.look.source))


def place(group: str) -> float:
  """A group's place in [0, 1), by hash; those below the fraction are held."""
  digest = hashlib.blake2b(group.encode("utf-8", "replace"), digest_size=8)
  return int.from_bytes(digest.digest(), "big") / 2**64


def _entry(look: Look, rules: Rules, about: About) -> Entry:
  row = about.of(look)
  known = {"licence": rules.licence, "consent": rules.consent}
  known |= {name: row[name] for name in known if row.get(name)}
  labels = {k: v for k, v in row.items() if k not in known}
  folder = pathlib.PurePosixPath(look.relative).parent.as_posix()
  group = f"photo {look.sha256}"
  if rules.group == "folder" and folder != ".":
    group = f"folder {folder}"
  elif row.get(rules.group):
    group = f"{rules.group} {row[rules.group]}"
  entry = Entry(look, group, known | {"labels": labels, "group": group})
  if known["consent"].casefold() in _REFUSALS:
    entry.drop, entry.reason = "refused", f"consent: {known['consent']}"
  elif look.problem:
    entry.drop, entry.reason = "unreadable", look.problem
  elif min(look.width, look.height) < rules.min_side:
    entry.drop = "too_small"
    entry.reason = (
      f"{look.width} x {look.height}, expected at least {rules.min_side} a side"
    )
  return entry


def _drop_copies(
  entries: list[Entry],
  done: Mapping[pathlib.Path, Done],
  rules: Rules,
  joined: "_Groups",
) -> None:
  """Marks copies, and joins the groups of each with its original's."""

  def rank(entry: Entry) -> tuple[Any, ...]:
    look = entry.look
    first = look.source not in done
    pixels = look.width * look.height
    return first, -pixels, -look.bytes, look.sha256, str(look.source)

  if rules.distance < 0:
    return
  seen = duplicates.Seen(rules.distance, rules.colours)
  by_name = {}
  for entry in sorted(entries, key=rank):
    look = entry.look
    if look.source in done and not done[look.source].split:
      continue  # Nothing could be made of it: its copies may do better.
    assert look.fingerprint is not None  # What is usable could be read.
    original = seen.find(look.fingerprint)
    if original:
      name, signs = original
      joined.join(entry.group, by_name[name].group)
      if look.source not in done:
        entry.drop, entry.copy_of = "duplicate", name
        entry.reason = f"shows what {name} does ({signs} of 255 signs differ)"
        continue
    by_name[str(look.source)] = entry
    seen.add(str(look.source), look.fingerprint)


def _split(
  entries: list[Entry],
  done: Mapping[pathlib.Path, Done],
  fraction: float | int,
  held: Mapping[str, Split],
) -> None:
  """Gives every entry the side of its group."""
  sides: dict[str, set[str]] = {}
  for entry in entries:
    was = done.get(entry.look.source, Done("")).split
    sides.setdefault(entry.group, set()).add(was)
  for entry in entries:
    known = sides[entry.group]
    if entry.group in held:
      entry.split = held[entry.group]
    elif "train" in known or "eval" in known:
      entry.split = "train" if "train" in known else "eval"
    else:
      entry.split = "eval" if place(entry.group) < fraction else "train"


class _Groups:
  """Which groups are one: a union-find."""

  def __init__(self) -> None:
    self._above: dict[str, str] = {}

  def find(self, group: str) -> str:
    """The name of all that a group is one with."""
    while (above := self._above.get(group, group)) != group:
      self._above[group] = self._above.get(above, above)
      group = above
    return group

  def join(self, copy: str, original: str) -> None:
    """Makes two groups one; a lone copy takes the original's name."""
    a, b = self.find(copy), self.find(original)
    if a == b:
      return
    # A copy's own group goes with it; named groups have more photos.
    if a.startswith("photo ") or (not b.startswith("photo ") and b < a):
      self._above[a] = b
    else:
      self._above[b] = a


def missing_side(
  entries: Collection[Entry],
  made: Collection[pathlib.Path],
  fraction: float | int,
) -> dict[str, Split]:
  """What must move so that neither side is empty.

  Args:
    entries: of all photos.
    made: those of which there are pictures.
    fraction: share to hold out; 0 wants none.

  Returns:
    The group that comes nearest by its hash, with its side; {} if both sides
    have pictures, or there are fewer than two groups.
  """
  sides = {e.group: e.split for e in entries if e.look.source in made}
  if fraction <= 0 or len(sides) < 2 or len(set(sides.values())) > 1:
    return {}
  order = sorted(sides, key=place)
  if "eval" in sides.values():
    return {order[-1]: "train"}
  return {order[0]: "eval"}


def _column(name: str | None) -> str:
  name = (name or "").strip()
  return {"license": "licence"}.get(name.casefold(), name) if name else ""


def _cell(value: Any) -> str:
  return value.strip() if isinstance(value, str) else ""
