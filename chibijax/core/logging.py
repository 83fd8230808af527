"""What a person sees of a run: progress, numbers, pictures, profiles.

Numbers go to `metrics.jsonl` always, one JSON object a line, and to TensorBoard
where TensorFlow is installed. Only the primary process writes.
"""

import importlib.util
import io
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, SupportsFloat

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from tqdm import tqdm

from chibijax.core.workdir import write_bytes, write_text

# Pictures of a sample grid are enlarged to about this many pixels.
_SHOWN_SIZE = 128


class RunLog:
  """The progress line, JSONL file, TensorBoard events of one run."""

  def __init__(
    self,
    folder: pathlib.Path,
    *,
    total_steps: int,
    start: int,
    batch_size: int,
    primary: bool = True,
  ):
    """Opens the logs, dropping lines of steps that will be run again.

    Args:
      folder: the run's folder.
      total_steps: number of steps of the whole run.
      start: finished steps, > 0 when resuming.
      batch_size: examples a step, for the throughput.
      primary: whether this process writes.
    """
    self._primary = primary
    self._batch_size = batch_size
    self._path = folder / "metrics.jsonl"
    self._writer = None
    self._file: Any = None
    if primary:
      _drop_lines_after(self._path, start, total_steps)
      self._file = self._path.open("a", encoding="utf-8")
      self._writer = _tensorboard_writer(folder)
    self._bar = tqdm(
      total=total_steps,
      initial=start,
      unit="step",
      dynamic_ncols=True,
      smoothing=0.05,
      # Without a terminal the bar would be a file full of carriage returns:
      # there, each logged step is one plain line instead.
      disable=not (primary and sys.stderr.isatty()),
    )
    self._total = total_steps
    self._mark = (start, time.monotonic())
    self._speed = 0.0  # steps per second between the last two log lines

  def __enter__(self) -> "RunLog":
    """Returns itself."""
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    """Closes the bar and the files."""
    self._bar.close()
    if self._file is not None:
      self._file.close()
    if self._writer is not None:
      self._writer.close()

  def step(self) -> None:
    """Moves the progress line by one step."""
    self._bar.update()

  def scalars(
    self, step: int, values: Mapping[str, SupportsFloat], kind: str = "train"
  ) -> None:
    """Writes numbers, and shows those of the training.

    Args:
      step: finished steps.
      values: the numbers by name.
      kind: "train" or "eval".
    """
    if not self._primary:
      return
    numbers = {name: float(value) for name, value in values.items()}
    if kind == "train":
      numbers |= self._throughput(step)
    line = {"step": step, "kind": kind, **numbers}
    self._file.write(json.dumps(line) + "\n")
    self._file.flush()
    if self._writer is not None:
      self._writer.write_scalars(
        step, {f"{kind}/{name}": value for name, value in numbers.items()}
      )
    shown = " ".join(f"{name}={value:.3g}" for name, value in numbers.items())
    if kind == "train" and not self._bar.disable:
      self._bar.set_postfix_str(shown)
    else:
      left = (self._total - step) / max(self._speed, 1e-9)
      eta = f" ETA {left / 60:.1f} min" if kind == "train" else ""
      self.say(f"[{kind}] step {step}/{self._total}{eta} {shown}")

  def _throughput(self, step: int) -> dict[str, float]:
    before, then = self._mark
    now = time.monotonic()
    self._mark = (step, now)
    self._speed = (step - before) / max(now - then, 1e-9)
    return {"images_per_second": self._speed * self._batch_size}

  def pause(self, seconds: float) -> None:
    """Leaves time spent elsewhere (evaluation, say) out of the throughput."""
    self._mark = (self._mark[0], self._mark[1] + seconds)

  def say(self, sentence: str) -> None:
    """Prints a line without breaking the bar."""
    if self._primary:
      tqdm.write(sentence, file=sys.stderr)
      sys.stderr.flush()

  def grid(
    self, step: int, columns: Mapping[str, Float[np.ndarray, "b h w c"]]
  ) -> pathlib.Path | None:
    """Writes a sample grid, one row an example, one titled column a picture.

    Args:
      step: finished steps.
      columns: pictures in [-1, 1] by column title.

    Returns:
      The file, `samples/step_XXXXXXXX.png`, or None where nothing is written.
    """
    if not (self._primary and columns):
      return None
    picture = image_grid(columns)
    path = self._path.parent / "samples" / f"step_{step:08d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, picture)
    if self._writer is not None:
      self._writer.write_images(step, {"samples": picture[None]})
    return path


