"""DINOv2: PyTorch's tokens after every block, positions, published files."""

import pathlib
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from chibijax.errors import UserError
from chibijax.models import vit, vit_weights
from tests.models import avatar_golden as golden

PREFIX = "base_model.dino_model."


def _dino() -> dict[str, np.ndarray]:
  return {
    k.removeprefix(PREFIX): v
    for k, v in golden.state("released").items()
    if k.startswith(PREFIX)
  }


def _save(arrays: dict, path: pathlib.Path) -> pathlib.Path:
  arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
  safetensors.numpy.save_file(arrays, path)
  return path


def _face(arrays: dict) -> dict:
  """Meta's names as Hugging Face's."""
  renamed = {}
  for name, array in arrays.items():
    for old, new in (
      ("cls_token", "embeddings.cls_token"),
      ("mask_token", "embeddings.mask_token"),
      ("register_tokens", "embeddings.register_tokens"),
      ("pos_embed", "embeddings.position_embeddings"),
      ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
      ("blocks.", "encoder.layer."),
      ("attn.proj", "attention.output.dense"),
      ("ls1.gamma", "layer_scale1.lambda1"),
      ("ls2.gamma", "layer_scale2.lambda1"),
    ):
      name = name.replace(old, new)
    if name.startswith("norm."):
      name = f"layer{name}"
    if ".attn.qkv." in name:
      for part, rows in zip(
        ("query", "key", "value"), np.split(array, 3), strict=True
      ):
        renamed[name.replace("attn.qkv", f"attention.attention.{part}")] = rows
    else:
      renamed[name] = array
  return renamed


@pytest.mark.parametrize(
  ("name", "naming", "depth"), [("oblong", "meta", 4), ("registers", "face", 2)]
)
def test_every_block_gives_what_pytorch_gives(
  tmp_path, name: str, naming: str, depth: int
) -> None:
  weights = _dino() if name == "oblong" else golden.state(name)
  if naming == "face":
    weights = _face(weights)
  path = _save(weights, tmp_path / "net.safetensors")
  blocks = tuple(range(depth))
  net, params = vit_weights.load_dinov2(path, heads=2, blocks=blocks)
  assert net.depth == depth
  assert net.registers == (0 if name == "oblong" else 2)
  found = golden.read()
  tokens = jax.jit(net.apply)({"params": params}, found[f"in/{name}"])
  assert len(tokens) == depth
  for i, made in enumerate(tokens):
    golden.close(made, found[f"out/{name}/{i}"])


def test_positions_that_fit_are_kept() -> None:
  positions = jnp.arange(10.0 * 3).reshape(10, 3)
  assert vit.fit_positions(positions, (3, 3)) is positions
  fitted = vit.fit_positions(positions, (3, 5))
  assert fitted.shape == (16, 3)
  np.testing.assert_array_equal(fitted[0], positions[0])


def test_positions_of_models_without_registers_are_off_a_little() -> None:
  # A ramp and its mirror image add up to a constant, unless samples move.
  ramp = jnp.tile(jnp.arange(8.0), (8, 1)).reshape(-1, 1)
  positions = jnp.concatenate([jnp.zeros((1, 1)), ramp])
  for registers, even in ((False, False), (True, True)):
    fitted = vit.fit_positions(positions, (16, 16), registers=registers)
    row = np.asarray(fitted[1:].reshape(16, 16)[5])
    assert np.allclose(row + row[::-1], 7, atol=1e-4) == even
    np.testing.assert_allclose(row + row[::-1], 7, atol=0.2)


@pytest.mark.parametrize(
  ("size", "registers", "millions"),
  [("small", 0, 22.06), ("base", 0, 86.58), ("large", 4, 304.37)],
)
def test_published_sizes(size: str, registers: int, millions: float) -> None:
  shapes = vit_weights.vit_shapes(vit.dinov2(size, registers=registers))
  count = sum(x.size for x in jax.tree.leaves(shapes))
  # Published files also hold the token of hidden patches.
  count += shapes["class_token"].size
  assert round(count / 1e6, 2) == millions


def test_unknown_sizes_are_refused() -> None:
  with pytest.raises(UserError, match="no DINOv2 network 'giant'"):
    vit.dinov2("giant")
  net = vit.VisionTransformer(8, 2, 2, patch=4, grid=2)
  for changes, side, sentence in (
    ({}, 10, "multiples of 4"),
    ({"blocks": (2,)}, 8, "not among 2 blocks"),
    ({"blocks": (-3,)}, 8, "not among 2 blocks"),
  ):
    blank = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    with pytest.raises(ValueError, match=sentence):
      jax.eval_shape(net.copy(**changes).init, jax.random.key(0), blank)


class _Command:
  """Unpickled in the ordinary way, this writes a file."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def __reduce__(self) -> tuple:
    return pathlib.Path.touch, (self.path,)


def test_a_malicious_file_is_refused_and_not_run(tmp_path) -> None:
  made = tmp_path / "made"
  data = pickle.dumps({"cls_token": _Command(made)})
  path = tmp_path / "dinov2_vitb14_pretrain.pth"
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("archive/data.pkl", data)
  with pytest.raises(UserError, match="not a file of weights"):
    vit_weights.load_dinov2(path)
  assert not made.exists()
  pickle.loads(data)
  assert made.exists()


def test_other_files_are_refused(tmp_path) -> None:
  good = _dino()
  heads = dict(heads=2)
  missing = {k: v for k, v in good.items() if k != "blocks.2.attn.qkv.bias"}
  spoilt = {k: v.copy() for k, v in good.items()}
  spoilt["norm.bias"][3] = np.nan
  for arrays, sentence in (
    (missing, r"lacks blocks\.2\.attn\.qkv\.bias"),
    (spoilt, r"not finite: norm\.bias"),
    (good | {"extra": good["norm.bias"]}, "extra, which belongs to no layer"),
    (good | {"norm.bias": np.zeros(5, "f4")}, "does not fit.*norm.*bias"),
    (good | {"norm.bias": np.zeros((1, 12), "f4")}, "expected 1 axes"),
  ):
    path = _save(arrays, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=sentence):
      vit_weights.load_dinov2(path, **heads)


def test_published_pth_round_trip(tmp_path) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  good = _dino()
  torch.save(
    {k: torch.from_numpy(v.copy()) for k, v in good.items()},
    tmp_path / "net.pth",
  )
  ours = vit_weights.load_dinov2(tmp_path / "net.pth", heads=2)
  path = _save(good, tmp_path / "net.safetensors")
  theirs = vit_weights.load_dinov2(path, heads=2)
  assert ours[0] == theirs[0]
  jax.tree.map(np.testing.assert_array_equal, ours[1], theirs[1])


def test_bfloat16_stays_close() -> None:
  # Two blocks of attention in bfloat16: 8 bits of mantissa each.
  net = vit.VisionTransformer(8, 2, 2, patch=4, grid=2, blocks=(-1,))
  x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
  params = golden.draw(net, x)
  (exact,) = jax.jit(net.apply)({"params": params}, x)
  (rough,) = jax.jit(net.copy(dtype=jnp.bfloat16).apply)({"params": params}, x)
  assert rough.dtype == jnp.float32
  far = np.abs(exact - rough).max()
  assert 0 < far < 0.1
