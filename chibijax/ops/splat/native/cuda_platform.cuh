// What the kernels need of CUDA and CUB, and the shapes they agree on.
//
// The tests compile the same kernels for a CPU (tests/.../cuda_emulation.h),
// hence a macro for launches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef CHIBIJAX_CUDA_EMULATION
#include "cuda_emulation.h"
#define CHIBIJAX_LAUNCH(kernel, grid, block, stream) \
  emulation::Launch(kernel, grid, block)
#else
#include <cuda_runtime.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#define CHIBIJAX_LAUNCH(kernel, grid, block, stream) \
  kernel<<<grid, block, 0, stream>>>
#endif

#include "splat_math.h"

// Before a loop that the compiler would unroll to no use: longer code, more
// registers.
#ifdef __CUDACC__
#define SPLAT_ROLL _Pragma("unroll 1")
#else
#define SPLAT_ROLL
#endif

namespace chibijax {
namespace splat {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of a block, where nothing else decides it
constexpr unsigned kAllLanes = 0xffffffffu;

// Gives memory of the device that lasts until the kernels launched by this call
// have ended; null if there is none left.
class Allocator {
 public:
  virtual void* Allocate(size_t bytes) = 0;

 protected:
  ~Allocator() = default;
};

// B scenes of N Gaussians and C cameras; colours are [B, `colour_sets`, N, D].
// Every product of them that is an index fits 32 bits, but for the channels.
struct Sizes {
  int64_t scenes, cameras, gaussians, channels, colour_sets;
  int width, height, tile, tiles_x, tiles_y;
  // Room for tile lists, per image, and length of an image's row of `bins`.
  int64_t room, row;

  SPLAT_FN int64_t images() const { return scenes * cameras; }
  SPLAT_FN int64_t total() const { return images() * gaussians; }
  SPLAT_FN int tiles() const { return tiles_x * tiles_y; }
  // Without room every tile walks all Gaussians of its image.
  SPLAT_FN bool binned() const { return room > 0 && gaussians > 0; }
};

// An image's row of `bins`: where each tile's list starts, and the lists' end,
// counted from what follows: Gaussians by tile, then by depth. The first number
// is kOverflow if they did not fit; the rest is then undefined.
constexpr int kOverflow = -1;

SPLAT_FN int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline dim3 BlocksFor(int64_t threads) {
  return dim3(static_cast<unsigned>(DivideUp(threads, kThreads)));
}

inline __device__ int64_t GlobalThread() {
  return int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

// atomicAdd to global memory without a result. Where the compiler cannot see
// which memory a pointer is into, it would allow for shared memory, by a loop.
inline __device__ void AddTo(float* p, float v) {
#ifdef __CUDA_ARCH__
  asm volatile("red.global.add.f32 [%0], %1;"
               :
               : "l"(__cvta_generic_to_global(p)), "f"(v)
               : "memory");
#else
  atomicAdd(p, v);
#endif
}

// Adds up 1, 2, 4 ... 32 values per lane over the warp: lane i returns the sum
// of every lane's value i % kValues. Each step halves the values a lane holds,
// which takes 4 instructions per value and not 10 as one sum after another.
template <int kValues, int kStart = kValues>
__device__ __forceinline__ float WarpSums(const float (&v)[kValues]) {
  if constexpr (kValues > 1) {
    constexpr int kHalf = kValues / 2;
    const bool upper = threadIdx.x & kHalf;
    float kept[kHalf];
    SPLAT_UNROLL
    for (int i = 0; i < kHalf; ++i) {
      const float keep = upper ? v[i + kHalf] : v[i];
      const float give = upper ? v[i] : v[i + kHalf];
      kept[i] = keep + __shfl_xor_sync(kAllLanes, give, kHalf);
    }
    return WarpSums<kHalf, kStart>(kept);
  } else {
    float sum = v[0];
    SPLAT_UNROLL
    for (int step = kStart; step < kWarp; step *= 2)
      sum += __shfl_xor_sync(kAllLanes, sum, step);
    return sum;
  }
}

}  // namespace splat
}  // namespace chibijax
