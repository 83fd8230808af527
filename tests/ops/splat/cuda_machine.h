// The machine of cuda_emulation.h: fibers for threads, barriers, warps,
// launches.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared")))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

namespace emulation {

constexpr int kWarp = 32;
constexpr size_t kStack = 256 << 10;

enum State { kReady, kAtBlock, kAtWarp, kDone };

struct Fiber {
  ucontext_t context;
  jmp_buf place;  // where it goes on; cheaper than a context
  bool started = false;
  std::unique_ptr<char[]> stack;
  void* fake_stack = nullptr;
  dim3 thread;
  int index = 0;
  State state = kDone;
  int line = 0;        // of the barrier at which it waits
  uint64_t count = 0;  // of warp operations and barriers so far
  int predicate = 0;
};

struct Machine {
  std::mutex mutex;
  std::vector<std::unique_ptr<Fiber>> fibers;
  ucontext_t scheduler;
  jmp_buf scheduler_place;
  Fiber* current = nullptr;
  std::function<void()> kernel;
  dim3 grid, block, where;
  int threads = 0;
  std::vector<uint64_t> slots;  // two per thread: what it gives to its warp
  int votes = 0;                // sum of the block's predicates
  std::mt19937 random;
  int order = 0;
  void* host_stack = nullptr;
  const void* host_bottom = nullptr;
  size_t host_size = 0;
};

inline Machine& machine() {
  static Machine m;
  return m;
}

[[noreturn]] inline void Fail(const char* what, int line, int other = 0) {
  const Machine& m = machine();
  fprintf(stderr, "CUDA emulation: %s (lines %d and %d, block %u %u)\n", what,
          line, other, m.where.x, m.where.y);
  fflush(stderr);
  abort();
}

inline void ToScheduler(bool done) {
  Machine& m = machine();
  Fiber* self = m.current;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(done ? nullptr : &self->fake_stack,
                                 m.host_bottom, m.host_size);
  if (done) setcontext(&m.scheduler);
  swapcontext(&self->context, &m.scheduler);
  __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#else
  if (done || !_setjmp(self->place)) _longjmp(m.scheduler_place, 1);
#endif
}

inline void ToFiber(Fiber& f) {
  Machine& m = machine();
  m.current = &f;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&m.host_stack, f.stack.get(), kStack);
  swapcontext(&m.scheduler, &f.context);
  __sanitizer_finish_switch_fiber(m.host_stack, nullptr, nullptr);
#else
  if (_setjmp(m.scheduler_place)) return;
  if (f.started) _longjmp(f.place, 1);
  f.started = true;
  setcontext(&f.context);
#endif
}

inline void Entry() {
  Machine& m = machine();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &m.host_bottom, &m.host_size);
#endif
  m.kernel();
  m.current->state = kDone;
  ToScheduler(true);
}

inline void Wait(State state, int line) {
  Fiber* self = machine().current;
  self->state = state;
  self->line = line;
  ++self->count;
  ToScheduler(false);
}

// Runs a warp's threads until each waits; false if none of them could run.
inline bool RunWarp(int first) {
  Machine& m = machine();
  std::array<int, kWarp> turn;
  std::iota(turn.begin(), turn.end(), first);
  if (m.order == 1) std::reverse(turn.begin(), turn.end());
  if (m.order > 1) std::shuffle(turn.begin(), turn.end(), m.random);
  bool ran = false;
  for (int i : turn) {
    if (m.fibers[i]->state != kReady) continue;
    ToFiber(*m.fibers[i]);
    ran = true;
  }
  int waiting = 0;
  for (int i : turn) waiting += m.fibers[i]->state == kAtWarp;
  if (waiting < kWarp) return ran;
  for (int i : turn) {
    Fiber& f = *m.fibers[i];
    if (f.line != m.fibers[first]->line) {
      Fail("a warp's threads are at different operations", f.line,
           m.fibers[first]->line);
    }
    f.state = kReady;
  }
  return true;
}

// Lets everybody pass a barrier at which all threads wait.
inline void PassBarrier() {
  Machine& m = machine();
  const Fiber& first = *m.fibers[0];
  m.votes = 0;
  for (int i = 0; i < m.threads; ++i) {
    Fiber& f = *m.fibers[i];
    if (f.state != kAtBlock || f.line != first.line) {
      Fail(f.state == kDone ? "a thread ended while others wait"
                            : "threads wait for each other at different places",
           f.line, first.line);
    }
    m.votes += f.predicate != 0;
    f.state = kReady;
  }
}

