r"""A training on Cloud TPU VMs, through gcloud's queued resources.

  python -m launch.tpu_vm --name cyclegan --zone us-central2-b --type v5e-16 \
    -- --config=configs/cyclegan.py --workdir=/mnt/runs/cyclegan

Prints the commands; --execute runs them one after the other and stops at the
first that fails. All hosts run the same command, and JAX finds its peers from
the VMs' metadata. A spot slice that is taken away comes back under the same
request; `--step train` then goes on from the last checkpoint. The workdir must
be a folder that all hosts see: Filestore, or a bucket mounted with gcsfuse.
"""

import argparse
import dataclasses
import re
import shlex
import shutil
import subprocess
import sys

from launch import contract

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?")
# Software of the VM and the accelerator's name in gcloud, by generation.
_GENERATIONS = {
  "v4": ("tpu-ubuntu2204-base", "v4-{}"),
  "v5e": ("v2-alpha-tpuv5-lite", "v5litepod-{}"),
  "v5p": ("v2-alpha-tpuv5", "v5p-{}"),
  "v6e": ("v2-alpha-tpuv6e", "v6e-{}"),
}
_TYPE = re.compile(r"(v4|v5e|v5p|v6e)-(\d+)")
STEPS = ("create", "wait", "copy", "install", "train", "delete")


@dataclasses.dataclass(frozen=True)
class Spec:
  """What is asked for.

  Attributes:
    flags: of the training; the workdir is one that all hosts see.
    name: of the request and of the VM.
    zone: such as us-central2-b.
    type: generation and size, such as v5e-16.
    project: of Google Cloud; "" is gcloud's own default.
    spot: whether the slice may be taken away, for less money.
    source: the checkout that is copied to the hosts.
  """

  flags: tuple[str, ...]
  name: str
  zone: str
  type: str
  project: str = ""
  spot: bool = False
  source: str = "."


def commands(spec: Spec, step: str) -> list[list[str]]:
  """The commands of one step.

  Args:
    spec: what is asked for.
    step: one of `STEPS`.

  Returns:
    Programs with their arguments.

  Raises:
    ValueError: if a value cannot be used.
  """
  check(spec)
  where = [f"--zone={spec.zone}"]
  if spec.project:
    where.append(f"--project={spec.project}")
  queued = ["gcloud", "compute", "tpus", "queued-resources"]
  vm = ["gcloud", "compute", "tpus", "tpu-vm"]
  generation, _, size = spec.type.partition("-")
  software, accelerator = _GENERATIONS[generation]
  if step == "create":
    return [
      [
        *queued, "create", spec.name, f"--node-id={spec.name}",
        f"--accelerator-type={accelerator.format(size)}",
        f"--runtime-version={software}", *where, *(["--spot"] * spec.spot),
      ]
    ]  # fmt: skip
  if step == "wait":
    return [[*queued, "describe", spec.name, "--format=value(state.state)",
             *where]]  # fmt: skip
  if step == "copy":
    # A folder that is there already would be copied into.
    return [
      _ssh(vm, spec, "rm -rf chibijax-source", where),
      [
        *vm, "scp", "--recurse", "--worker=all", spec.source,
        f"{spec.name}:chibijax-source", *where,
      ],
    ]  # fmt: skip
  if step == "install":
    line = "python3 -m pip install -q -e './chibijax-source[tpu]'"
    return [_ssh(vm, spec, line, where)]
  if step == "train":
    return [_ssh(vm, spec, _training(spec), where)]
  if step == "delete":
    return [[*queued, "delete", spec.name, "--force", "--quiet", *where]]
  raise ValueError(f"--step is {step!r}, expected one of {', '.join(STEPS)}")


def check(spec: Spec) -> None:
  """Refuses what gcloud would.

  Raises:
    ValueError: with one sentence.
  """
  if not _NAME.fullmatch(spec.name):
    raise ValueError(
      f"--name is {spec.name!r}, expected a letter, then a-z, 0-9 and -"
    )
  if not _TYPE.fullmatch(spec.type):
    raise ValueError(
      f"--type is {spec.type!r}, expected a generation of "
      f"{', '.join(_GENERATIONS)} and a size, such as v5e-16"
    )
  workdir = contract.value(list(spec.flags), "workdir") or ""
  if "://" in workdir:
    raise ValueError(
      f"--workdir is {workdir!r}, expected a folder that all hosts see, such "
      "as a bucket mounted with gcsfuse"
    )


def _training(spec: Spec) -> str:
  """One line of shell: again after 42, at most a few times after a death."""
  command = shlex.join(["python3", "-m", contract.MODULE, *spec.flags])
  interrupted = "|".join(map(str, contract.INTERRUPTED))
  budget = contract.Budget()
  return (
    f"cd chibijax-source && left={budget.failures}; while true; do {command}; "
    f"code=$?; case $code in {contract.PREEMPTED}) ;; {interrupted}) "
    'left=$((left - 1)); [ "$left" -ge 0 ] || exit $code ;; '
    "*) exit $code ;; esac; done"
  )


def _ssh(vm: list[str], spec: Spec, line: str, where: list[str]) -> list[str]:
  return [*vm, "ssh", spec.name, "--worker=all", f"--command={line}", *where]


def parse(argv: list[str]) -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.tpu_vm", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--name", required=True, help="of the request and the VM")
  add("--zone", required=True, help="such as us-central2-b")
  add("--type", required=True, help="generation and size, such as v5e-16")
  add("--project", default="", help="of Google Cloud")
  add("--spot", action="store_true", help="cheaper, may be taken away")
  add("--source", default=".", help="checkout that is copied to the hosts")
  add("--step", choices=STEPS, action="append", help="default: all but delete")
  add("--execute", action="store_true", help="run the commands")
  add("--dry-run", action="store_true", help="print them only, the default")
  add("flags", nargs=argparse.REMAINDER, help="-- and the training's flags")
  return parser.parse_args(argv)


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  options = parse(argv)
  spec = Spec(
    flags=tuple(contract.training_flags(options.flags)),
    name=options.name,
    zone=options.zone,
    type=options.type,
    project=options.project,
    spot=options.spot,
    source=options.source,
  )
  execute = options.execute and not options.dry_run
  if execute and shutil.which("gcloud") is None:
    contract.fail("gcloud is not on this host's PATH.")
  try:
    todo = [
      command
      for step in options.step or STEPS[:-1]
      for command in commands(spec, step)
    ]
  except ValueError as error:
    contract.fail(f"{error}.")
  for command in todo:
    print(shlex.join(command), flush=True)
    if execute and (code := subprocess.run(command).returncode):
      return code
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
