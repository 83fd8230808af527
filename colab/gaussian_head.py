# %% [markdown]
# # One photo becomes a head in 3D that moves
# GAGAvatar in JAX, trained on people made up in code: nothing is downloaded. On
# a GPU the training takes minutes; run all cells again to train further.

# %% include install

# %% Keep the run on Google Drive, if you allow it.
if importlib.util.find_spec("google.colab"):
  from google.colab import drive

  drive.mount("/content/drive")

# %% Which versions, which devices? It stops here without a GPU.
from chibijax import train
from chibijax.apps import notebook
from chibijax.apps.commands import avatar3d as heads
from chibijax.apps.commands.files import sample_photo

notebook.begin("gpu")

# %% Train, or go on.
config = notebook.experiment("gagavatar", "small", {"total_steps": 10_000})
workdir = notebook.folder("gaussian_head")
train.train(config, workdir)
notebook.show(sorted((workdir / "samples").glob("*.png"))[-1])

# %% Your photo; without one it is an astronaut's.
PHOTO = ""  # @param {type:"string"} its path, or leave it empty
photo = pathlib.Path(PHOTO) if PHOTO else workdir / "astronaut.png"
if not photo.is_file():
  sample_photo(photo)

# %% Its head, and the head's chibi, in motion.
for chibi in (0.0, 1.0):
  avatar = workdir / f"chibi{chibi:.0f}.avatar"
  heads.avatar3d(photo, avatar, workdir=workdir, chibi=chibi)
  film = avatar.with_suffix(".gif")
  heads.animate(avatar, film)
  notebook.show(film)

# %% A page that plays it offline: download it and open it.
steps = 2 if notebook.smoke() else 200
heads.avatar3d_export(avatar, avatar.with_suffix(".html"), steps=steps)
