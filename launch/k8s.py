r"""A training as a Kubernetes JobSet, on CPUs, GPUs or TPUs.

  python -m launch.k8s --name cyclegan --image ghcr.io/me/chibijax:cuda12 \
    --hosts 2 --gpus 8 --volume my-claim \
    -- --config=configs/cyclegan.py --workdir=/runs/cyclegan > job.yaml
  kubectl apply -f job.yaml

Needs the JobSet controller (jobset.x-k8s.io). Each pod is one process; the
headless service that JobSet makes names rank 0, so no pod asks the API server
and no role is needed. Exit code 42 starts a pod again without counting; a
death restarts all pods, a few times; another code fails the JobSet.
"""

import argparse
import dataclasses
import json
import re
import sys
from typing import Any

from launch import contract

PORT = 8476
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_TPU = re.compile(r"(?P<kind>[a-z0-9-]+):(?P<topology>\d+(x\d+){1,2})")
_GRACE_SECONDS = 300
_MOUNT = "/runs"


@dataclasses.dataclass(frozen=True)
class Spec:
  """What a JobSet asks for.

  Attributes:
    flags: of the training; they name config and workdir.
    image: of the container, see launch/Dockerfile.*.
    name: of the JobSet: at most 40 of a-z, 0-9 and -.
    hosts: pods, one process each.
    gpus: NVIDIA GPUs of a pod.
    tpu: GKE's accelerator and topology, such as tpu-v5-lite-podslice:2x4.
    chips: TPU chips of a pod.
    cpus: cores of a pod.
    memory: of a pod, such as 32Gi.
    volume: claim that all pods mount at /runs; "" for none.
    failures: restarts of all pods.
  """

  flags: tuple[str, ...]
  image: str
  name: str = "chibijax"
  hosts: int = 1
  gpus: int = 0
  tpu: str = ""
  chips: int = 4
  cpus: int = 8
  memory: str = "32Gi"
  volume: str = ""
  failures: int = 3


def render(spec: Spec) -> str:
  """Writes the JobSet.

  Args:
    spec: what to run.

  Returns:
    YAML. Strings are written as JSON, which YAML contains.

  Raises:
    ValueError: if Kubernetes would refuse a value.
  """
  check(spec)
  return "\n".join(_yaml(manifest(spec))) + "\n"


def check(spec: Spec) -> None:
  """Refuses what Kubernetes would.

  Raises:
    ValueError: with one sentence.
  """
  if not _NAME.fullmatch(spec.name):
    raise ValueError(
      f"--name is {spec.name!r}, expected at most 40 of a-z, 0-9 and -"
    )
  if spec.hosts < 1:
    raise ValueError(f"--hosts is {spec.hosts}, expected at least 1")
  if spec.gpus and spec.tpu:
    raise ValueError("--gpus and --tpu exclude each other")
  if spec.tpu and not _TPU.fullmatch(spec.tpu):
    raise ValueError(
      f"--tpu is {spec.tpu!r}, expected one such as tpu-v5-lite-podslice:2x4"
    )
  workdir = contract.value(list(spec.flags), "workdir") or ""
  if spec.volume and not workdir.startswith(f"{_MOUNT}/"):
    raise ValueError(
      f"--workdir is {workdir!r}, expected a folder in {_MOUNT}/, where the "
      "volume is: what a pod keeps elsewhere is lost with it"
    )


def manifest(spec: Spec) -> dict[str, Any]:
  """The JobSet as Kubernetes' API has it."""
  job = {
    "parallelism": spec.hosts,
    "completions": spec.hosts,
    "completionMode": "Indexed",
    # Any death ends the Job; the JobSet then restarts all pods together.
    "backoffLimit": 0,
    "podFailurePolicy": {"rules": _rules()},
    "template": {"spec": _pod(spec)},
  }
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": spec.name},
    "spec": {
      "network": {"enableDNSHostnames": True},
      "failurePolicy": {
        "maxRestarts": spec.failures,
        "rules": [
          {
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
          }
        ],
      },
      "replicatedJobs": [
        {"name": "worker", "replicas": 1, "template": {"spec": job}}
      ],
    },
  }


