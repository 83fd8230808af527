"""Images per second of every data source, and how long a loop waits for them.

    python benchmarks/data_pipeline.py            # minutes
    python benchmarks/data_pipeline.py --quick    # under a minute

First table: images/s of each source and size, read by one thread and by one
thread per core, nothing cached; the folder holds 512-px JPEGs and the TFDS
data set holds the same pictures. Second table: a loop with an artificial
jitted step on all cores, as the training loop runs it (dispatch, then wait for
the previous step): the share of time spent in `next`, and how much longer than
alone a step takes because drawing needs cores too.

Results go to stdout and, with everything needed to repeat them, to a JSON.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from PIL import Image

from chibijax.data.folder import FolderSource
from chibijax.data.images import Reader
from chibijax.data.pipeline import BatchIterator, make
from chibijax.data.sources import ArtistSource, Source
from chibijax.data.tfds import TfdsSource

CORES = len(os.sched_getaffinity(0))
PICTURES = 96


def main() -> None:
  """Runs both parts and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--quick", action="store_true", help="64 px, one round")
  parser.add_argument("--step", type=float, default=0.6, help="seconds a step")
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--out", default="benchmarks/data_pipeline.json")
  options = parser.parse_args()
  result = {
    "machine": {"cores": CORES, "cpu": cpu_name()},
    "versions": {"python": platform.python_version(), "jax": jax.__version__},
    "sources": sources(options.quick),
    "loop": loops(options),
  }
  path = pathlib.Path(options.out)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(result, indent=2) + "\n")
  print(f"\nwritten to {path}")


def cpu_name() -> str:
  """The processor as Linux calls it."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.split(":")[1].strip()
  return platform.processor()


def sources(quick: bool) -> list[dict[str, object]]:
  """Part one: images/s of each source."""
  sizes = (64,) if quick else (64, 128, 256)
  rounds, seconds = (1, 0.5) if quick else (5, 1.0)
  threads = sorted({1, CORES})
  rows = []
  with tempfile.TemporaryDirectory() as folder, note("writing pictures"):
    opened = openers(pathlib.Path(folder))
    todo = list(itertools.product(opened, sizes, threads))
    for name, size, count in tqdm.tqdm(todo, desc="sources", leave=False):
      source = opened[name](size)
      source[0]  # First use loads fonts, codecs and index files.
      rates = [rate(source, count, seconds) for _ in range(rounds)]
      quartiles = np.percentile(rates, (25, 50, 75)).tolist()
      rows.append(
        {"source": name, "size": size, "threads": count, "rates": quartiles}
      )
  print(f"{'source':18}{'size':>6}{'threads':>9}{'images/s':>10}   IQR")
  for row in rows:
    low, middle, high = row["rates"]
    print(
      f"{row['source']:18}{row['size']:6}{row['threads']:9}{middle:10.1f}"
      f"   {low:.1f}-{high:.1f}"
    )
  return rows


@contextlib.contextmanager
def note(text: str) -> Iterator[None]:
  """Says what is going on before the first bar."""
  print(f"{text} …", file=sys.stderr, flush=True)
  yield


def openers(folder: pathlib.Path) -> dict[str, Callable[[int], Source]]:
  """Each source as a function of the size, with its data prepared."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:512, :512] / 512
  files = []
  for k in range(PICTURES):
    waves = [np.sin(x * a + y * b) for a, b in rng.uniform(-30, 30, (3, 2))]
    pixels = 127 + 100 * np.stack(waves, -1) + rng.normal(0, 4, (512, 512, 3))
    files.append(folder / "pictures" / f"{k:03}.jpg")
    files[-1].parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1])
  found: dict[str, Callable[[int], Source]] = {
    "artist chibi": lambda size: ArtistSource("chibi", size),
    "artist portrait": lambda size: ArtistSource("portrait", size),
    "folder": lambda size: FolderSource(files[0].parent, Reader(size)),
  }
  try:
    prepare_tfds(files, folder)
  except ImportError as error:
    print(f"no tfds row: {error}", file=sys.stderr)
  else:
    found["tfds"] = lambda size: TfdsSource(
      "bench_pictures", "train", str(folder), "image", Reader(size)
    )
  return found


