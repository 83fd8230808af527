"""What the devices of one compiled step send each other, read from its text.

Bytes are those of an operation's result on one device: of an all-reduce the
size of what is summed, of an all-gather the whole that was gathered. How much
travels over which wire depends on the topology and is not counted here.
"""

import re

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
# A result, its kind and whether it is the first half of an asynchronous pair:
#   %name = f32[3,4]{1,0} all-reduce(...)
#   %name = (f32[64]{0}, /*index=1*/f32[2]{0}) all-reduce-start(...)
_OPERATION = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_BITS = re.compile(r"\d+")
# A TPU's program spreads one exchange over the arithmetic beside it, in
# computations of these names: each repeats the operation, as does the last.
_PIECE = "%async_collective_fusion"
_LAST = 'custom_call_target="AsyncCollectiveDone"'


def count(text: str) -> dict[str, int]:
  """Counts the bytes of each kind of exchange in a compiled program.

  Loops are counted once, as if they ran once.

  Args:
    text: optimised HLO, such as `CompiledStep.text()`.

  Returns:
    Bytes by kind, of the kinds that occur.
  """
  found: dict[str, int] = {}
  for part in text.split("\n\n"):
    if _repeats(part):
      continue
    for result, kind, start in _OPERATION.findall(part):
      arrays = _ARRAY.findall(result)
      if start and kind != "all-reduce":
        # The operands stand before the results.
        arrays = arrays[len(arrays) // 2 :]
      found[kind] = found.get(kind, 0) + sum(_bytes(*x) for x in arrays)
  return found


def _repeats(part: str) -> bool:
  """Whether a computation goes on with an exchange that another began."""
  part = part.lstrip()
  if part.startswith("%fused_computation"):
    return _LAST in part
  return part.startswith(_PIECE)


def _bytes(kind: str, shape: str) -> int:
  size = 1
  for side in filter(None, shape.split(",")):
    size *= int(side)
  bits = _BITS.search(kind)
  return size * (int(bits[0]) if bits else 8) // 8
