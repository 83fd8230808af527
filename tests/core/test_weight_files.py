"""Weight files are data: what else they hold is refused, not run."""

import io
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from chibijax.core import weight_files
from chibijax.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C


class Command:
  """Unpickled in the ordinary way, this makes a folder."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def __reduce__(self) -> tuple:
    return os.mkdir, (str(self.path),)


class Named:
  """Pickled, it is only the name of something in a module."""

  def __init__(self, module: str, name: str, *args: object) -> None:
    self.module, self.name, self.args = module, name, args


class Script:
  """A TorchScript module: a name, and a dict of attributes."""

  def __init__(self, **attributes: object) -> None:
    self.attributes = attributes


class Pickler(pickle._Pickler):
  """Writes pickles like PyTorch's, with names and storages as given."""

  def persistent_id(self, value: object) -> object:
    return value[1:] if isinstance(value, tuple) and value[:1] == (7,) else None

  def save(self, value: object, save_persistent_id: bool = True) -> None:
    if isinstance(value, Script):
      self.write(b"c__torch__.___torch_mangle_1\nNet\n)\x81")
      super().save(value.attributes)
      self.write(pickle.BUILD)
      return None
    if not isinstance(value, Named):
      return super().save(value, save_persistent_id)
    self.write(f"c{value.module}\n{value.name}\n".encode())
    if value.args:
      super().save(value.args[0])
      self.write(pickle.REDUCE)
    return None


def dumps(value: object) -> bytes:
  stream = io.BytesIO()
  Pickler(stream, 2).dump(value)
  return stream.getvalue()


def storage(key: str, count: object, kind: str = "FloatStorage") -> tuple:
  return (7, "storage", Named("torch", kind), key, "cpu", count)


def tensor(
  shape: tuple, strides: tuple, count: object = 6, offset: object = 0
) -> Named:
  args = (storage("0", count), offset, shape, strides, False, None)
  return Named("torch._utils", "_rebuild_tensor_v2", args)


def archive(
  path: pathlib.Path,
  saved: bytes,
  numbers: bytes = np.arange(6, dtype="<f4").tobytes(),
  how: int = zipfile.ZIP_STORED,
) -> pathlib.Path:
  with zipfile.ZipFile(path, "w", how) as file:
    file.writestr("archive/data.pkl", saved)
    file.writestr("archive/data/0", numbers)
  return path


def stream(path: pathlib.Path, saved: bytes) -> pathlib.Path:
  start = b"".join(dumps(v) for v in (MAGIC, 1001, dict(little_endian=True)))
  numbers = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes()
  path.write_bytes(start + saved + dumps(["0"]) + numbers)
  return path


@pytest.mark.parametrize("write", [archive, stream])
def test_tensors_are_views_of_their_storage(
  write, tmp_path: pathlib.Path
) -> None:
  saved = {
    "whole": tensor((2, 3), (3, 1)),
    "epoch": 3,
    "net": {"turned": tensor((3, 2), (1, 3)), "part": tensor((2,), (1,), 6, 4)},
    "one": tensor((), (), 6, 5),
    "none": tensor((0, 4), (4, 1)),
  }
  found = weight_files.read(write(tmp_path / "x.pth", dumps(saved)))
  assert list(found) == ["whole", "net.turned", "net.part", "one", "none"]
  np.testing.assert_array_equal(found["whole"], [[0, 1, 2], [3, 4, 5]])
  np.testing.assert_array_equal(found["net.turned"], found["whole"].T)
  np.testing.assert_array_equal(found["net.part"], [4, 5])
  assert found["one"].shape == () and found["one"] == 5
  assert found["none"].shape == (0, 4)
  assert {a.dtype for a in found.values()} == {np.dtype("f4")}


def test_torchscript_is_its_tensors(tmp_path: pathlib.Path) -> None:
  inner = Script(training=False, beta=tensor((2,), (1,), 6, 4))
  size = Named("torch.jit._pickle", "build_intlist", ([2, 3],))
  net = Script(layers=inner, size=size, hook=None, weight=tensor((3,), (1,)))
  found = weight_files.read(archive(tmp_path / "x.pt", dumps(net)))
  assert list(found) == ["layers.beta", "weight"]
  np.testing.assert_array_equal(found["layers.beta"], [4, 5])


