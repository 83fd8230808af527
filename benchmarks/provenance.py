"""The invisible mark under attack, false alarms, and tampering detected.

    OMP_NUM_THREADS=1 python benchmarks/provenance.py       # about 8 minutes

140 outputs: 70 chibis of the artist (128 to 768 px, half of them with a
transparent background) and 70 of the shared photos, posterised as a toon is;
photos stay in memory. No mark: all 459 photos and 200 pictures of the artist,
with cropped copies searched for in every `--search-every`-th. Photos come from
`$CHIBIJAX_SHARED` or `../shared/data`.
"""

import argparse
import collections
import dataclasses
import io
import json
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import tqdm
from PIL import Image, ImageFilter, PngImagePlugin

from chibijax.apps import credentials, provenance
from chibijax.artist import draw_chibi, draw_portrait, sample_attributes
from chibijax.errors import UserError
from chibijax.post import watermark

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZES = (128, 192, 256, 384, 512, 640, 768)
RECORD = provenance.Record(style="drawn", model="benchmark")
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def main() -> None:
  """Runs all parts and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--count", type=int, default=70, help="of each kind")
  parser.add_argument(
    "--search-every", type=int, default=1, help="search n-th unmarked for crops"
  )
  parser.add_argument("--parts", default="", help="only these, by comma")
  parser.add_argument("--out", default="benchmarks/provenance.json")
  options = parser.parse_args()
  shared = pathlib.Path(
    os.environ.get("CHIBIJAX_SHARED") or ROOT.parent / "shared" / "data"
  )
  files = sorted((shared / "photos").glob("*/*.jpg"))
  outputs = list(make_outputs(options.count, files))
  path = pathlib.Path(options.out)
  result = json.loads(path.read_text()) if path.is_file() else {}
  result |= {
    "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
    "versions": {"python": platform.python_version(), "numpy": np.__version__},
    "outputs": dict(collections.Counter(kind for kind, _ in outputs)),
  }
  parts: dict[str, Callable[[], object]] = {
    "marks": lambda: marks(outputs),
    "false_alarms": lambda: false_alarms(files, options.search_every),
    "tampering": lambda: tampering(outputs),
    "milliseconds": speed,
  }
  for name in options.parts.split(",") if options.parts else parts:
    result[name] = parts[name]()
    path.write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result, indent=1))


def make_outputs(
  count: int, files: list[pathlib.Path]
) -> Iterator[tuple[str, np.ndarray]]:
  """What the application writes: its kind and the picture."""
  for index in range(count):
    attributes = sample_attributes(np.random.default_rng([41, index]))
    kind = "chibi"
    if index % 2:
      attributes = dataclasses.replace(attributes, background="none")
      kind = "transparent chibi"
    yield kind, draw_chibi(attributes, SIZES[index % len(SIZES)]).image
  for file in files[:: max(1, len(files) // count)][:count]:
    yield "posterised photo", posterised(Image.open(file).convert("RGB"))


def posterised(photo: Image.Image) -> np.ndarray:
  """Flat colours, 14 of them, as the toon style leaves a photo."""
  smooth = photo.filter(ImageFilter.MedianFilter(7))
  flat = smooth.quantize(14, dither=Image.Dither.NONE).convert("RGB")
  return np.asarray(flat.filter(ImageFilter.SMOOTH))


def over_white(image: np.ndarray) -> np.ndarray:
  """What is seen of a transparent picture on a white page."""
  if image.shape[2] == 3:
    return image
  alpha = image[..., 3:] / 255
  mixed = image[..., :3] * alpha + 255 * (1 - alpha)
  return np.rint(mixed).astype(np.uint8)


def coded(image: np.ndarray, form: str, quality: int = 0) -> np.ndarray:
  """A picture after a trip through a file."""
  file = io.BytesIO()
  if form == "PNG":
    Image.fromarray(image).save(file, form)
    return np.asarray(Image.open(file))
  Image.fromarray(over_white(image)).save(file, form, quality=quality)
  return np.asarray(Image.open(file).convert("RGB"))


def resized(
  image: np.ndarray, scale: float, kernel: Image.Resampling = BICUBIC
) -> np.ndarray:
  """A picture at another size."""
  picture = Image.fromarray(image)
  size = (round(picture.width * scale), round(picture.height * scale))
  return np.asarray(picture.resize(size, kernel))


def cropped(image: np.ndarray, share: float = 0.05) -> np.ndarray:
  """A picture without a border all around."""
  y, x = (round(n * share) for n in image.shape[:2])
  return image[y : image.shape[0] - y, x : image.shape[1] - x]


def brighter(image: np.ndarray, gain: float) -> np.ndarray:
  """A picture with all values multiplied."""
  return np.clip(over_white(image) * gain, 0, 255).astype(np.uint8)


ATTACKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "png": lambda image: coded(image, "PNG"),
  "jpeg q75": lambda image: coded(image, "JPEG", 75),
  "half, bicubic": lambda image: resized(image, 0.5),
  "half, bilinear": lambda image: resized(image, 0.5, BILINEAR),
  "jpeg q50": lambda image: coded(image, "JPEG", 50),
  "webp q80": lambda image: coded(image, "WEBP", 80),
  "half, then jpeg q75": lambda image: coded(
    resized(over_white(image), 0.5), "JPEG", 75
  ),
  "double": lambda image: resized(image, 2.0),
  "to 0.75 and back": lambda image: resized(resized(image, 0.75), 4 / 3),
  "brightness +10 %": lambda image: brighter(image, 1.1),
  "brightness -10 %": lambda image: brighter(image, 0.9),
  "cropped by 10 %": cropped,
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  """Of the pixels that are not transparent, in dB."""
  seen = np.ones(a.shape[:2], bool) if a.shape[2] == 3 else a[..., 3] > 0
  error = (a[seen][:, :3].astype(float) - b[seen][:, :3]) ** 2
  return float(10 * np.log10(255**2 / error.mean()))


def marks(outputs: list[tuple[str, np.ndarray]]) -> dict[str, object]:
  """Found, wrong, bit accuracy and PSNR by attack and kind."""
  table: dict[str, dict[str, list[tuple[bool, bool, float]]]] = {
    name: collections.defaultdict(list) for name in ATTACKS
  }
  ratios: dict[str, list[float]] = collections.defaultdict(list)
  misses = collections.defaultdict(list)
  for index, (kind, image) in enumerate(tqdm.tqdm(outputs, "marks")):
    payload = int(np.random.default_rng([7, index]).integers(1 << 16))
    marked = watermark.embed(image, payload)
    ratios[f"{kind}, side {side_class(image)}"].append(psnr(image, marked))
    for name, attack in ATTACKS.items():
      mark = watermark.detect(attack(marked), search=name.startswith("crop"))
      right = mark.payload == payload
      accuracy = mark.bits if right else 0.5
      table[name][kind].append((right, mark.found and not right, accuracy))
      if not right:
        misses[name].append(f"{kind} {image.shape[0]} px")
  return {
    "attacks": {
      name: {
        "found": round(
          float(np.mean([r[0] for k in kinds.values() for r in k])), 4
        ),
        "found_by_kind": {
          kind: f"{sum(r[0] for r in rows)}/{len(rows)}"
          for kind, rows in kinds.items()
        },
        "wrong_payloads": sum(r[1] for k in kinds.values() for r in k),
        "bit_accuracy": round(
          float(np.mean([r[2] for k in kinds.values() for r in k])), 4
        ),
        "missed": misses[name][:20],
      }
      for name, kinds in table.items()
    },
    "psnr": {
      name: {"mean": round(float(np.mean(v)), 1), "least": round(min(v), 1)}
      for name, v in sorted(ratios.items())
    },
  }


def side_class(image: np.ndarray) -> str:
  """Which of the mark's strengths a size gets."""
  side = image.shape[0]
  return "under 200" if side < 200 else "200 to 399" if side < 400 else "400 on"


