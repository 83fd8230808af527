"""Compressed splat files: precision, axes, damage, what they cannot hold."""

import gzip
import pathlib
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.apps import splat_files
from chibijax.errors import UserError
from chibijax.ops import sh as harmonics
from tests.apps.splat_cases import scene, unit


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
