"""How long stages take, in seconds by name."""

import time
from collections.abc import Callable
from typing import Any


class Clock:
  """Measures how long stages take.

  Attributes:
    times: seconds by stage.
  """

  def __init__(self) -> None:
    """Starts the first stage."""
    self.times: dict[str, float] = {}
    self._start = time.perf_counter()

  def lap(self, stage: str) -> float:
    """Ends a stage, and returns its seconds."""
    now = time.perf_counter()
    took, self._start = now - self._start, now
    self.times[stage] = self.times.get(stage, 0.0) + took
    return took


def timed(
  stage: str, times: dict[str, float], function: Callable[..., Any] | None
) -> "Timed | None":
  """`Timed`, or None where there is no function."""
  return None if function is None else Timed(stage, times, function)


class Timed:
  """A function that adds the seconds it takes to a table.

  Its other attributes are those of the function.
  """

  def __init__(
    self, stage: str, times: dict[str, float], function: Callable[..., Any]
  ) -> None:
    """Names the function's stage in the table."""
    self._stage, self._times, self._function = stage, times, function

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    """Calls the function, and measures."""
    start = time.perf_counter()
    result = self._function(*args, **kwargs)
    took = time.perf_counter() - start
    self._times[self._stage] = self._times.get(self._stage, 0.0) + took
    return result

  def __getattr__(self, name: str) -> Any:
    """What the function says of itself, such as its frame."""
    return getattr(self._function, name)
