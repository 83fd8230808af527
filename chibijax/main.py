"""The command that trains and evaluates.

  python -m chibijax.main --config=configs/cyclegan.py --workdir=runs/cyclegan

Exit codes: 0 done; 42 saved and asked to stop (run again to resume); 1 for a
mistake that one sentence on the error stream explains.
"""

import json
import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Experiment, such as configs/cyclegan.py:quick.",
  lock_config=True,
)  # fmt: skip
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.")
MODE = flags.DEFINE_enum(
  "mode", "train", ["train", "evaluate"], "What to do with the run."
)
COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "host:port of process 0; found by itself on clusters."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "This process's number.")

SAVED_AND_STOPPED = 42


def main(argv: Sequence[str]) -> None:
  """Runs the mode asked for and leaves with its exit code."""
  if len(argv) > 1:
    sys.exit(f"Unexpected argument {argv[1]!r}; flags begin with --.")
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # Orbax tells of its every step.
  # JAX is imported once the flags are right: a typing error answers at once.
  from chibijax import errors, evaluate, train
  from chibijax.core import parallel

  config, finished = CONFIG.value, True
  overrides = config_flags.get_override_values(flags.FLAGS["config"])
  try:
    parallel.initialize(
      COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    )
    if MODE.value == "train":
      finished = train.train(config, WORKDIR.value, overrides).finished
    else:
      print(json.dumps(evaluate.evaluate(config, WORKDIR.value), indent=2))
  except errors.UserError as error:
    sys.exit(f"chibijax: {error}")
  except KeyboardInterrupt:
    sys.exit("chibijax: interrupted; the last checkpoint is as it was.")
  sys.exit(0 if finished else SAVED_AND_STOPPED)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; a mistake in them ends in one sentence."""
  try:
    rest = flags.FLAGS(argv)
    _ = CONFIG.value.task  # A config that did not load says so only here.
  except Exception as error:  # Configs are code, which can raise anything.
    last = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = str((last or [error])[-1])
    name = words.strip("\"'")
    if name.isidentifier():  # All that a name which is missing says.
      words = f"the config has no value {name!r}."
    sys.exit(f"chibijax: these flags cannot be used: {words}")
  return rest


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main, flags_parser=parse_flags)