class ProfilerWindow:
  """Records `steps` steps from step `start` on with JAX's profiler."""

  def __init__(self, folder: pathlib.Path, start: int, steps: int):
    """Sets the window; `steps` of 0 is none."""
    self._folder = folder / "profile"
    self._first, self._last = start, start + steps
    self._open = False

  def update(self, step: int, pending: Any) -> None:
    """Opens or closes the window.

    Args:
      step: finished steps.
      pending: results to wait for, so that the window holds whole steps.
    """
    if self._open and step >= self._last:
      jax.block_until_ready(pending)
      self.close()
    elif not self._open and self._first <= step < self._last:
      jax.block_until_ready(pending)
      jax.profiler.start_trace(str(self._folder))
      self._open = True

  def close(self) -> None:
    """Ends the recording if it runs."""
    if self._open:
      jax.profiler.stop_trace()
      self._open = False


def image_grid(
  columns: Mapping[str, Float[np.ndarray, "b h w c"]], gap: int = 2
) -> UInt8[np.ndarray, "height width 3"]:
  """Lays pictures out in titled columns, small ones enlarged.

  Args:
    columns: pictures in [-1, 1] by title; all of one size, 1 or 3 channels.
    gap: white pixels between pictures.

  Returns:
    The grid, sRGB.
  """
  zoom = max(1, round(_SHOWN_SIZE / next(iter(columns.values())).shape[2]))
  stacks = [
    np.broadcast_to(p, (*p.shape[:3], 3)).repeat(zoom, 1).repeat(zoom, 2)
    for p in map(np.asarray, columns.values())
  ]
  rows, height, width, _ = stacks[0].shape
  title = 14
  grid = np.full(
    (title + rows * (height + gap), len(stacks) * (width + gap) - gap, 3),
    255, np.uint8,
  )  # fmt: skip
  for column, stack in enumerate(stacks):
    pixels = np.clip(np.rint((stack + 1) * 127.5), 0, 255).astype(np.uint8)
    for row in range(rows):
      top, left = title + row * (height + gap), column * (width + gap)
      grid[top : top + height, left : left + width] = pixels[row]
  picture = Image.fromarray(grid)
  draw = ImageDraw.Draw(picture)
  for column, name in enumerate(columns):
    # A long title is cut to its column rather than written over the next.
    letters = max(1, width // 6)
    draw.text((column * (width + gap) + 1, 1), name[:letters], fill=(0, 0, 0))
  return np.asarray(picture)


def write_png(path: pathlib.Path, picture: UInt8[np.ndarray, "h w c"]) -> None:
  """Writes a PNG under a temporary name, then renames it."""
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, "PNG")
  write_bytes(path, buffer.getvalue())


def _drop_lines_after(path: pathlib.Path, start: int, total: int) -> None:
  """Removes what a run wrote after the checkpoint it resumes from.

  An evaluation at step k comes before the checkpoint of step k and is made
  again on resuming, so its line goes too, unless the run is finished.
  """
  if not path.is_file():
    return
  kept = []
  for line in path.read_text(encoding="utf-8").splitlines():
    try:
      entry = json.loads(line)
    except json.JSONDecodeError:
      continue  # A line cut short by a kill.
    again = entry["kind"] == "eval" and start < total
    if entry["step"] < start or (entry["step"] == start and not again):
      kept.append(line + "\n")
  write_text(path, "".join(kept))


def _tensorboard_writer(folder: pathlib.Path) -> Any:
  """clu's TensorBoard writer, or None without TensorFlow."""
  if importlib.util.find_spec("tensorflow") is None:
    return None
  from clu import metric_writers

  return metric_writers.SummaryWriter(str(folder / "tensorboard"))