inline void RunBlock() {
  Machine& m = machine();
  for (int i = 0; i < m.threads; ++i) {
    Fiber& f = *m.fibers[i];
    f.state = kReady;
    f.started = false;
    f.count = 0;
    f.index = i;
    f.thread = dim3(i % m.block.x, i / m.block.x % m.block.y,
                    i / (m.block.x * m.block.y));
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, Entry, 0);
  }
  // Each warp gets as far as it can, which hurts most where a barrier is
  // missing; in random order it also stops earlier.
  std::vector<int> turn;
  for (int i = 0; i < m.threads; i += kWarp) turn.push_back(i);
  if (m.order == 1) std::reverse(turn.begin(), turn.end());
  while (true) {
    if (m.order > 1) std::shuffle(turn.begin(), turn.end(), m.random);
    bool ran = false;
    for (int warp : turn) {
      while (RunWarp(warp)) {
        ran = true;
        if (m.order > 1 && m.random() % 8 == 0) break;
      }
    }
    if (ran) continue;
    bool done = true;
    for (int i = 0; i < m.threads; ++i)
      done = done && m.fibers[i]->state == kDone;
    if (done) return;
    PassBarrier();
  }
}

extern "C" __attribute__((weak)) char __start_emulated_shared[];
extern "C" __attribute__((weak)) char __stop_emulated_shared[];

template <class... Parameters>
struct Launcher {
  void (*kernel)(Parameters...);
  dim3 grid, block;

  void operator()(Parameters... arguments) const {
    Machine& m = machine();
    std::lock_guard<std::mutex> lock(m.mutex);
    const char* order = getenv("CHIBIJAX_EMULATION_ORDER");
    m.order = order ? atoi(order) : 0;
    m.random.seed(m.order);
    m.grid = grid;
    m.block = block;
    m.threads = block.x * block.y * block.z;
    const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
    if (blocks == 0 || grid.y > 65535 || grid.z > 65535 || m.threads == 0 ||
        m.threads > 1024 || m.threads % kWarp || grid.x > 0x7fffffffu) {
      Fail("invalid launch configuration", m.threads, int(blocks));
    }
    while (int(m.fibers.size()) < m.threads) {
      m.fibers.push_back(std::make_unique<Fiber>());
      m.fibers.back()->stack.reset(new char[kStack]);
    }
    m.slots.assign(2 * m.threads, 0);
    m.kernel = [&] { kernel(arguments...); };
    std::vector<int64_t> turn(blocks);
    std::iota(turn.begin(), turn.end(), 0);
    if (m.order == 1) std::reverse(turn.begin(), turn.end());
    if (m.order > 1) std::shuffle(turn.begin(), turn.end(), m.random);
    for (int64_t i : turn) {
      m.where = dim3(i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y);
      if (__start_emulated_shared) {
        memset(__start_emulated_shared, 0xff,
               __stop_emulated_shared - __start_emulated_shared);
      }
      RunBlock();
    }
  }
};

template <class... Parameters>
Launcher<Parameters...> Launch(void (*kernel)(Parameters...), dim3 grid,
                               dim3 block) {
  return {kernel, grid, block};
}

// Every lane gives a value; returns what all lanes gave.
template <class T>
const uint64_t* Exchange(unsigned mask, T value, int line) {
  Machine& m = machine();
  if (mask != 0xffffffffu) Fail("the mask is not the whole warp", line);
  Fiber* self = m.current;
  static_assert(sizeof(T) <= 8);
  // Two sets of slots, used in turn: a lane may be one operation ahead.
  uint64_t* slots = m.slots.data() + (self->count & 1) * m.threads;
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  slots[self->index] = bits;
  Wait(kAtWarp, line);
  return slots + self->index / kWarp * kWarp;
}

template <class T>
T Shuffle(unsigned mask, T value, int source, int line) {
  const uint64_t* given = Exchange(mask, value, line);
  T result;
  memcpy(&result, &given[source & (kWarp - 1)], sizeof(T));
  return result;
}

inline int Lane() { return machine().current->index % kWarp; }

}  // namespace emulation