def _rules() -> list[dict[str, Any]]:
  restart = [contract.PREEMPTED, *contract.INTERRUPTED]
  return [
    # The order matters: the first rule that fits decides.
    {
      "action": "Ignore",
      "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    },
    {
      "action": "Ignore",
      "onExitCodes": {"operator": "In", "values": [contract.PREEMPTED]},
    },
    {
      "action": "FailJob",
      "onExitCodes": {"operator": "NotIn", "values": restart},
    },
  ]


def _pod(spec: Spec) -> dict[str, Any]:
  resources: dict[str, Any] = {"cpu": str(spec.cpus), "memory": spec.memory}
  pod: dict[str, Any] = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": _GRACE_SECONDS,
    "securityContext": {"runAsNonRoot": True, "fsGroup": 1000},
  }
  if spec.gpus:
    resources["nvidia.com/gpu"] = str(spec.gpus)
  if spec.tpu:
    resources["google.com/tpu"] = str(spec.chips)
    kind, topology = spec.tpu.split(":")
    pod["nodeSelector"] = {
      "cloud.google.com/gke-tpu-accelerator": kind,
      "cloud.google.com/gke-tpu-topology": topology,
    }
  # NCCL and Grain's workers share memory; the default is 64 MiB.
  volumes = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
  mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
  if spec.volume:
    claim = {"claimName": spec.volume}
    volumes.append({"name": "runs", "persistentVolumeClaim": claim})
    mounts.append({"name": "runs", "mountPath": _MOUNT})
  return pod | {
    "containers": [
      {
        "name": "training",
        "image": spec.image,
        "command": ["python", "-m", contract.MODULE],
        "args": [*spec.flags, *_peers(spec)],
        "ports": [{"containerPort": PORT}],
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": mounts,
      }
    ],
    "volumes": volumes,
  }


def _peers(spec: Spec) -> list[str]:
  """Flags that name rank 0; Kubernetes fills in the pod's own number."""
  if spec.hosts == 1 or spec.tpu:
    return []  # Cloud TPU tells its hosts itself.
  return [
    f"--coordinator={spec.name}-worker-0-0.{spec.name}:{PORT}",
    f"--num_processes={spec.hosts}",
    "--process_id=$(JOB_COMPLETION_INDEX)",
  ]


def _yaml(value: Any, indent: int = 0) -> list[str]:
  """Block style of dicts and lists; everything else as JSON."""
  pad, lines = " " * indent, []
  entries = value.items() if isinstance(value, dict) else enumerate(value)
  for key, item in entries:
    head = f"{pad}{key}:" if isinstance(value, dict) else f"{pad}-"
    if not isinstance(item, dict | list) or not item:
      lines.append(f"{head} {json.dumps(item)}")
    elif isinstance(value, dict):
      lines += [head, *_yaml(item, indent + 2)]
    else:
      inner = _yaml(item, indent + 2)
      lines += [f"{head} {inner[0].lstrip()}", *inner[1:]]
  return lines


def parse(argv: list[str]) -> tuple[Spec, bool]:
  """Reads the command line: what to run, and whether to apply it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.k8s", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--image", required=True, help="container, see launch/Dockerfile.*")
  add("--name", default="chibijax", help="of the JobSet")
  add("--hosts", type=int, default=1, help="pods, one process each")
  add("--gpus", type=int, default=0, help="NVIDIA GPUs of a pod")
  add("--tpu", default="", help="accelerator:topology, as GKE names them")
  add("--chips", type=int, default=4, help="TPU chips of a pod")
  add("--cpus", type=int, default=8, help="cores of a pod")
  add("--memory", default="32Gi", help="of a pod")
  add("--volume", default="", help=f"claim that is mounted at {_MOUNT}")
  add("--max-failures", type=int, default=3, help="restarts of all pods")
  add("--apply", action="store_true", help="hand it to kubectl")
  add("--dry-run", action="store_true", help="print it only, the default")
  add("flags", nargs=argparse.REMAINDER, help="-- and the training's flags")
  options = parser.parse_args(argv)
  spec = Spec(
    flags=tuple(contract.training_flags(options.flags)),
    image=options.image,
    name=options.name,
    hosts=options.hosts,
    gpus=options.gpus,
    tpu=options.tpu,
    chips=options.chips,
    cpus=options.cpus,
    memory=options.memory,
    volume=options.volume,
    failures=options.max_failures,
  )
  return spec, options.apply and not options.dry_run


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  spec, wanted = parse(argv)
  command = ["kubectl", "apply", "-f", "-"]
  return contract.finish(lambda: render(spec), command, wanted=wanted)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
