# %% [markdown]
# # How fast is one chip?
# One CycleGAN step, compiled for this runtime's accelerator: time, memory,
# FLOPs and the share of its peak, over sizes and number formats.

# %% include install

# %% Which versions, which devices?
import time

import jax

from chibijax.apps import notebook
from chibijax.core import parallel
from chibijax.data import pipeline
from chibijax.tasks import translation

notebook.begin()


# %% Compile a step, run it, and take the median of ten.
def measure(size, batch, precision):
  changes = {"data.size": size, "data.load_size": size, "precision": precision}
  config = notebook.experiment("cyclegan", changes=changes)
  config.data.batch_size = batch = max(batch, jax.device_count())
  placement = parallel.make_placement("jit", batch)
  task = translation.build(config, placement.axis)
  data = pipeline.make(config.data, split="train", batch_size=batch)
  key = placement.replicate(jax.random.key(0))
  state = placement.compile_init(lambda k: task.init(k, data.spec))(key)
  step = placement.compile_step(task.train_step, state, data.spec, key)
  with data.iterator() as batches:
    inputs = placement.put(next(batches))
  times = []
  for _ in range(3 if notebook.smoke() else 13):
    began = time.perf_counter()
    state, _ = jax.block_until_ready(step(state, inputs, key))
    times.append(time.perf_counter() - began)
  seconds = sorted(times[2:])[len(times[2:]) // 2]
  memory = step.memory()["total"] / 2**30
  print(f"{size} px, batch {batch}, {precision}: {seconds * 1e3:.0f} ms,"
        f" {batch / seconds:.1f} images/s, {memory:.2f} GiB")  # fmt: skip


# %% Small and exact, then as large and fast as a chip likes it.
sizes = [(128, 1, "float32"), (128, 16, "bfloat16"), (256, 4, "bfloat16")]
for size, batch, precision in sizes[: 1 if notebook.smoke() else None]:
  measure(size, batch, precision)
