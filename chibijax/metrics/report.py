"""`metrics.json`: numbers together with what they are numbers of."""

import dataclasses
import datetime
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from chibijax import __version__
from chibijax.metrics.estimate import Estimate
from chibijax.metrics.extract import RESIZE
from chibijax.metrics.fairness import Fairness

_PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "dm-pix")


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What was compared, and with what.

  Attributes:
    judged: what was judged, in words: a folder, or a run and its step.
    judged_count: pictures of it.
    reference: what it was compared with.
    reference_count: pictures of that.
    reference_is: "target" if the reference is what the pictures should look
      like, "source" if it is what they were made from. Distances to the one and
      to the other do not compare.
    networks: descriptions of the feature networks, with the SHA-256 of their
      weights.
    resize: how pictures were resized for set metrics.
    notes: whatever else a reader must know.
  """

  judged: str
  judged_count: int
  reference: str
  reference_count: int
  reference_is: Literal["target", "source"] = "target"
  networks: Sequence[Mapping[str, Any]] = ()
  resize: str = RESIZE
  notes: Sequence[str] = ()


def as_dict(
  results: Mapping[str, Estimate],
  manifest: Manifest,
  groups: Mapping[str, Fairness] | None = None,
) -> dict[str, Any]:
  """Everything a reader needs, as JSON-able values.

  Args:
    results: estimates by metric.
    manifest: what was compared.
    groups: the same metrics by group of people.

  Returns:
    {"metrics": ..., "groups": ..., "manifest": ...}; numbers that are not
    finite become null.
  """
  found: dict[str, Any] = {
    "metrics": {k: dataclasses.asdict(v) for k, v in results.items()}
  }
  if groups:
    found["groups"] = {
      name: {
        **dataclasses.asdict(fairness),
        "worst_gap": (
          None if fairness.worst is None
          else dataclasses.asdict(fairness.worst)
        ),
      }
      for name, fairness in groups.items()
    }  # fmt: skip
  found["manifest"] = {
    **dataclasses.asdict(manifest),
    "versions": _versions(),
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  return _finite(found)


def to_json(report: Mapping[str, Any]) -> str:
  """Text of a report, with a newline at its end."""
  return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _versions() -> dict[str, str]:
  found = {"chibijax": __version__, "python": platform.python_version()}
  for name in _PACKAGES:
    found[name] = importlib.metadata.version(name)
  return found


def _finite(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {str(k): _finite(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(v) for v in value]
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  return value