def false_alarms(
  files: list[pathlib.Path], search_every: int
) -> dict[str, object]:
  """Pictures without a mark; crops are searched for in every n-th."""
  least = {"plain": [], "crops searched": []}
  found = []
  pictures = [
    (f.stem, lambda f=f: np.asarray(Image.open(f).convert("RGB")))
    for f in files
  ]
  pictures += [(f"artist {i}", lambda i=i: artist(i)) for i in range(200)]
  for index, (name, read) in enumerate(tqdm.tqdm(pictures, "false alarms")):
    search = index % search_every == 0
    mark = watermark.detect(read(), search=search)
    least["crops searched" if search else "plain"].append(mark.p_value)
    if mark.found:
      found.append(name)
  return {
    "pictures": {name: len(values) for name, values in least.items()},
    "found": found,
    "bound_for_one_picture": "3e-6",
    "least_p_value": min(v for values in least.values() for v in values),
  }


def artist(index: int) -> np.ndarray:
  """A picture of the artist without a mark."""
  attributes = sample_attributes(np.random.default_rng([43, index]))
  if index % 2:
    return draw_portrait(attributes, 256, seed=index).image
  return draw_chibi(attributes, SIZES[index // 2 % len(SIZES)]).image


def tampering(outputs: list[tuple[str, np.ndarray]]) -> dict[str, object]:
  """What `read` says of changed and stripped files."""
  counts = collections.defaultdict(collections.Counter)
  with tempfile.TemporaryDirectory() as folder:
    os.environ["CHIBIJAX_CONFIG"] = folder
    path = pathlib.Path(folder)
    for index, (_, image) in enumerate(tqdm.tqdm(outputs, "tampering")):
      rng = np.random.default_rng([9, index])
      suffix = (".png", ".jpg", ".webp")[index % 3]
      file = provenance.write(path / f"a{suffix}", image, RECORD).path
      counts["untouched"][verdict(file)] += 1
      data = bytearray(file.read_bytes())
      data[rng.integers(len(data) // 5, len(data))] ^= 1 << rng.integers(8)
      file.write_bytes(data)
      counts["one bit of the signed file flipped"][verdict(file)] += 1
      file = provenance.write(path / f"a{suffix}", image, RECORD).path
      with Image.open(file) as picture:
        picture.convert("RGB").save(path / "bare.jpg", quality=75)
      counts["saved anew as jpeg q75"][verdict(path / "bare.jpg")] += 1
      (path / "a.png").write_bytes(provenance.encode(image, "PNG", RECORD))
      one_pixel(path / "a.png", rng)
      counts["unsigned png, one value of one pixel changed"][
        verdict(path / "a.png")
      ] += 1
  return {"library": credentials.available()} | {
    name: dict(count) for name, count in counts.items()
  }


def verdict(file: pathlib.Path) -> str:
  """In one word."""
  try:
    return provenance.read(file, search=False).verdict
  except UserError:
    return "unreadable"


def one_pixel(file: pathlib.Path, rng: np.random.Generator) -> None:
  """Changes one value by 1 and keeps the text, as an image editor might."""
  with Image.open(file) as picture:
    text, pixels = dict(picture.text), np.array(picture)
  seen = np.argwhere(pixels[..., -1] > 0)
  y, x = seen[rng.integers(len(seen))]
  pixels[y, x, 0] ^= 1
  info = PngImagePlugin.PngInfo()
  for key, value in text.items():
    info.add_itxt(key, value)
  Image.fromarray(pixels).save(file, pnginfo=info)


def speed() -> dict[str, float]:
  """Medians of 15 calls, warm, on one chibi."""
  times = {}
  attributes = sample_attributes(np.random.default_rng(1))
  for size in (256, 512, 1024, 2048):
    image = draw_chibi(attributes, size).image
    marked = watermark.embed(image, 1)
    times[f"embed {size} px"] = median(lambda i=image: watermark.embed(i, 1))
    times[f"detect {size} px"] = median(lambda m=marked: watermark.detect(m))
  image = draw_chibi(attributes, 512).image
  times["detect 512 px, nothing there, crops searched"] = median(
    lambda: watermark.detect(image, search=True)
  )
  with tempfile.TemporaryDirectory() as folder:
    os.environ["CHIBIJAX_CONFIG"] = folder
    for suffix in (".png", ".jpg", ".webp"):
      path = pathlib.Path(folder) / f"a{suffix}"
      for enabled in (True, False):
        name = f"write 512 px {suffix}, " + (
          "all" if enabled else "picture alone"
        )
        times[name] = median(
          lambda p=path, e=enabled: provenance.write(
            p, image, RECORD, enabled=e
          )
        )
      provenance.write(path, image, RECORD)
      times[f"read 512 px {suffix}"] = median(lambda p=path: provenance.read(p))
  return times


def median(call: Callable[[], object]) -> float:
  """Milliseconds."""
  call()
  times = []
  for _ in range(15):
    start = time.perf_counter()
    call()
    times.append(1000 * (time.perf_counter() - start))
  return round(float(np.median(times)), 2)


if __name__ == "__main__":
  main()
