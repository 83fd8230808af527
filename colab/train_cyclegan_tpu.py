# %% [markdown]
# # Train CycleGAN on a TPU
# Portraits become chibis, without pairs. The embedded artist draws both, so
# nothing is downloaded. Run all cells; run them again after a disconnect, and
# the training goes on where it stopped.

# %% include install

# %% Keep the run on Google Drive, if you allow it.
if importlib.util.find_spec("google.colab"):
  from google.colab import drive

  drive.mount("/content/drive")

# %% Which versions, which chips? It stops here without a TPU.
from chibijax import train
from chibijax.apps import notebook

notebook.begin("tpu")

# %% The experiment; every value can be changed here.
config = notebook.experiment(
  "cyclegan",
  changes={
    "data.size": 128,
    "data.load_size": 143,
    "data.batch_size": 16,
    "precision": "bfloat16",
    "total_steps": 20_000,
    "eval_every": 1_000,
    "save_every": 500,
  },
)
workdir = notebook.folder("cyclegan")

# %% Train, or go on.
result = train.train(config, workdir)

# %% Held-out portraits and what became of them.
notebook.show(sorted((workdir / "samples").glob("*.png"))[-1])
