# %% [markdown]
# # A photo becomes a chibi
# Any runtime will do, also one without a GPU. Nothing is uploaded but what you
# choose here, and nothing leaves this machine.

# %% include install

# %% Which versions, which devices?
from chibijax.apps import avatars, notebook
from chibijax.apps.commands.files import sample_photo
from chibijax.apps.settings import Settings

notebook.begin()
folder = notebook.folder("avatars")

# %% Your photo; without one it is an astronaut's.
PHOTO = ""  # @param {type:"string"} its path, or leave it empty
photo = pathlib.Path(PHOTO) if PHOTO else folder / "astronaut.png"
if not photo.is_file():
  sample_photo(photo)

# %% Draw what was seen, and turn the photo's own pixels.
for style in ("drawn", "toon"):
  out = folder / f"{style}.png"
  report = avatars.run([str(photo)], out, Settings(style=style), overwrite=True)
  print(*report.sentences(), sep="\n")
  notebook.show(*report.made)

# %% With stickers and a finish. `chibijax avatar --list` tells all words.
settings = Settings(style="drawn", finish="ink", stickers="cat_ears")
report = avatars.run([str(photo)], folder / "ink.png", settings, overwrite=True)
notebook.show(*report.made)
