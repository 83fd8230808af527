"""The table of `splat.py`, and what was hoped for beside what was found."""

import math

import numpy as np
import splat_floor
from splat_scene import GRADIENTS

KINDS = ("forward", "both")
# Mean difference of an image in [0, 1] and relative difference of gradients.
# splax sorts by depths of fewer bits, so that neighbours may change places.
AGREEMENT = {"splax": (2e-3, 0.2)}
# Where rounding decides whether a Gaussian counts, its gradient comes or goes.
EXACT = (1e-5, 5e-3)
# The size that the goals name, as in `_key` after the threads.
HEAD = (180_000, 32, 512, 512, 1)


class DisagreementError(RuntimeError):
  """Two arms draw different pictures or find different gradients."""


def compare(arm: str, first: dict, found: dict) -> dict[str, float]:
  """Differences of an arm's results to the first arm's.

  Args:
    arm: its name.
    first: arrays "image", "alpha" and "grad_means" etc. of the first.
    found: its own.

  Returns:
    Mean and largest difference of the pictures, and the gradients' largest
    relative difference (of norms).

  Raises:
    DisagreementError: they differ by more than rounding.
  """
  picture = np.abs(found["image"] - first["image"])
  alpha = np.abs(found["alpha"] - first["alpha"]).mean()
  relative = {}
  for name in GRADIENTS:
    a, b = first[f"grad_{name}"], found[f"grad_{name}"]
    size = np.linalg.norm(a.astype(np.float64))
    relative[name] = float(np.linalg.norm(b - a.astype(np.float64)) / size)
  error = {
    "image_mean": float(max(picture.mean(), alpha)),
    "image_max": float(picture.max()),
    "gradients": max(relative.values()),
  }
  mean, gradient = AGREEMENT.get(arm, EXACT)
  if not (error["image_mean"] <= mean and error["gradients"] <= gradient):
    raise DisagreementError(f"{arm} differs from the first: {error} {relative}")
  return error


def add_ratios(results: list[dict], peaks: dict) -> None:
  """Adds to each row its time over ours (`ratio`) and over the floor."""
  ours = {_key(r): r for r in results if r["arm"] == "ours"}
  for row in results:
    # Pairs are counted for the first camera only.
    peak = peaks.get(row["threads"]) if row["batch"] == 1 else None
    if peak:
      row["floor_s"] = splat_floor.seconds(row, peak)
    if "forward" not in row:
      continue
    mine = ours.get(_key(row), {})
    for kind in KINDS:
      seconds = row[kind]["median_s"]
      if "forward" in mine and row is not mine:
        row[kind]["ratio"] = seconds / mine[kind]["median_s"]
      if peak:
        row[kind]["x_floor"] = {
          name: seconds / least for name, least in row["floor_s"][kind].items()
        }


def _key(row: dict) -> tuple:
  names = ("threads", "gaussians", "channels", "width", "height", "batch")
  return tuple(row[name] for name in names)


def table(results: list[dict]) -> str:
  """The results as a Markdown table."""
  lines = [
    "| size | Gaussians | pairs | channels | threads | arm | forward ms (IQR)"
    " | / ours | x floor: channels / pair / bytes | + backward ms (IQR)"
    " | / ours | x floor | image, gradient error | others |",
    "|" + "---|" * 14,
  ]
  for row in results:
    size = f"{row['width']}x{row['height']}"
    size += f" x{row['batch']}" if row["batch"] > 1 else ""
    cells = [size, row["gaussians"], f"{row['pairs'] / 1e6:.2f} M"]
    cells += [row["channels"], row["threads"] or "GPU", row["arm"]]
    if "forward" not in row:
      cells += [f"not run: {row['skipped']}"] + [""] * 7
    else:
      for kind in KINDS:
        cells += _times(row[kind])
      error = row.get("error")
      cells.append(
        f"{error['image_mean']:.0e}, {error['gradients']:.0e}" if error else ""
      )
      cells.append(f"{max(row[kind]['others'] for kind in KINDS):.2f}")
    lines.append("| " + " | ".join(map(str, cells)) + " |")
  return "\n".join(lines)


