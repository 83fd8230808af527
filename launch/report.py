r"""Tables, a plot and JSON of what `launch.sweep` and `launch.interrupt` found.

  python -m launch.report runs/sweep.json runs/interrupt.json \
    --markdown runs/scaling.md --png runs/scaling.png --json runs/figures.json

Every row says where it comes from: `measured` on accelerators, `cpu-virtual` on
devices that share this host's cores, which shows what is exchanged and that it
works but no speed of a cluster, or `aot-predicted` by a compiler. Model FLOPs
and MFU are the field's: products and sums of one update, nothing done twice,
against the chip's published peak; there is none for CPUs.
"""

import argparse
import importlib.util
import json
import pathlib
import sys
from typing import Any

from launch import aot, chips, contract

_MISSING = "-"
# The order in which parts of a step are shown.
PARTS = (
  "data wait",
  "host to device",
  "generator",
  "discriminator",
  "regulariser",
  "optimiser",
  "whole step",
  "checkpoint",
  "eval batch",
)


def figures(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
  """A row in the field's units.

  Args:
    row: of `launch.sweep`, without an error.
    rows: all of them, among which the same on one device may be.

  Returns:
    `kind`, `what`, `chip`, `devices`, `processes`, `batch`, `precision`,
    `parallel`; and where they are known, for a step that was run or else the
    fastest that the chip allows: `seconds_per_kimg`, `images_per_second`,
    `images_per_second_per_chip`, `weak_efficiency`, `strong_efficiency`,
    `model_tflops` (a second and device), `mfu`, `roofline`; `peak_memory`,
    `predicted_memory` (bytes), `fits`, `collectives` (bytes), `parts` (s).
  """
  devices, batch = row["devices"], row["global_batch"]
  found = {
    "kind": row["kind"],
    "what": f"{row['model']} {row['size']} px",
    "chip": row["chip"],
    "devices": devices,
    "processes": row["processes"],
    "batch": batch,
    "precision": row["precision"],
    "parallel": row["parallel"],
    "load": row.get("load"),
    "fits": row.get("fits"),
    "predicted_memory": (row.get("memory") or {}).get("total"),
    "peak_memory": row.get("peak_memory"),
    "collectives": row.get("collectives", {}),
    "parts": _parts(row),
  }
  limits = row.get("limits_s") or chips.limits(row)
  found["limits_s"] = limits
  seconds = row.get("seconds_per_step") or max(limits.values(), default=None)
  if seconds is None:
    return found
  speed = batch / seconds
  flops = row["model_flops"] / devices / seconds
  found |= {
    "seconds_per_step": seconds,
    "seconds_per_kimg": 1000 / speed,
    "images_per_second": speed,
    "images_per_second_per_chip": speed / devices,
    "model_tflops": flops / 1e12,
  }
  if "seconds_per_step" in row:
    found |= _efficiency(row, rows)
    chip = chips.find(row["chip"])
    if chip is not None:
      found["mfu"] = flops / chip.peak(row["precision"])
      # Against the slower of arithmetic and memory, not of the network.
      least = max(limits["compute"], limits.get("memory", 0.0))
      found["roofline"] = least / seconds
  return found


def _parts(row: dict[str, Any]) -> dict[str, float]:
  """Seconds by part of a step, and of what is done between steps."""
  names = {"wait_s": "data wait", "put_s": "host to device"}
  names["step_s"] = "whole step"
  found = {
    name: sorted(row[key])[len(row[key]) // 2]
    for key, name in names.items()
    if row.get(key)
  }
  found |= row.get("parts", {})
  return {name: found[name] for name in PARTS if name in found}


def _efficiency(
  row: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, float]:
  """Speed of a device, relative to the same on one device."""
  found = {}
  same = ("kind", "chip", "precision", "parallel", "microbatches", "size")
  for other in rows:
    if (
      other.get("devices") != 1
      or "seconds_per_step" not in other
      or any(other[k] != row[k] for k in same)
      or other["model"] != row["model"]
      or _subject(other) != _subject(row)
    ):
      continue
    one = other["global_batch"] / other["seconds_per_step"]
    all_of_them = row["global_batch"] / row["seconds_per_step"]
    ratio = all_of_them / one / row["devices"]
    if other["global_batch"] * row["devices"] == row["global_batch"]:
      found["weak_efficiency"] = ratio
    if other["global_batch"] == row["global_batch"]:
      found["strong_efficiency"] = ratio
  return found


def _subject(row: dict[str, Any]) -> tuple[Any, ...]:
  return row.get("row", {}).get("config"), tuple(row.get("flags", ()))


def speed_table(found: list[dict[str, Any]]) -> str:
  """What was run, as Markdown."""
  header = (
    "kind", "model", "chip", "devices (processes)", "batch", "numbers", "mode",
    "s/kimg", "images/s", "images/s/chip", "weak", "strong", "TFLOP/s/chip",
    "MFU", "roofline", "load",
  )  # fmt: skip
  lines = []
  for x in found:
    speeds = ("seconds_per_kimg", "images_per_second")
    lines.append(
      (
        *(x["kind"], x["what"], x["chip"]),
        f"{x['devices']} ({x['processes']})",
        *(x["batch"], x["precision"], x["parallel"]),
        *(_number(x.get(name)) for name in speeds),
        _number(x.get("images_per_second_per_chip")),
        _percent(x.get("weak_efficiency")),
        _percent(x.get("strong_efficiency")),
        _number(x.get("model_tflops")),
        _percent(x.get("mfu")),
        _percent(x.get("roofline")),
        _number(x.get("load")),
      )
    )
  return _table(header, lines)


def memory_table(found: list[dict[str, Any]]) -> str:
  """What devices hold and send, measured and predicted, as Markdown."""
  header = (
    "kind", "model", "chip", "devices", "batch", "numbers", "mode",
    "predicted MiB", "fits", "peak MiB", "exchanged MB",
    "least ms (compute, memory, exchange)",
  )  # fmt: skip
  lines = []
  for x in found:
    predicted, peak = x["predicted_memory"], x["peak_memory"]
    sent = [f"{k} {v / 1e6:.1f}" for k, v in x["collectives"].items()]
    least = [f"{v * 1e3:.1f}" for v in x["limits_s"].values()]
    shown = _MISSING
    if peak:
      shown = f"{peak['bytes'] / 2**20:,.0f} ({peak['of']})"
    lines.append(
      (
        *(x["kind"], x["what"], x["chip"], x["devices"], x["batch"]),
        *(x["precision"], x["parallel"]),
        f"{predicted / 2**20:,.0f}" if predicted else _MISSING,
        {True: "yes", False: "no", None: _MISSING}[x["fits"]],
        shown,
        ", ".join(sent) or "0",
        ", ".join(least) or _MISSING,
      )
    )
  return _table(header, lines)


def parts_table(found: list[dict[str, Any]]) -> str:
  """Milliseconds of parts, each run alone, as Markdown; "" without any."""
  used = [name for name in PARTS if any(name in x["parts"] for x in found)]
  lines = [
    (
      *(x["kind"], x["what"], x["devices"], x["batch"]),
      *(_milliseconds(x["parts"].get(name)) for name in used),
    )
    for x in found
    if x["parts"]
  ]
  return _table(("kind", "model", "devices", "batch", *used), lines)


def goodput_table(found: list[dict[str, Any]]) -> str:
  """Interrupted trainings, as Markdown; "" without any."""
  stages = sorted({name for x in found for r in x["restarts"] for name in r})
  order = ("notice", "start", "compile", "first step")
  stages = [name for name in order if name in stages]
  lines = []
  for x in found:
    parts = []
    for name in stages:
      times = sorted(r[name] for r in x["restarts"] if name in r)
      parts.append(f"{times[len(times) // 2]:.1f}" if times else _MISSING)
    lines.append(
      (
        x["signal"],
        "yes" if x["cache"] else "no",
        len(x["restarts"]),
        *parts,
        f"{x['restart_s']:.1f}",
        f"{x['steps']} in {x['wall_s']:.0f} s",
        _percent(x["goodput"]),
      )
    )
  header = ("signal", "compilation cache", "times", *stages)
  return _table((*header, "s a restart", "steps", "goodput"), lines)


def agreement_table(found: list[dict[str, Any]]) -> str:
  """Losses of rows that trained the same batches, as Markdown."""
  lines = [
    (
      " and ".join(x["rows"]),
      "bit for bit" if x["same"] else f"to {x['difference']:.1e}",
      "yes" if x["agree"] else "NO",
    )
    for x in found
  ]
  return _table(("rows", "losses agree", "as they must"), lines)


def _table(header: tuple[Any, ...], lines: list[tuple[Any, ...]]) -> str:
  if not lines:
    return ""
  rows = [header, ("---",) * len(header), *lines]
  return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def _number(value: float | None) -> str:
  return _MISSING if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
  return _MISSING if value is None else f"{value:.0%}"


def _milliseconds(value: float | None) -> str:
  return _MISSING if value is None else f"{value * 1e3:.2f}"


def plot(found: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws images/s and bytes exchanged against devices.

  Args:
    found: rows of `figures`.
    path: a PNG.
  """
  if importlib.util.find_spec("matplotlib") is None:
    contract.fail("--png needs matplotlib: pip install matplotlib")
  from matplotlib import figure

  page = figure.Figure(figsize=(10, 4), layout="constrained")
  speed, sent = page.subplots(1, 2)
  groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
  for x in found:
    share = x["batch"] / x["devices"]
    key = (x["kind"], x["what"], x["chip"], x["precision"], x["parallel"])
    groups.setdefault((*key, share), []).append(x)
  for (kind, what, chip, *_, share), rows in groups.items():
    rows = sorted(rows, key=lambda x: x["devices"])
    title = f"{what}, {share:g} a device, {chip} ({kind})"
    style = "o--" if kind == aot.LABEL else "o-"
    known = [x for x in rows if "images_per_second" in x]
    devices = [x["devices"] for x in known]
    speeds = [x["images_per_second"] for x in known]
    (drawn,) = speed.plot(devices, speeds, style, label=title)
    if len(known) > 1:
      ideal = [speeds[0] * n / devices[0] for n in devices]
      speed.plot(devices, ideal, ":", color=drawn.get_color(), alpha=0.5)
    sizes = [sum(x["collectives"].values()) / 1e6 for x in rows]
    sent.plot([x["devices"] for x in rows], sizes, style, label=title)
  speed.set(
    xlabel="devices",
    ylabel="images/s (predicted: at most; dotted: linear)",
    yscale="log",
  )
  sent.set(xlabel="devices", ylabel="MB a device exchanges in a step")
  ticks = sorted({x["devices"] for x in found})
  for axes in (speed, sent):
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.grid(alpha=0.3)
  speed.legend(fontsize=7)
  path.parent.mkdir(parents=True, exist_ok=True)
  trial = path.with_name(f".{path.name}.part")
  page.savefig(trial, format="png", dpi=120)
  trial.replace(path)


def read(paths: list[pathlib.Path]) -> dict[str, list[dict[str, Any]]]:
  """Joins files of rows.

  Returns:
    `rows` that ran or compiled, `interrupted`, `failed` and `agreement`.
  """
  found: dict[str, list[dict[str, Any]]] = {
    name: [] for name in ("rows", "interrupted", "failed", "agreement")
  }
  for path in paths:
    try:
      text = json.loads(path.read_text(encoding="utf-8"))
      for x in text["rows"]:
        name = "failed" if "error" in x else "rows"
        name = "interrupted" if x.get("kind") == "interrupted" else name
        found[name].append(x)
      found["agreement"] += text.get("agreement", [])
    except (OSError, ValueError, KeyError, TypeError) as error:
      contract.fail(f"{path} holds no rows of a sweep: {error!r}")
  return found


def markdown(
  found: list[dict[str, Any]], given: dict[str, list[dict[str, Any]]]
) -> str:
  """All tables under their titles."""
  run = [x for x in found if x["kind"] != aot.LABEL]
  only_compiled = [x for x in found if x["kind"] == aot.LABEL]
  parts = {
    "Speed": speed_table(run),
    "Predicted: at most so fast": speed_table(only_compiled),
    "Memory and exchange of a device": memory_table(found),
    "Parts, each run alone (ms)": parts_table(found),
    "Interruptions": goodput_table(given["interrupted"]),
    "The same losses": agreement_table(given["agreement"]),
    "Failed": "\n".join(f"* {x['error']}" for x in given["failed"]),
  }
  return "\n".join(f"## {k}\n\n{v}" for k, v in parts.items() if v)


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.report", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("files", type=pathlib.Path, nargs="+", help="of rows")
  add("--markdown", type=pathlib.Path, help="file of the tables")
  add("--png", type=pathlib.Path, help="file of the plot")
  add("--json", type=pathlib.Path, help="file of the figures")
  options = parser.parse_args(argv)
  given = read(options.files)
  found = [figures(row, given["rows"]) for row in given["rows"]]
  text = markdown(found, given)
  print(text, end="")
  if options.markdown:
    options.markdown.parent.mkdir(parents=True, exist_ok=True)
    options.markdown.write_text(text, encoding="utf-8")
  if options.json:
    aot.write(options.json, {**given, "rows": found})
  if options.png:
    plot(found, options.png)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
