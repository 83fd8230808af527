"""The avatar's networks: the released layout, PyTorch's results, sizes."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from chibijax.errors import UserError
from chibijax.models import avatar, avatar_weights
from tests.models import avatar_golden as golden


def _save(path: pathlib.Path, arrays: dict) -> pathlib.Path:
  safetensors.numpy.save_file(arrays, path)
  return path


@pytest.fixture
def released(tmp_path, monkeypatch):
  """Networks of the golden's sizes and its weights, from a file of ours."""
  arrays = golden.state("released")
  noise = "upsampler.stylegan_decoder.noises.noise0"
  arrays = {f"model.{k}": v for k, v in arrays.items()}
  arrays |= {
    f"model.{noise}": np.ones((1, 1, 4, 4), "f4"),
    "model.percep_loss.net.weight": np.ones(3, "f4"),
    "optimizer.state": np.ones(3, "f4"),
  }
  path = _save(tmp_path / "GAGAvatar.safetensors", arrays)
  config = golden.config(monkeypatch, legacy=True)
  _, params = avatar_weights.load_released(
    path, config, vertices=golden.VERTICES
  )
  nets = avatar.build(config, golden.VERTICES)
  return nets, jax.tree.map(jnp.asarray, params)


def test_released_networks_give_what_pytorch_gives(released) -> None:
  nets, params = released
  found = golden.read()

  def apply(name: str, *args):
    return jax.jit(nets[name].apply)({"params": params[name]}, *args)

  features, first = apply("encoder", found["in/image"])
  golden.close(features, found["out/features"])
  golden.close(first, found["out/first"])
  golden.close(apply("renderer", found["in/coarse"]), found["out/fine"])
  code = avatar.direction_code(jnp.asarray(found["in/direction"]))
  lifted = apply("lifting", found["in/plane"], code)
  moved = apply("expression", found["out/first"], code)
  for kind, made in (("lifting", lifted), ("expression", moved)):
    for name, ours in made.items():
      golden.close(ours, found[f"out/{kind}/{name}"])
    assert sum(k.startswith(f"out/{kind}") for k in found) == len(made)
  # The clean form differs from these weights' code in three places.
  config = nets["encoder"].config
  clean = avatar.build(
    dataclasses.replace(config, legacy=False), golden.VERTICES
  )
  clean_lift = jax.jit(clean["lifting"].apply)(
    {"params": params["lifting"]}, found["in/plane"], code
  )
  different = [
    k for k, v in clean_lift.items() if np.abs(v - lifted[k]).max() > 1e-3
  ]
  assert sorted(different) == ["colors", "quats"]
  clean_moved = jax.jit(clean["expression"].apply)(
    {"params": params["expression"]}, found["out/first"], code
  )
  lengths = np.linalg.norm(clean_moved["quats"], axis=-1)
  np.testing.assert_allclose(lengths, 1, atol=1e-5)
  lengths = np.linalg.norm(moved["quats"], axis=-2)
  np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path, monkeypatch) -> None:
  good = golden.state("released")
  load = functools.partial(
    avatar_weights.load_released, vertices=golden.VERTICES
  )
  config = golden.config(monkeypatch)
  path = _save(tmp_path / "net.safetensors", good)
  with pytest.raises(UserError, match="does not fit"):
    avatar_weights.load_released(path, config, vertices=8)
  name = "gs_generator_l1.gaussian_conv.2.bias"
  _save(path, {k: v for k, v in good.items() if k != name})
  with pytest.raises(UserError, match=f"lacks {name}"):
    load(path, config)
  _save(path, good | {"surplus": good["head_base"]})
  with pytest.raises(UserError, match="surplus, which belongs to no layer"):
    load(path, config)


def _shapes(config: avatar.AvatarConfig, vertices: int = 5023) -> dict:
  init = functools.partial(avatar.init, config, vertices)
  return jax.eval_shape(init, jax.random.key(0))


def _count(tree) -> int:
  return sum(x.size for x in jax.tree.leaves(tree))


def test_published_parameter_counts() -> None:
  shapes = _shapes(avatar.AvatarConfig.paper())
  base = shapes["expression"].pop("base")
  parts = {
    "dpt": (shapes["encoder"]["dpt"], 30.51),
    "linear": (shapes["expression"], 0.61),
    "conv": (shapes["lifting"], 1.25),
    "base": (base, 1.29),
    "renderer": (shapes["renderer"], 48.68),
  }
  counts = {k: _count(tree) for k, (tree, _) in parts.items()}
  for name, (_, printed) in parts.items():
    assert round(counts[name] / 1e6, 2) == printed, name
  assert round(sum(counts.values()) / 1e6, 2) == 82.34
  assert round(_count(shapes["encoder"]["backbone"]) / 1e6, 2) == 86.58
  # What the optimisers see adds up to the same.
  groups = avatar.parameter_groups(shapes)
  sizes = dict.fromkeys(("frozen", "slow", "normal"), 0)
  for leaf, group in zip(
    jax.tree.leaves(shapes), jax.tree.leaves(groups), strict=True
  ):
    sizes[group] += leaf.size
  assert sizes["frozen"] == _count(shapes["encoder"]["backbone"])
  assert sizes["slow"] == 8 * (512 * 512 + 512) + 4096 * 512 + 512
  trained = sum(counts.values()) - base.size
  assert sizes["slow"] + sizes["normal"] == trained


