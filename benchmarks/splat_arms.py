"""The arms of `splat.py`: one process each, rendering on command.

All draw the same scene (`splat_scene.py`) with the same options:

* `ours`: `chibijax.ops.splat.rasterize`, native kernels.
* `reference`: its definition in JAX, without native kernels.
* `torch`: gsplat 1.5.3's PyTorch reference: its projection, its accumulation
  and autograd. The search for the pairs of pixel and Gaussian needs CUDA
  there, so they are handed to it and cost it nothing; of nerfacc, which needs
  CUDA too, the two functions it calls are here, faster than nerfacc's.
* `gsplat`: gsplat's CUDA kernels.  `splax`: its Warp kernels, 3 channels.

`forward` gives image and alpha, `both` also the gradients of the Gaussians'
five arrays from given cotangents. Protocol: a line of JSON for each line read.
"""

import importlib.util
import json
import os
import pathlib
import resource
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from splat_scene import GRADIENTS, MAX_ALPHA, Scene

# Of (forward, both): start a render, and wait for it.
Render = Callable[[bool], Any]
INSTALL = {
  "torch": "pip install --no-deps gsplat==1.5.3 ninja rich  # and torch",
  "gsplat": "pip install gsplat==1.5.3 ninja  # builds with nvcc at first use",
  "splax": "pip install splax==0.2.3",
}


def missing(arm: str) -> str | None:
  """Says how to install what an arm needs and this Python lacks."""
  needs = {"torch": ("torch", "gsplat"), "gsplat": ("torch", "gsplat")}
  for name in needs.get(arm, (arm,) if arm == "splax" else ()):
    if importlib.util.find_spec(name) is None:
      return f"{name} is not installed: {INSTALL[arm]}"
  return None


def make_ours(scene: Scene) -> tuple[Render, Callable]:
  """Builds `ours`, which without its kernels would be `reference`."""
  import jax

  from chibijax.ops import splat
  from chibijax.ops.splat import ffi

  if not ffi.available("cuda" if jax.default_backend() == "gpu" else "cpu"):
    sys.exit("No native library: python setup.py build_ext --inplace")
  options = splat.Options(max_alpha=MAX_ALPHA)

  def render(parameters: dict, viewmats: Any, Ks: Any) -> tuple[Any, Any]:
    camera = splat.Camera(
      viewmat=viewmats, K=Ks, width=scene.width, height=scene.height
    )
    out = splat.rasterize(splat.Gaussians(**parameters), camera, options)
    return out.image, out.alpha

  return _jax(scene, render)


def make_reference(scene: Scene) -> tuple[Render, Callable]:
  """Builds `reference`."""
  import jax.numpy as jnp

  from chibijax.ops.splat import Options, reference

  options = Options(max_alpha=MAX_ALPHA)
  size = dict(width=scene.width, height=scene.height, options=options)

  def render(parameters: dict, viewmats: Any, Ks: Any) -> tuple[Any, Any]:
    p = {name: a[None] for name, a in parameters.items()}
    colors = p.pop("colors")[:, None]
    flat = reference.project(**p, viewmats=viewmats[None], Ks=Ks[None], **size)
    background = jnp.zeros((1, len(viewmats), colors.shape[-1]))
    out = reference.composite(
      flat.means2d,
      flat.conics,
      flat.opacities,
      colors,
      flat.depths,
      flat.radii,
      background,
      None,
      **size,
    )
    return out.image[0], 1 - out.transmittance[0]

  return _jax(scene, render)


def _jax(scene: Scene, render: Callable) -> tuple[Render, Callable]:
  """Compiles a function of (parameters, viewmats, Ks) and its gradient."""
  import jax

  parameters = jax.device_put(scene.gaussians)
  cameras = jax.device_put((scene.viewmats, scene.Ks))
  weights = jax.device_put(scene.cotangents())

  def both(parameters: dict, cameras: tuple, weights: tuple) -> dict:
    out, pull = jax.vjp(lambda p: render(p, *cameras), parameters)
    return out, pull(weights)[0]

  def forward(parameters: dict, cameras: tuple) -> tuple:
    return render(parameters, *cameras)

  inputs = {False: (parameters, cameras), True: (parameters, cameras, weights)}
  compiled = {
    backward: jax.jit(f).lower(*inputs[backward]).compile()
    for backward, f in ((False, forward), (True, both))
  }
  return lambda backward: compiled[backward](*inputs[backward]), (
    jax.block_until_ready
  )