def _times(found: dict) -> list[str]:
  """Cells of one measurement: time, ratio to ours, ratio to the floor."""
  low, high = (1e3 * q for q in found["iqr_s"])
  time = f"{1e3 * found['median_s']:.4g} ({low:.4g}-{high:.4g})"
  ratio = f"{found['ratio']:.3g}" if "ratio" in found else ""
  floor = found.get("x_floor", {})
  names = ("channels", "pair", "bytes")
  shown = " / ".join(f"{floor[k]:.1f}" for k in names if floor)
  return [time, ratio, shown]


def goals(results: list[dict]) -> list[dict]:
  """The issue's goals with what was found; None where nothing was."""
  done = [r for r in results if "forward" in r]
  gpu = any(not r["threads"] for r in done)
  judge = _gpu_goals if gpu else _cpu_goals
  return [
    _verdict(f"{name}: {text}", values, limit)
    for kind, name in zip(KINDS, ("forward", "forward + backward"))
    for text, values, limit in judge(done, kind)
  ]


# A goal: its text, what was found, and the limit: a least, or minus a most.
Goal = tuple[str, list[float], float]


def _cpu_goals(done: list[dict], kind: str) -> list[Goal]:
  ours = [r for r in done if r["arm"] == "ours"]
  seconds = {(r["threads"], *_key(r)[1:]): r[kind]["median_s"] for r in ours}
  head = [1e3 * s for k, s in seconds.items() if k == (4, *HEAD)]
  scaling = [
    s / seconds[(4, *k[1:])]
    for k, s in seconds.items()
    if k[0] == 1 and (4, *k[1:]) in seconds
  ]
  floors = [r[kind]["x_floor"] for r in ours if "x_floor" in r[kind]]
  # NumPy finds the pairs on one core; the torch arm's own time is without.
  searched = [
    r[kind]["ratio"] * (1 + r["search_s"] / r[kind]["median_s"])
    for r in done
    if r["arm"] == "torch" and "ratio" in r[kind]
  ]
  return [
    (">= 50 x gsplat's torch reference", _ratios(done, kind, "torch"), 50),
    (">= 50 x that and the search for its pairs", searched, 50),
    ("<= 3 x floor (channels)", [f["channels"] for f in floors], -3),
    ("<= 3 x floor (pair)", [f["pair"] for f in floors], -3),
    ("180k, 32 channels, 512², 4 cores <= 150 ms", head, -150),
    ("4 threads >= 3.2 x 1 thread", scaling, 3.2),
  ]


def _gpu_goals(done: list[dict], kind: str) -> list[Goal]:
  limit = {"forward": 0.6, "both": 2.0}[kind]
  head = [
    1e3 * r[kind]["median_s"]
    for r in done
    if r["arm"] == "ours" and _key(r)[1:] == HEAD
  ]
  return [
    (">= 1.3 x gsplat", _ratios(done, kind, "gsplat"), 1.3),
    (">= 1.5 x splax", _ratios(done, kind, "splax"), 1.5),
    (f"180k, 32 channels, 512² <= {limit} ms", head, -limit),
  ]


def _verdict(text: str, values: list[float], limit: float) -> dict:
  """Judges a goal by its worst value."""
  if not values:
    return {"goal": text, "worst": None, "best": None, "met": None}
  worst, best = min(values), max(values)
  if limit < 0:
    worst, best = best, worst
  good = [v >= limit if limit > 0 else v <= -limit for v in values]
  text += f" ({sum(good)} of {len(good)})"
  return {"goal": text, "worst": worst, "best": best, "met": all(good)}


def _ratios(rows: list[dict], kind: str, arm: str) -> list[float]:
  """An arm's times over ours, where both ran."""
  found = [r[kind] for r in rows if r["arm"] == arm]
  return [f["ratio"] for f in found if "ratio" in f]


def lines(results: list[dict]) -> str:
  """The goals as a Markdown table."""
  out = [
    "| goal (settings that meet it) | worst | best | |",
    "|---|---|---|---|",
  ]
  for g in goals(results):
    verdict = {None: "not measured", True: "met", False: "missed"}[g["met"]]
    worst, best = (
      "" if v is None or math.isnan(v) else f"{v:.3g}"
      for v in (g["worst"], g["best"])
    )
    out.append(f"| {g['goal']} | {worst} | {best} | {verdict} |")
  return "\n".join(out)