@pytest.mark.parametrize("write", [archive, stream])
def test_code_in_a_file_is_refused_and_not_run(
  write, tmp_path: pathlib.Path
) -> None:
  made = tmp_path / "made"
  data = pickle.dumps({"a": Command(made)})
  with pytest.raises(UserError, match=r"not a file of weights.*mkdir"):
    weight_files.read(write(tmp_path / "x.pth", data))
  assert not made.exists()
  # The test can fail: the same bytes do something in an ordinary unpickler.
  pickle.loads(data)
  assert made.exists()


@pytest.mark.parametrize(
  "code",
  [
    b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
    b"cbuiltins\ngetattr\n.",
    b"c__builtin__\nexec\n.",
    b"ctorch._utils\n_import_dotted_name\n.",
    b"ctorch.storage\n_load_from_bytes\n.",
    b"ctorch.hub\nload_state_dict_from_url\n.",
    b"cnumpy\nload\n.",
    # By a stack of names (protocol 4), and by the extension registry.
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    b"\x80\x02\x82\x01.",
    # A name with dots reaches into what a known module holds.
    b"\x80\x04\x8c\x0bcollections\x8c\x18OrderedDict.__reduce_ex__\x93.",
    # A module of TorchScript has attributes, and its name has none.
    b"c__torch__.a\nNet\n)\x81I1\nb.",
    b"c__torch__.a\nNet\n}X\x01\x00\x00\x00aI1\nsb.",
    # Setting attributes of a known name, by dict and by slots.
    b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aI1\nsb.",
    b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x05\x00\x00\x00_madeI1\ns\x86b.",
    # An instance of a class by NEWOBJ.
    b"\x80\x02ctorch\nFloatStorage\n)\x81.",
    b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
  ],
)
def test_other_names_and_tricks_are_refused(
  code: bytes, tmp_path: pathlib.Path
) -> None:
  for write in (archive, stream):
    with pytest.raises(UserError, match="not a file of weights"):
      weight_files.read(write(tmp_path / "x.pth", code))


@pytest.mark.parametrize(
  "wrong",
  [
    tensor((7,), (1,)),
    tensor((6,), (1,), 6, 1),
    tensor((6,), (1,), 7),  # The storage claims more than the file has.
    tensor((1 << 30, 1 << 30), (0, 0)),
    tensor((3, 3), (1, 1)),  # Overlapping: more numbers than there are.
    tensor((2,), (-1,), 6, 1),
    tensor((2,), (1,), 6, -1),
    tensor((-1,), (1,)),
    tensor((2.0,), (1,)),
    tensor((2, 1), (1,)),
    tensor((1 << 70,), (1,)),
    tensor((1,) * 99, (1,) * 99),
    tensor((2,), (1,), "6"),
    Named("torch._utils", "_rebuild_tensor_v2", (1, 0, (1,), (1,))),
  ],
)
def test_tensors_outside_their_storage_are_refused(
  wrong: Named, tmp_path: pathlib.Path
) -> None:
  for write in (archive, stream):
    with pytest.raises(UserError, match="not a file of weights"):
      weight_files.read(write(tmp_path / "x.pth", dumps({"a": wrong})))


def test_dicts_without_end_are_refused(tmp_path: pathlib.Path) -> None:
  loop: dict = {}
  loop["a"] = loop
  twice = {"a": tensor((2,), (1,))}
  for _ in range(50):  # 2 ** 50 tensors.
    twice = {"a": twice, "b": twice}
  for saved in (loop, twice):
    with pytest.raises(UserError, match="twice"):
      weight_files.read(archive(tmp_path / "x.pth", dumps(saved)))
  same = {"a.b": tensor((2,), (1,)), "a": {"b": tensor((2,), (1,))}}
  with pytest.raises(UserError, match=r"a\.b is in it twice"):
    weight_files.read(archive(tmp_path / "x.pth", dumps(same)))


