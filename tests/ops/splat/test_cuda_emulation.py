"""The emulation of CUDA notices the mistakes it is for."""

import subprocess

import jax

from tests.ops.splat import emulated_cuda

KERNELS = """
#include "cuda_emulation.h"
void Divergent(float* out) {
  if (threadIdx.x % 2) __syncwarp();
  __syncthreads();
}
void Leaves(float* out) {
  if (threadIdx.x == 3) return;
  __syncthreads();
}
void Partial(float* out) { out[0] = __shfl_sync(1u, 1.0f, 0); }
void Races(float* out) {
  __shared__ float shared[64];
  shared[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = shared[63 - threadIdx.x];
}
void Right(float* out) {
  __shared__ float shared[64];
  shared[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = shared[63 - threadIdx.x];
}
int main(int argc, char** argv) {
  void (*kernels[])(float*) = {Divergent, Leaves, Partial, Races, Right};
  float out[64];
  emulation::Launch(kernels[argv[1][0] - '0'], dim3(1), dim3(64))(out);
  for (int i = 0; i < 64; ++i)
    if (out[i] != 63 - i) return 9;
  return 0;
}
"""


def test_emulation_notices_mistakes(tmp_path):
  source = tmp_path / "kernels.cc"
  source.write_text(KERNELS)
  program = tmp_path / "kernels"
  include = ["-isystem", jax.ffi.include_dir(), f"-I{emulated_cuda.HERE}"]
  command = ["g++", "-std=c++17", *include, str(source), "-o", str(program)]
  subprocess.run(command, check=True)
  said = []
  for i in range(5):
    done = subprocess.run(
      [program, str(i)], capture_output=True, text=True, check=False
    )
    said.append((done.returncode, done.stderr))
  assert "different places" in said[0][1] and said[0][0] < 0
  assert "ended while others wait" in said[1][1] and said[1][0] < 0
  assert "not the whole warp" in said[2][1] and said[2][0] < 0
  assert said[3][0] == 9
  assert said[4] == (0, "")