TINY = dict(
  size=32,
  encoder_size=16,
  widths=(4, 6),
  features=5,
  code=6,
  lifting=8,
  base=8,
  heads=12,
  capacity=64,
  most=4,
  style=4,
  mapping=1,
)


@pytest.fixture(scope="module")
def tiny():
  config = avatar.AvatarConfig.small(**TINY)
  params = avatar.init(config, 9, jax.random.key(0))
  return config, avatar.build(config, 9), params


def test_small_networks_fit_together(tiny) -> None:
  config, nets, params = tiny
  image = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
  code = avatar.direction_code(jnp.eye(3)[:2])

  def run(params, image):
    def apply(name, *args):
      return nets[name].apply({"params": params[name]}, *args)

    plane, whole = apply("encoder", image)
    coarse = jnp.tile(plane, (1, 4, 4, 7))[..., :32]
    return (
      (plane, whole),
      apply("lifting", plane, code),
      apply("expression", whole, code),
      apply("renderer", coarse),
    )

  made = jax.jit(run)(params, image)
  (plane, whole), lifted, moved, fine = made
  p = config.plane
  assert plane.shape == (2, p, p, 5) and whole.shape == (2, 6)
  assert p == 8 and config.global_width == 6
  assert fine.shape == (2, 32, 32, 3)
  ends = {"colors": (32,), "opacities": (), "scales": (3,), "quats": (4,)}
  assert {k: v.shape for k, v in moved.items()} == {
    k: (2, 9, *end) for k, end in ends.items()
  }
  assert {k: v.shape for k, v in lifted.items()} == {
    k: (2, 2, p * p, *end) for k, end in (ends | {"lift": ()}).items()
  }
  for found in (lifted, moved):
    assert all(v.dtype == jnp.float32 for v in found.values())
    rgb = found["colors"][..., :3]
    assert 0 < rgb.min() and rgb.max() < 1
    assert found["colors"][..., 3:].min() < 0
    assert 0 < found["scales"].min() and found["scales"].max() < 0.05
    lengths = np.linalg.norm(found["quats"], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
  # The two pictures differ, and so do the sides of the plane.
  assert np.abs(plane[0] - plane[1]).max() > 1e-3
  assert np.abs(lifted["lift"][:, 0] - lifted["lift"][:, 1]).max() > 1e-4


@pytest.mark.parametrize(
  "name",
  ["lifting", "expression"]
  + [pytest.param(n, marks=pytest.mark.slow) for n in ("encoder", "renderer")],
)
def test_eager_equals_jit(tiny, name: str) -> None:
  config, nets, params = tiny
  shapes = {
    "lifting": (config.plane, config.plane, config.features),
    "expression": (config.global_width,),
    "encoder": (config.size, config.size, 3),
    "renderer": (config.size, config.size, 32),
  }
  draws = np.random.default_rng(1)
  given = [jnp.asarray(draws.uniform(size=(2, *shapes[name])), jnp.float32)]
  if name in ("lifting", "expression"):
    given.append(avatar.direction_code(jnp.eye(3)[:2]))
  variables = {"params": params[name]}
  made = jax.jit(nets[name].apply)(variables, *given)
  # Sums in another order.
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=2e-5),
    made,
    nets[name].apply(variables, *given),
  )


def test_init_draws_each_layer_anew(tiny) -> None:
  params = tiny[2]
  kernels = {}
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(x).all(), name
    if name.endswith("['kernel']") and x.size > 100:
      kernels[name] = np.ravel(x)[:100]
      # Variance gain / fan in with a gain between 1/3 and 2.
      spread = x.std() * np.sqrt(np.prod(x.shape[:-1]))
      assert 0.4 < spread < 1.7, name
  starts = np.stack(list(kernels.values()))
  alike = np.abs(np.corrcoef(starts) - np.eye(len(starts)))
  assert alike.max() < 0.6


def test_direction_code_is_pytorch3ds() -> None:
  direction = np.array([[0.6, 0.0, -0.8]], "f4")
  code = avatar.direction_code(jnp.asarray(direction))[0]
  assert code.shape == (avatar.DIRECTION_CODE,) == (27,)
  np.testing.assert_allclose(code[:4], np.sin([0.6, 1.2, 2.4, 4.8]), atol=1e-6)
  np.testing.assert_allclose(code[4:8], 0, atol=1e-6)
  np.testing.assert_allclose(
    code[20:24], np.cos([0.8, 1.6, 3.2, 6.4]), atol=1e-6
  )
  np.testing.assert_array_equal(code[24:], direction[0])


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"encoder": "resnet"}, "encoder is 'resnet'"),
    ({"encoder_size": 512}, "encoder_size is 512"),
    ({"encoder": "pyramid", "encoder_size": 96}, "encoder_size is 96"),
    ({"size": 384}, "size is 384"),
    ({"size": 8, "fold": 2}, "at least 16"),
    ({"branch_dtype": "float16"}, "dtype is 'float16'"),
  ],
)
def test_impossible_sizes_are_refused(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    avatar.AvatarConfig(**changes)