def test_bombs_are_refused(tmp_path: pathlib.Path) -> None:
  saved = dumps({"a": tensor((6,), (1,))})
  squeezed = archive(tmp_path / "x.pth", saved, bytes(1 << 20), 8)
  with pytest.raises(UserError, match="is compressed"):
    weight_files.read(squeezed)
  plain = archive(tmp_path / "y.pth", saved)
  with pytest.raises(UserError, match="larger than"):
    weight_files.read(plain, max_bytes=100)
  # Many tensors of the same numbers.
  many = dumps({str(i): tensor((1000,), (1,), 1000) for i in range(200)})
  shared = archive(tmp_path / "z.pth", many, bytes(4000))
  assert len(weight_files.read(shared)) == 200
  with pytest.raises(UserError, match="claims more than 100000 bytes"):
    weight_files.read(shared, max_bytes=100_000)


@pytest.mark.parametrize("write", [archive, stream])
def test_damaged_files_are_refused(write, tmp_path: pathlib.Path) -> None:
  file = write(tmp_path / "x.pth", dumps({"a": tensor((2, 3), (3, 1))}))
  whole = file.read_bytes()
  assert weight_files.read(file)
  rng = np.random.default_rng(0)
  for kept in (0, 1, 3, 9, 30, 100, len(whole) // 2, len(whole) - 5):
    file.write_bytes(whole[:kept])
    with pytest.raises(UserError):
      weight_files.read(file)
  # Bytes changed at random: refused, or read as other numbers, never worse.
  for _ in range(300):
    bytes_ = np.frombuffer(whole, np.uint8).copy()
    bytes_[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
    file.write_bytes(bytes_.tobytes())
    try:
      found = weight_files.read(file)
    except UserError:
      continue
    assert all(isinstance(a, np.ndarray) for a in found.values())


def test_missing_and_empty_files(tmp_path: pathlib.Path) -> None:
  with pytest.raises(UserError, match="cannot be read"):
    weight_files.read(tmp_path / "none.pth")
  with pytest.raises(UserError, match="holds no tensors"):
    weight_files.read(archive(tmp_path / "x.pth", dumps({"a": 1})))
  (tmp_path / "a.zip").write_bytes(b"")
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
    file.writestr("hello.txt", "hello")
  with pytest.raises(UserError, match="not one of PyTorch's"):
    weight_files.read(tmp_path / "a.zip")


def test_safetensors_are_read(tmp_path: pathlib.Path) -> None:
  arrays = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3)}
  file = tmp_path / "x.safetensors"
  safetensors.numpy.save_file(arrays, file)
  found = weight_files.read(file)
  np.testing.assert_array_equal(found["a.b"], arrays["a.b"])
  file.write_bytes(file.read_bytes()[:60])
  with pytest.raises(UserError, match="not a file of weights"):
    weight_files.read(file)


@pytest.mark.parametrize("new", [True, False])
def test_what_pytorch_writes_is_read(new: bool, tmp_path: pathlib.Path) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  torch.manual_seed(0)
  base = torch.randn(4, 3, 2, 2)
  saved = {
    "layer": torch.nn.Linear(3, 2).state_dict(),
    "parameter": torch.nn.Parameter(torch.ones(3)),
    "last": base.to(memory_format=torch.channels_last),
    "part": base[1:, :, 0],
    "step": 4,
    "list": [torch.ones(2)],
  }
  for kind in "float64 float16 bfloat16 int64 int32 int16 int8 uint8".split():
    saved[kind] = torch.arange(3).to(getattr(torch, kind))
  saved["bool"] = torch.tensor([True, False])
  file = tmp_path / "x.pth"
  torch.save(saved, file, _use_new_zipfile_serialization=new)
  found = weight_files.read(file)
  flat = {**saved, **{f"layer.{k}": v for k, v in saved["layer"].items()}}
  assert set(found) == set(flat) - {"layer", "step", "list"}
  for name, array in found.items():
    there = flat[name].detach()
    assert str(array.dtype) == str(there.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(
      array.astype(np.float64), there.double().numpy(), err_msg=name
    )


def test_a_whole_module_is_refused(tmp_path: pathlib.Path) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
  with pytest.raises(UserError, match=r"asks for torch\.nn"):
    weight_files.read(tmp_path / "x.pth")


def test_shared_files_are_read_as_pytorch_does(
  shared_data: pathlib.Path,
) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  files = sorted((shared_data / "weights").glob("*/*.pt*"))
  assert len(files) > 5
  for file in files:
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    ours = weight_files.read(file)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
      np.testing.assert_array_equal(ours[name], value.numpy())