def prepare_tfds(files: list[pathlib.Path], folder: pathlib.Path) -> None:
  """Prepares the files as a TFDS data set of random-access records."""
  import tensorflow_datasets as tfds

  class BenchPictures(tfds.core.GeneratorBasedBuilder):
    """The pictures of the folder."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
      picture = tfds.features.Image(
        shape=(None, None, 3), encoding_format="jpeg"
      )
      return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict({"image": picture})
      )

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
      return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, object]]]:
      for k, file in enumerate(files):
        yield k, {"image": io.BytesIO(file.read_bytes())}

  with contextlib.redirect_stdout(io.StringIO()):
    builder = BenchPictures(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()


def rate(source: Source, threads: int, seconds: float) -> float:
  """Images/s of some threads that share one counter for some time."""
  counter = itertools.count()
  end = time.perf_counter() + seconds
  done = []

  def work() -> None:
    while time.perf_counter() < end:
      source[next(counter) % len(source)]
      done.append(1)

  start = time.perf_counter()
  pool = [threading.Thread(target=work) for _ in range(threads)]
  for thread in pool:
    thread.start()
  for thread in pool:
    thread.join()
  return len(done) / (time.perf_counter() - start)


def loops(options: argparse.Namespace) -> list[dict[str, object]]:
  """Part two: the share of a loop's time that waits for `next`."""
  step, iterations = calibrated_step(options.step)
  count = 8 if options.quick else 30
  alone = median_step(step, iterations, count)
  base = {"size": 64, "load_size": 72, "examples": 4096}
  small = base | {"examples": 4 * options.batch}
  arms = {
    "threads, drawing": base | {"cache_mb": 0},
    "1 worker, drawing": base | {"cache_mb": 0, "workers": 1},
    "2 workers, drawing": base | {"cache_mb": 0, "workers": 2},
    "threads, cached": small,
  }
  rows = []
  for name, arm in tqdm.tqdm(arms.items(), desc="loop", leave=False):
    pipeline = make(arm, split="train", batch_size=options.batch)
    with pipeline.iterator() as batches:
      for _ in range(8):  # Fills the buffers, and the cache of the small set.
        next(batches)
      share, seconds = waiting(batches, step, iterations, count)
    rows.append(
      {
        "arm": name,
        "batch": options.batch,
        "wait_share": share,
        "step_alone_s": alone,
        "step_s": seconds,
      }
    )
  print(f"\n{'loop, 64 px, A + B':22}{'wait':>8}{'step':>9}{'alone':>9}")
  for row in rows:
    print(
      f"{row['arm']:22}{row['wait_share']:8.2%}{row['step_s']:8.3f}s"
      f"{row['step_alone_s']:8.3f}s"
    )
  return rows


def calibrated_step(seconds: float) -> tuple[Callable[..., jax.Array], int]:
  """A jitted chain of convolutions and its length for a step's time."""
  kernel = jnp.zeros((3, 3, 64, 64))

  @jax.jit
  def step(images: jax.Array, iterations: int) -> jax.Array:
    x = jnp.tile(images.astype(jnp.float32)[..., :1], (1, 1, 1, 64))

    def body(_: int, x: jax.Array) -> jax.Array:
      return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
      )

    return jax.lax.fori_loop(0, iterations, body, x).mean()

  images = np.zeros((8, 64, 64, 3), np.uint8)
  step(images, 4).block_until_ready()
  start = time.perf_counter()
  step(images, 20).block_until_ready()
  each = (time.perf_counter() - start) / 20
  return step, max(round(seconds / each), 1)


def median_step(
  step: Callable[..., jax.Array], iterations: int, count: int
) -> float:
  """Seconds of a step when nothing else runs."""
  images = np.zeros((8, 64, 64, 3), np.uint8)
  times = []
  for _ in range(count):
    start = time.perf_counter()
    step(images, iterations).block_until_ready()
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def waiting(
  batches: BatchIterator,
  step: Callable[..., jax.Array],
  iterations: int,
  count: int,
) -> tuple[float, float]:
  """Runs the loop; returns the waiting share and the seconds of a step."""
  previous = None
  waited = 0.0
  start = time.perf_counter()
  for _ in range(count):
    before = time.perf_counter()
    batch = next(batches)
    waited += time.perf_counter() - before
    current = step(batch["image_a"][:8], iterations)
    if previous is not None:
      previous.block_until_ready()
    previous = current
  previous.block_until_ready()
  total = time.perf_counter() - start
  return waited / total, total / count


if __name__ == "__main__":
  main()
