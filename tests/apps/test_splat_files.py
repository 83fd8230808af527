"""Splat files: layout, round trips, other writers' files, damage."""

import gzip
import pathlib
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.apps import splat_files
from chibijax.errors import UserError
from chibijax.ops import sh as harmonics
from chibijax.ops.splat import Gaussians

COUNT = 20


def scene(degree: int = 3, count: int = COUNT, seed: int = 0) -> Gaussians:
  rng = np.random.default_rng(seed)
  return Gaussians(
    means=rng.normal(size=(count, 3)).astype(np.float32),
    quats=rng.normal(size=(count, 4)).astype(np.float32),
    scales=rng.uniform(0.01, 0.2, (count, 3)).astype(np.float32),
    opacities=rng.uniform(0.02, 0.98, count).astype(np.float32),
    sh=(0.3 * rng.normal(size=(count, (degree + 1) ** 2, 3))).astype(
      np.float32
    ),
  )


def unit(quats: np.ndarray) -> np.ndarray:
  return quats / np.linalg.norm(quats, axis=-1, keepdims=True)


def hand_made(
  rows: np.ndarray, order: str = "<", text: str = "", tail: bytes = b""
) -> bytes:
  """A .ply of structured rows, written without the code under test."""
  kinds = {"f4": "float", "f8": "double", "u1": "uchar"}
  word = "little" if order == "<" else "big"
  header = f"ply\nformat binary_{word}_endian 1.0\n{text}"
  header += f"element vertex {len(rows)}\n"
  for name in rows.dtype.names:
    kind = rows.dtype[name].str[1:]
    header += f"property {kinds[kind]} {name}\n"
  swapped = rows.astype(rows.dtype.newbyteorder(order))
  return (header + "end_header\n").encode() + swapped.tobytes() + tail


def plain_rows(
  count: int = COUNT, rest: int = 0, kind: str = "f4"
) -> np.ndarray:
  names = [
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2",
    *(f"f_rest_{i}" for i in range(rest)),
    "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
  ]  # fmt: skip
  rng = np.random.default_rng(1)
  rows = np.zeros(count, [(name, kind) for name in names])
  for name in names:
    rows[name] = rng.normal(size=count)
  return rows


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_ply_gives_back_what_was_written(
  degree: int, tmp_path: pathlib.Path
) -> None:
  before = scene(degree)
  path = tmp_path / "new folder" / "a.PLY"
  splat_files.write(path, before)
  after = splat_files.read(path)
  np.testing.assert_array_equal(after.means, before.means)
  np.testing.assert_array_equal(after.sh, before.sh)
  # Through float32 logarithms, logits and a norm.
  np.testing.assert_allclose(after.scales, before.scales, rtol=1e-6)
  np.testing.assert_allclose(after.opacities, before.opacities, rtol=1e-6)
  np.testing.assert_allclose(after.quats, unit(before.quats), atol=1e-6)
  assert [p.name for p in path.parent.iterdir()] == ["a.PLY"]


def test_ply_has_the_layout_that_viewers_expect(tmp_path: pathlib.Path) -> None:
  before = scene(3)
  splat_files.write(tmp_path / "a.ply", before)
  header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
  lines = header.decode().splitlines()
  assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
  assert f"element vertex {COUNT}" in lines
  names = [x.split()[-1] for x in lines if x.startswith("property float ")]
  assert names == [
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2",
    *(f"f_rest_{i}" for i in range(45)),
    "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
  ]  # fmt: skip
  rows = np.frombuffer(body, "<f4").reshape(COUNT, len(names))
  of = {name: rows[:, k].astype(np.float64) for k, name in enumerate(names)}
  np.testing.assert_allclose(
    1 / (1 + np.exp(-of["opacity"])), before.opacities, rtol=1e-6
  )
  np.testing.assert_allclose(
    np.exp(of["scale_1"]), before.scales[:, 1], rtol=1e-6
  )
  np.testing.assert_allclose(of["rot_0"], unit(before.quats)[:, 0], rtol=1e-6)
  np.testing.assert_array_equal(of["f_dc_2"], before.sh[:, 0, 2])
  # Channel by channel: all of red's, then green's, then blue's.
  np.testing.assert_array_equal(of["f_rest_0"], before.sh[:, 1, 0])
  np.testing.assert_array_equal(of["f_rest_14"], before.sh[:, 15, 0])
  np.testing.assert_array_equal(of["f_rest_15"], before.sh[:, 1, 1])
  np.testing.assert_array_equal(of["f_rest_44"], before.sh[:, 15, 2])