def make_splax(scene: Scene) -> tuple[Render, Callable]:
  """Builds `splax`, whose parameters are before their activations."""
  import jax
  import jax.numpy as jnp
  import splax

  focal = float(scene.Ks[0, 0, 0]), float(scene.Ks[0, 1, 1])
  size = scene.height, scene.width

  def render(parameters: dict, viewmats: Any, Ks: Any) -> tuple[Any, Any]:
    del Ks  # static there; the principal point is the centre
    p = parameters
    inputs = (
      p["means"],
      jnp.log(p["scales"]),
      p["quats"],
      # Spherical harmonics of degree 0, and the inverse of the sigmoid.
      ((p["colors"] - 0.5) / 0.28209479177387814)[:, None],
      jnp.log(p["opacities"]) - jnp.log1p(-p["opacities"]),
    )

    def one(viewmat: Any) -> tuple[Any, Any]:
      return splax.render(
        *inputs,
        viewmat=viewmat,
        background=jnp.zeros(3),
        img_shape=size,
        f=focal,
      )

    if len(viewmats) == 1:
      return tuple(a[None] for a in one(viewmats[0]))
    return jax.vmap(one)(viewmats)

  return _jax(scene, render)


def make_gsplat(scene: Scene) -> tuple[Render, Callable]:
  """Builds `gsplat`."""
  import gsplat
  import torch

  def render(parameters: dict, viewmats: Any, Ks: Any) -> tuple[Any, Any]:
    image, alpha, _ = gsplat.rasterization(
      **parameters,
      viewmats=viewmats,
      Ks=Ks,
      width=scene.width,
      height=scene.height,
      packed=False,
    )
    return image, alpha[..., 0]

  run = _torch(scene, render, "cuda")
  return run, lambda out: torch.cuda.synchronize()


def make_torch(scene: Scene, meetings: Any) -> tuple[Render, Callable]:
  """Builds `torch`, given the pairs of `splat_scene.pairs`."""
  import torch

  sys.modules["nerfacc"] = _nerfacc()
  from gsplat.cuda import _torch_impl, _wrapper

  gaussians, pixels = (torch.tensor(a, dtype=torch.int64) for a in meetings)
  indices = gaussians, pixels, torch.zeros_like(pixels)
  _wrapper.rasterize_to_indices_in_range = lambda *args: indices
  # One round over everything, from a list that nobody reads.
  nobody = torch.zeros(1, dtype=torch.int32)

  def render(parameters: dict, viewmats: Any, Ks: Any) -> tuple[Any, Any]:
    p = parameters
    covars, _ = _torch_impl._quat_scale_to_covar_preci(
      p["quats"], p["scales"], compute_preci=False
    )
    _, means2d, _, conics, _ = _torch_impl._fully_fused_projection(
      p["means"], covars, viewmats, Ks, scene.width, scene.height
    )
    image, alpha = _torch_impl._rasterize_to_pixels(
      means2d,
      conics,
      p["colors"][None],
      p["opacities"][None],
      scene.width,
      scene.height,
      max(scene.width, scene.height),
      nobody.reshape(1, 1, 1),
      nobody,
    )
    return image, alpha[..., 0]

  return _torch(scene, render, "cpu"), lambda out: out


