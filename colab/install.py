# %% Install, and keep the runtime's own JAX, Flax and NumPy.
import importlib.metadata as metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

SOURCE = ""  # @param {type:"string"} git address of your copy of chibijax
if importlib.util.find_spec("chibijax") is None:
  assert SOURCE, "Fill in SOURCE: the git address of your copy of chibijax."
  subprocess.run(["git", "clone", "-q", SOURCE, "source"], check=True)
  names = {dist.name for dist in metadata.distributions()}
  kept = names & {"jax", "jaxlib", "flax", "numpy", "libtpu"}
  lines = [f"{name}=={metadata.version(name)}\n" for name in sorted(kept)]
  pathlib.Path("kept.txt").write_text("".join(lines))
  pip = [sys.executable, "-m", "pip", "install", "-q", "-c", "kept.txt"]
  subprocess.run([*pip, "-e", "source[app]"], check=True)
  sys.path.append("source")
  os.chdir("source")
