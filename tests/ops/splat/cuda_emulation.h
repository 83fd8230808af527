// Runs CUDA kernels on the CPU, to find mistakes where there is no GPU.
//
// The kernels' own source is compiled by a C++ compiler. Each thread of a block
// is a fiber; blocks run one after another. A fiber runs until it waits at a
// barrier of its block or warp, and the next one is chosen in an order that can
// be drawn at random, so that a missing barrier changes the results. What stops
// the program: threads of one warp at different warp operations, threads that
// wait at different barriers of a block or return while others wait, and warp
// operations whose mask is not the whole warp. Shared memory and results start
// as NaNs. With -fsanitize=address,bounds,alignment wrong indices stop it too.
//
// Not modelled: real concurrency between blocks, the order of memory accesses
// without a barrier in between, and the precision of the GPU's intrinsics.
//
// CHIBIJAX_EMULATION_ORDER: 0 threads in order, 1 in reverse, above a seed.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "cuda_machine.h"
#include "xla/ffi/api/ffi.h"

namespace emulation {

// What the handlers take from XLA on a GPU: a stream, memory.
struct Stream;
class Scratch {
 public:
  std::optional<void*> Allocate(size_t size) {
    memory_->emplace_back(new char[size]);
    memset(memory_->back().get(), 0xff, size);
    return memory_->back().get();
  }

 private:
  std::shared_ptr<std::vector<std::unique_ptr<char[]>>> memory_ =
      std::make_shared<std::vector<std::unique_ptr<char[]>>>();
};
struct StreamContext;

// Kernels get copies of the arrays, in memory of exactly their size, for the
// address sanitizer; results start as NaNs, which betrays what is not written,
// and are copied back when the handler asks for the last error.
class Guards {
 public:
  template <class T>
  T* Add(T* original, size_t count, bool result) {
    const size_t bytes = count * sizeof(T);
    copies_.push_back(
        {original, std::make_unique<char[]>(bytes), bytes, result});
    char* copy = copies_.back().copy.get();
    if (result) {
      memset(copy, 0xff, bytes);
    } else if (bytes > 0) {
      memcpy(copy, original, bytes);
    }
    return reinterpret_cast<T*>(copy);
  }

  void Finish() {
    for (const Copy& c : copies_) {
      if (c.result && c.bytes > 0) memcpy(c.original, c.copy.get(), c.bytes);
    }
    copies_.clear();
  }

 private:
  struct Copy {
    void* original;
    std::unique_ptr<char[]> copy;
    size_t bytes;
    bool result;
  };
  std::vector<Copy> copies_;
};

inline Guards& guards() {
  static thread_local Guards g;
  return g;
}

template <class Buffer>
auto* Data(const Buffer& argument) {
  return guards().Add(argument.typed_data(), argument.element_count(), false);
}
template <class Buffer>
auto* Data(xla::ffi::Result<Buffer>& result) {
  return guards().Add(result->typed_data(), result->element_count(), true);
}

}  // namespace emulation

typedef emulation::Stream* cudaStream_t;

template <>
struct xla::ffi::CtxDecoding<emulation::StreamContext> {
  using Type = cudaStream_t;
  static std::optional<Type> Decode(const XLA_FFI_Api*,
                                    XLA_FFI_ExecutionContext*,
                                    DiagnosticEngine&) {
    return Type(nullptr);
  }
};
template <>
struct xla::ffi::CtxDecoding<emulation::Scratch> {
  using Type = emulation::Scratch;
  static std::optional<Type> Decode(const XLA_FFI_Api*,
                                    XLA_FFI_ExecutionContext*,
                                    DiagnosticEngine&) {
    return Type();
  }
};

#define threadIdx (emulation::machine().current->thread)
#define blockIdx (emulation::machine().where)
#define blockDim (emulation::machine().block)
#define gridDim (emulation::machine().grid)

enum cudaError_t { cudaSuccess = 0 };
inline cudaError_t cudaGetLastError() {
  emulation::guards().Finish();
  return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t) {
  memset(p, value, n);
  return cudaSuccess;
}

inline void __syncthreads(int line = __builtin_LINE()) {
  emulation::Wait(emulation::kAtBlock, line);
}
inline int __syncthreads_count(int p, int line = __builtin_LINE()) {
  emulation::machine().current->predicate = p;
  emulation::Wait(emulation::kAtBlock, line);
  return emulation::machine().votes;
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       int line = __builtin_LINE()) {
  emulation::Exchange(mask, 0, line);
}
template <class T>
T __shfl_sync(unsigned mask, T v, int lane, int line = __builtin_LINE()) {
  return emulation::Shuffle(mask, v, lane, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int line = __builtin_LINE()) {
  return emulation::Shuffle(mask, v, emulation::Lane() ^ bits, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, int n, int line = __builtin_LINE()) {
  const int lane = emulation::Lane();
  return emulation::Shuffle(mask, v, lane < n ? lane : lane - n, line);
}
inline unsigned __ballot_sync(unsigned mask, int p,
                              int line = __builtin_LINE()) {
  const uint64_t* given = emulation::Exchange(mask, int(p != 0), line);
  unsigned bits = 0;
  for (int i = 0; i < emulation::kWarp; ++i) bits |= unsigned(given[i]) << i;
  return bits;
}
inline int __any_sync(unsigned mask, int p, int line = __builtin_LINE()) {
  return __ballot_sync(mask, p, line) != 0;
}
inline int __all_sync(unsigned mask, int p, int line = __builtin_LINE()) {
  return __ballot_sync(mask, p, line) == 0xffffffffu;
}

inline float atomicAdd(float* p, float v) {
  const float old = *p;
  *p = old + v;
  return old;
}
inline int atomicMax(int* p, int v) {
  const int old = *p;
  *p = std::max(old, v);
  return old;
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline unsigned __float_as_uint(float v) {
  unsigned bits;
  memcpy(&bits, &v, 4);
  return bits;
}
inline int __float_as_int(float v) {
  int bits;
  memcpy(&bits, &v, 4);
  return bits;
}
inline float __int_as_float(int v) {
  float bits;
  memcpy(&bits, &v, 4);
  return bits;
}
#define __expf expf  // glibc has another function of this name
inline float __fdividef(float a, float b) { return a / b; }
inline int max(int a, int b) { return std::max(a, b); }
inline int min(int a, int b) { return std::min(a, b); }

namespace cub {

struct DeviceRadixSort {
  template <class Key, class Value>
  static cudaError_t SortPairs(void* memory, size_t& bytes, const Key* keys,
                               Key* keys_out, const Value* values,
                               Value* values_out, int count, int begin_bit,
                               int end_bit, cudaStream_t) {
    if (!memory) {
      bytes = 8 * size_t(count) + 1;
      return cudaSuccess;
    }
    const Key mask =
        (end_bit < int(8 * sizeof(Key)) ? Key(1) << end_bit : Key(0)) -
        (Key(1) << begin_bit);
    std::vector<int> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return (keys[a] & mask) < (keys[b] & mask);
    });
    for (int i = 0; i < count; ++i) {
      keys_out[i] = keys[order[i]];
      values_out[i] = values[order[i]];
    }
    memset(memory, 0xee, bytes);
    return cudaSuccess;
  }
};

struct DeviceScan {
  template <class In, class Out>
  static cudaError_t InclusiveSum(void* memory, size_t& bytes, const In* in,
                                  Out* out, int count, cudaStream_t) {
    if (!memory) {
      bytes = 1;
      return cudaSuccess;
    }
    std::partial_sum(in, in + count, out);
    memset(memory, 0xee, bytes);
    return cudaSuccess;
  }
};

}  // namespace cub