def _torch(scene: Scene, render: Callable, device: str) -> Render:
  """Wraps a function of (parameters, viewmats, Ks) and its gradient."""
  import torch

  parameters = {
    name: torch.tensor(a, device=device) for name, a in scene.gaussians.items()
  }
  cameras = [torch.tensor(a, device=device) for a in (scene.viewmats, scene.Ks)]
  weights = [torch.tensor(a, device=device) for a in scene.cotangents()]

  def run(backward: bool) -> Any:
    if not backward:
      with torch.no_grad():
        return render(parameters, *cameras)
    leaves = {n: a.requires_grad_() for n, a in parameters.items()}
    out = render(leaves, *cameras)
    grads = torch.autograd.grad(out, list(leaves.values()), weights)
    for a in leaves.values():
      a.requires_grad_(False)
    return tuple(a.detach() for a in out), dict(zip(leaves, grads))

  return run


def _nerfacc() -> types.ModuleType:
  """The two functions of nerfacc that gsplat calls, for sorted rays."""
  import torch

  def render_weight_from_alpha(alphas, *, ray_indices, n_rays):
    # Transmittance before each sample: a sum of logarithms within its ray.
    counts = torch.bincount(ray_indices, minlength=n_rays)
    logs = torch.log1p(-alphas).double()
    total = torch.cumsum(logs, 0) - logs
    first = torch.cumsum(counts, 0) - counts
    start = total[first.clamp(max=max(len(logs) - 1, 0))]
    through = torch.exp(total - start[ray_indices]).to(alphas.dtype)
    return alphas * through, through

  def accumulate_along_rays(weights, values, *, ray_indices, n_rays):
    values = weights[:, None] if values is None else weights[:, None] * values
    out = values.new_zeros(n_rays, values.shape[1])
    return out.index_add(0, ray_indices, values)

  module = types.ModuleType("nerfacc")
  module.render_weight_from_alpha = render_weight_from_alpha
  module.accumulate_along_rays = accumulate_along_rays
  return module


def load(folder: str) -> tuple[Scene, Any]:
  """The scene and its pairs (None where nobody needs them)."""
  path = pathlib.Path(folder)
  with np.load(path / "scene.npz") as arrays:
    fields = {k: v if v.ndim else int(v) for k, v in arrays.items()}
  scene = Scene(**fields)
  pairs = path / "pairs.npy"
  return scene, np.load(pairs) if pairs.exists() else None


def save(path: str, out: tuple[Any, dict[str, Any]]) -> None:
  """Writes image, alpha and gradients for the comparison."""
  (image, alpha), grads = out
  arrays = {"image": image, "alpha": alpha}
  arrays |= {f"grad_{name}": grads[name] for name in GRADIENTS}
  arrays = {
    k: a.cpu().numpy() if hasattr(a, "cpu") else np.asarray(a)
    for k, a in arrays.items()
  }
  np.savez(path, **arrays)


def main() -> None:
  """Serves one arm: `splat_arms.py ARM THREADS`, 0 threads for a GPU."""
  arm, threads = sys.argv[1], int(sys.argv[2])
  # Whatever prints to stdout must not disturb the protocol.
  answers = os.fdopen(os.dup(1), "w", buffering=1)
  os.dup2(2, 1)
  if threads:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if arm == "torch":
      import torch

      torch.set_num_threads(threads)
  render, wait = None, None
  for line in sys.stdin:
    words = line.split()
    start, cpu = time.perf_counter(), time.process_time()
    if words[0] == "scene":
      render = None  # the last scene's memory
      scene, pairs = load(words[1])
      make = globals()[f"make_{arm}"]
      render, wait = make(scene, pairs) if arm == "torch" else make(scene)
    elif words[0] == "save":
      save(words[1], wait_for(render(True), wait))
    else:
      out = None  # one result at a time, on GPUs they are large
      for _ in range(int(words[1])):
        out = render(words[0] == "both")
      wait_for(out, wait)
      del out
    answer = {
      "wall_s": time.perf_counter() - start,
      "cpu_s": time.process_time() - cpu,
      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    answers.write(json.dumps(answer) + "\n")


def wait_for(out: Any, wait: Callable) -> Any:
  """Waits until a render is there, and returns it."""
  wait(out)
  return out


if __name__ == "__main__":
  main()
