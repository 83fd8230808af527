"""Splat files: layout, round trips, other writers' files, damage."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.apps import splat_files
from chibijax.errors import UserError
from chibijax.ops import sh as harmonics
from chibijax.ops.splat import Gaussians
from tests.apps.splat_cases import COUNT, scene, unit


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