def test_colors_become_degree_0(tmp_path: pathlib.Path) -> None:
  before = scene(0)
  colors = np.random.default_rng(2).random((COUNT, 3)).astype(np.float32)
  plain = Gaussians(
    before.means, before.quats, before.scales, before.opacities, colors=colors
  )
  splat_files.write(tmp_path / "a.ply", plain)
  after = splat_files.read(tmp_path / "a.ply")
  shown = harmonics.evaluate(jnp.asarray(after.sh), jnp.ones((COUNT, 3))) + 0.5
  np.testing.assert_allclose(shown, colors, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_another_writers_order_types_and_extras(
  order: str, kind: str, tmp_path: pathlib.Path
) -> None:
  """Reversed attributes, no normals, a colour byte, a comment, faces."""
  rows = plain_rows(rest=9, kind=kind)
  fields = [("red", "u1"), *((n, kind) for n in reversed(rows.dtype.names))]
  mixed = np.zeros(COUNT, fields)
  for name in rows.dtype.names:
    mixed[name] = rows[name]
  mixed["red"] = 7
  (tmp_path / "a.ply").write_bytes(
    hand_made(mixed, order, "comment by hand\nobj_info none\n")
  )
  after = splat_files.read(tmp_path / "a.ply")
  np.testing.assert_allclose(after.means[:, 1], rows["y"], rtol=1e-6)
  np.testing.assert_allclose(after.sh[:, 0, 2], rows["f_dc_2"], rtol=1e-6)
  # Coefficient 2 of green is the fifth of nine.
  np.testing.assert_allclose(after.sh[:, 2, 1], rows["f_rest_4"], rtol=1e-6)
  np.testing.assert_allclose(after.scales[:, 0], np.exp(rows["scale_0"]), 1e-6)
  quats = np.stack([rows[f"rot_{i}"] for i in range(4)], -1)
  np.testing.assert_allclose(after.quats, unit(quats), atol=1e-6)


def test_extreme_but_finite_values_stay_finite(tmp_path: pathlib.Path) -> None:
  rows = plain_rows()
  rows["opacity"][:4] = 300, -300, np.inf, -np.inf
  rows["scale_0"][0] = -300
  (tmp_path / "a.ply").write_bytes(hand_made(rows))
  after = splat_files.read(tmp_path / "a.ply")
  assert (after.opacities[[0, 2]] == 1).all()
  assert (after.opacities[[1, 3]] < 1e-30).all()
  solid = Gaussians(
    *(np.asarray(x) for x in (after.means, after.quats)),
    scales=np.zeros((COUNT, 3), np.float32),
    opacities=np.ones(COUNT, np.float32),
    sh=after.sh,
  )
  splat_files.write(tmp_path / "b.ply", solid)
  again = splat_files.read(tmp_path / "b.ply")
  assert (again.opacities > 0.99999).all() and (again.scales < 1e-15).all()


def damaged(name: str) -> bytes:
  """A .ply that is wrong in one way."""
  rows, good = plain_rows(), hand_made(plain_rows())
  if name == "truncated":
    return good[:-1]
  if name == "longer":
    return good + b"x"
  if name == "no header end":
    return good.replace(b"end_header", b"end_heeder")
  if name == "not ply":
    return b"glTF" + good
  if name == "empty":
    return b""
  if name == "mesh":
    return good.replace(b"property float opacity", b"property float alpha")
  if name == "text":
    return good.replace(b"binary_little_endian", b"ascii")
  if name == "list":
    return good.replace(b"float x", b"list uchar int x")
  if name == "twice":
    return good.replace(b"property float y\n", b"property float x\n")
  if name == "odd line":
    return good.replace(b"property float x", b"propperty float x")
  if name == "chunks":
    return good.replace(b"element vertex", b"element chunk 1\nelement vertex")
  if name == "no vertices":
    return good.replace(b"element vertex", b"element face")
  if name == "huge":
    return good.replace(b"vertex 20\n", b"vertex 99999999999\n")
  if name == "nan":
    rows["scale_1"][3] = np.nan
  if name == "inf":
    rows["x"][3] = np.inf
  if name == "nan opacity":
    rows["opacity"][3] = np.nan
  if name == "giant":
    rows["scale_1"][3] = 1e4
  if name == "no rotation":
    for k in range(4):
      rows[f"rot_{k}"][5] = 0
  if name == "rest":
    return hand_made(plain_rows(rest=10))
  if name == "rest numbers":
    return hand_made(plain_rows(rest=9)).replace(b"f_rest_3", b"f_rest_9")
  return hand_made(rows)


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("truncated", "cut short"),
    ("longer", "1 bytes follow"),
    ("no header end", "header is damaged"),
    ("not ply", "not a .ply"),
    ("empty", "not a .ply"),
    ("mesh", "lacks opacity"),
    ("text", "of text"),
    ("list", "unknown types"),
    ("twice", "lacks y"),
    ("odd line", "'propperty float x'"),
    ("chunks", "SuperSplat"),
    ("no vertices", "without vertices"),
    ("huge", "99,999,999,999 Gaussians"),
    ("nan", "1 of 20"),
    ("inf", "not finite"),
    ("nan opacity", "no numbers"),
    ("giant", "larger than"),
    ("no rotation", "without a rotation"),
    ("rest", "10 attributes f_rest_"),
    ("rest numbers", "9 attributes f_rest_"),
  ],
)
def test_damage_is_one_sentence(
  name: str, words: str, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "bad.ply"
  path.write_bytes(damaged(name))
  with pytest.raises(UserError, match=words) as caught:
    splat_files.read(path)
  text = str(caught.value)
  assert "\n" not in text and "bad.ply" in text


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"means": np.full((COUNT, 3), np.nan, np.float32)}, "means are not all"),
    ({"opacities": np.zeros((COUNT, 1), np.float32)}, "opacities have shape"),
    ({"sh": np.zeros((COUNT, 4, 5), np.float32)}, "three colour channels"),
    ({"quats": np.zeros((COUNT, 4), np.float32)}, "quats or scales"),
    ({"means": np.zeros((2, COUNT, 3), np.float32)}, "one scene"),
  ],
)
def test_what_cannot_be_written_is_said(
  changes: dict, words: str, tmp_path: pathlib.Path
) -> None:
  good = scene(1)
  fields = ("means", "quats", "scales", "opacities", "sh")
  bad = Gaussians(**{k: getattr(good, k) for k in fields} | changes)
  with pytest.raises(UserError, match=words):
    splat_files.write(tmp_path / "a.ply", bad)
  assert not list(tmp_path.iterdir())


