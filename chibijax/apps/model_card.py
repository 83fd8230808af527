"""The model card that goes with exported networks, in Markdown.

It says what is known of them, and says so where nothing is: data and metrics
come from the training's config and its `metrics.json`.
"""

import json
from collections.abc import Mapping
from typing import Any

_WHAT = {
  "translation": ("image-to-image", "turns photos into chibi pictures"),
  "style": ("image-to-image", "gives pictures a painted style"),
  "super_resolution": ("image-to-image", "enlarges pictures"),
  "gan": ("unconditional-image-generation", "draws faces that nobody has"),
  "gan_adapt": (
    "unconditional-image-generation",
    "draws faces that nobody has, in a style of few pictures",
  ),
  "autoencoder": ("image-to-image", "codes pictures and decodes them"),
}
_USE = {
  "translation": "chibijax stylize PHOTO OUT.png --workdir FOLDER",
  "style": "chibijax style PHOTO STYLE --workdir FOLDER",
  "super_resolution": "chibijax upscale PHOTO OUT.png --workdir FOLDER",
  **dict.fromkeys(
    ("gan", "gan_adapt", "autoencoder"),
    "chibijax generate OUT.png --workdir FOLDER",
  ),
}
_LIMITS = """\
Pictures of faces are personal: ask those who are in them. Do not use the
results to identify, judge or deceive anybody. Pictures unlike the training's
(other framing, light, ages or skin tones) come out worse, and nobody has
measured by how much unless the metrics above say so."""


def write(described: Mapping[str, Any], counts: Mapping[str, int]) -> str:
  """Writes the card.

  Args:
    described: what `config.json` of the folder says.
    counts: parameters by network.

  Returns:
    Markdown.
  """
  task, config = described["task"], described["config"]
  tag, what = _WHAT.get(task, ("other", f"is of the task {task}"))
  name = (config.get("model") or {}).get("name", "")
  size = config["data"]["size"]
  networks = "\n".join(f"| {n} | {c:,} |" for n, c in counts.items())
  drawn, data = _data(config["data"])
  # What the artist draws is the package's own; of other data we know nothing.
  licence = "apache-2.0" if drawn else "other"
  return f"""---
library_name: chibijax
license: {licence}
pipeline_tag: {tag}
tags: [jax, chibi, {task}]
---

# {f"{name} ({task})" if name else task}

A network of chibijax {described["version"]} that {what}, {size} x {size}
pixels, after {described["step"]:,} training steps.

    {_USE.get(task, 'chibijax.apps.pretrained.load("FOLDER")')}

| network | parameters |
|---|---|
{networks}

Weights are safetensors, float32. Pictures go in and come out as NHWC, sRGB,
[-1, 1].

## Licence

{_licence(drawn)}

## Data

{data}

## Metrics

{_metrics(described["metrics"])}

## Intended use

Making avatars and drawings of people who want them, and research.

## Limits

{_LIMITS}
"""


def _data(data: Mapping[str, Any]) -> tuple[bool, str]:
  """Whether all was drawn by the package, and the data in words."""
  lines, drawn = [], True
  for side in "ab":
    source = data.get(f"source_{side}") or ""
    if source == "artist":
      what = data.get(f"domain_{side}", "")
      lines.append(
        f"- {side}: {what} pictures drawn by the procedural artist of "
        f"chibijax, seed {data.get('seed', 0)}; nobody real is in them."
      )
    elif source:
      drawn = False
      name = data.get(f"path_{side}") or "unnamed"
      lines.append(
        f"- {side}: {source} `{name}`. The card was written by a program: who "
        "is in these pictures, and who agreed, has to be added by hand."
      )
  lines.append(f"- {data.get('examples', 0):,} examples a domain.")
  return drawn, "\n".join(lines)


def _licence(drawn: bool) -> str:
  if drawn:
    return "Apache-2.0, as the package that drew the data."
  return (
    "Not decided: it depends on the data. Whoever publishes this folder has to "
    "state it here and above."
  )


def _metrics(report: Mapping[str, Any]) -> str:
  values = report.get("metrics")
  if not values:
    return "None were measured (`python -m chibijax.main --mode=evaluate`)."
  rows = [
    f"| {name} | {value:.4g} |" if isinstance(value, int | float)
    else f"| {name} | {json.dumps(value)} |"
    for name, value in values.items()
  ]  # fmt: skip
  return (
    f"Step {report.get('step', 0):,}, {report.get('examples', 0):,} held-out "
    f"examples: {report.get('data', 'unnamed')}.\n\n"
    "| metric | mean |\n|---|---|\n" + "\n".join(rows)
  )
