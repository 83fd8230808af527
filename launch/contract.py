"""What an exit code means, and how often a run is started again."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

DONE = 0
PREEMPTED = 42
# 128 + SIGABRT, SIGKILL, SIGTERM: JAX aborts a process whose peer died.
INTERRUPTED = (134, 137, 143)
MODULE = "chibijax.main"


@dataclasses.dataclass
class Budget:
  """How often a run may still be started again.

  Attributes:
    preemptions: after it was asked to stop and saved.
    failures: after a process died.
  """

  preemptions: int = 100
  failures: int = 3

  def spend(self, code: int) -> bool:
    """Decides what follows an exit code.

    Args:
      code: of the process that ended first; a negative one is a signal.

    Returns:
      Whether to start again.
    """
    code = exit_code(code)
    if code == PREEMPTED and self.preemptions > 0:
      self.preemptions -= 1
      return True
    if code in INTERRUPTED and self.failures > 0:
      self.failures -= 1
      return True
    return False


def exit_code(code: int) -> int:
  """The code as a shell shows it: 128 + n for signal n."""
  return 128 - code if code < 0 else code


def fail(sentence: str) -> NoReturn:
  """Ends a launcher that was used wrongly, with one sentence."""
  print(f"launch: {sentence}", file=sys.stderr)
  sys.exit(2)


def value(flags: list[str], name: str) -> str | None:
  """Finds the value of `--name=value` or `--name value` among flags."""
  for i, flag in enumerate(flags):
    if flag.startswith(f"--{name}="):
      return flag.partition("=")[2]
    if flag == f"--{name}" and i + 1 < len(flags):
      return flags[i + 1]
  return None


def hand_to(command: list[str], text: str) -> int:
  """Gives a scheduler's command what was rendered.

  Args:
    command: the program and its arguments; it reads standard input.
    text: what it reads.

  Returns:
    Its exit code.
  """
  if shutil.which(command[0]) is None:
    fail(
      f"{command[0]} is not on this host's PATH; run this where it is, or take "
      "what --dry-run prints."
    )
  return subprocess.run(command, input=text, text=True).returncode


def finish(
  render: Callable[[], str], command: list[str], *, wanted: bool
) -> int:
  """Prints what was rendered, or gives it to a scheduler's command.

  Args:
    render: makes the text; a ValueError of its becomes a sentence.
    command: see `hand_to`.
    wanted: whether the command shall have it.

  Returns:
    The exit code.
  """
  try:
    text = render()
  except ValueError as error:
    fail(f"{error}.")
  if wanted:
    return hand_to(command, text)
  print(text, end="")
  return 0


def training_flags(given: list[str]) -> list[str]:
  """Checks the flags after `--`.

  Args:
    given: as argparse leaves them, with or without a leading `--`.

  Returns:
    The flags of the training.
  """
  flags = given[1:] if given[:1] == ["--"] else given
  for name in ("config", "workdir"):
    if not value(flags, name):
      fail(f"the training's flags, after --, lack --{name}=...")
  return flags