def test_names_and_places(tmp_path: pathlib.Path) -> None:
  with pytest.raises(UserError, match=r"expected \.ply or \.spz"):
    splat_files.write(tmp_path / "a.splat", scene())
  with pytest.raises(UserError, match="cannot be read"):
    splat_files.read(tmp_path / "none.ply")
  (tmp_path / "file").write_bytes(b"")
  with pytest.raises(UserError, match="cannot be written"):
    splat_files.write(tmp_path / "file" / "a.ply", scene())


def test_a_failed_write_leaves_the_old_file(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path = tmp_path / "a.ply"
  splat_files.write(path, scene())
  before = path.read_bytes()

  def full(self: pathlib.Path, data: bytes) -> int:
    with self.open("wb") as file:
      file.write(data[:10])
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  with pytest.raises(UserError, match="No space left"):
    splat_files.write(path, scene(seed=5))
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.fixture
def spz() -> None:
  pytest.importorskip("gaussforge", reason="pip install 'chibijax[app]'")


@pytest.mark.usefixtures("spz")
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_keeps_a_scene_to_its_few_bits(
  degree: int, tmp_path: pathlib.Path
) -> None:
  before = scene(degree, 500)
  before.opacities[:2] = 0.999, 0.001  # 255 and 0 of 8 bits
  splat_files.write(tmp_path / "a.spz", before)
  splat_files.write(tmp_path / "a.ply", before)
  after = splat_files.read(tmp_path / "a.spz")
  # 12 bits of fraction, 8 of opacity, 16 steps for a factor e of scale, 9 bits
  # and a sign of three rotation components.
  np.testing.assert_allclose(after.means, before.means, atol=2**-12)
  np.testing.assert_allclose(after.opacities, before.opacities, atol=1 / 255)
  ratio = np.log(after.scales / before.scales)
  assert np.abs(ratio).max() <= 1 / 32 + 1e-4
  same = np.abs((after.quats * unit(before.quats)).sum(-1))
  assert same.min() > 1 - 1e-4
  # 8 bits over 6.7 for degree 0; 5 and 4 bits over 2 above.
  np.testing.assert_allclose(after.sh[:, 0], before.sh[:, 0], atol=0.014)
  inside = np.abs(before.sh[:, 1:]) < 0.9
  error = np.abs(after.sh[:, 1:] - before.sh[:, 1:])[inside]
  assert error.max(initial=0) < 0.08
  sizes = [(tmp_path / f"a.{s}").stat().st_size for s in ("spz", "ply")]
  assert sizes[0] < 0.4 * sizes[1]


@pytest.mark.usefixtures("spz")
def test_spz_has_y_up_and_colours_that_turn_with_it(
  tmp_path: pathlib.Path,
) -> None:
  import gaussforge

  before = scene(3, 300)
  splat_files.write(tmp_path / "a.spz", before)
  data = (tmp_path / "a.spz").read_bytes()
  raw = gzip.decompress(data)
  assert struct.unpack("<III", raw[:12]) == (0x5053474E, 3, 300)
  # 24-bit little-endian fixed point, straight from the format's description.
  packed = np.frombuffer(raw[16 : 16 + 9 * 300], np.uint8).reshape(300, 3, 3)
  whole = (packed.astype(np.int32) << [0, 8, 16]).sum(-1)
  whole -= (whole >= 1 << 23).astype(np.int32) << 24
  mirror = np.array([1, -1, -1])
  np.testing.assert_allclose(whole / 2**12, before.means * mirror, atol=2**-12)
  # The library's own reader, without our turn: what a viewer would show.
  result = gaussforge.GaussForge().convert(data, "spz", "ply")
  (tmp_path / "b.ply").write_bytes(result["data"])
  turned = splat_files.read(tmp_path / "b.ply")
  ways = np.random.default_rng(4).normal(size=(300, 3)).astype(np.float32)
  seen = harmonics.evaluate(jnp.asarray(turned.sh), jnp.asarray(ways * mirror))
  expected = harmonics.evaluate(jnp.asarray(before.sh), jnp.asarray(ways))
  error = np.abs(np.asarray(seen) - np.asarray(expected))
  # Quantised coefficients, 16 of them; a wrong sign of one gives about 0.3.
  assert error.mean() < 0.06


@pytest.mark.usefixtures("spz")
@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda raw: gzip.compress(raw)[:-9], "cut short"),
    (lambda raw: gzip.compress(raw[:-1]), "cut short"),
    (lambda raw: gzip.compress(raw[:9]), "cut short"),
    (lambda raw: b"", "cut short"),
    (lambda raw: b"plain bytes, no gzip", "not a .spz"),
    (lambda raw: gzip.compress(b"\0" * 4 + raw[4:]), "version"),
    (lambda raw: gzip.compress(raw[:4] + b"\x09\0\0\0" + raw[8:]), "version 9"),
    (
      lambda raw: gzip.compress(raw[:8] + b"\xff" * 4 + raw[12:]),
      "4,294,967,295",
    ),
    (lambda raw: gzip.compress(raw[:8] + b"\x15\0\0\0" + raw[12:]), "cut"),
    (lambda raw: gzip.compress(raw[:12] + b"\x09" + raw[13:]), "degree 9"),
  ],
)
def test_damaged_spz_is_one_sentence(
  change, words: str, tmp_path: pathlib.Path
) -> None:
  splat_files.write(tmp_path / "a.spz", scene(1))
  raw = gzip.decompress((tmp_path / "a.spz").read_bytes())
  (tmp_path / "a.spz").write_bytes(change(raw))
  with pytest.raises(UserError, match=words) as caught:
    splat_files.read(tmp_path / "a.spz")
  assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("spz")
def test_spz_says_what_it_cannot_hold(tmp_path: pathlib.Path) -> None:
  far = scene(1)
  far.means[0, 0] = 3000
  with pytest.raises(UserError, match=r"3,000; write a \.ply"):
    splat_files.write(tmp_path / "a.spz", far)
  with pytest.raises(UserError, match="degree 4"):
    splat_files.write(tmp_path / "a.spz", scene(4))


def test_spz_without_its_library_says_what_to_install(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setitem(__import__("sys").modules, "gaussforge", None)
  with pytest.raises(UserError, match=r"pip install 'chibijax\[app\]'"):
    splat_files.write(tmp_path / "a.spz", scene(1))
