// A parallel loop on XLA's own CPU threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace chibijax {

// Calls body(0) ... body(count - 1), each once, in any order and on any thread.
//
// It may be called from a pool thread while all others are busy: the caller
// takes indices too and waits only for those that another thread has taken.
// A helper that starts after the loop has ended finds no index left; the
// shared state keeps the loop's bookkeeping alive for it, and it never
// touches `body`, which may refer to the caller's frame.
template <class Body>
void ParallelFor(xla::ffi::ThreadPool& pool, int64_t count, const Body& body) {
  struct Loop {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable changed;
    int64_t finished = 0;
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  auto loop = std::make_shared<Loop>();
  const Body* work = &body;
  auto run = [loop, work, count] {
    int64_t done = 0;
    for (int64_t i; (i = loop->next.fetch_add(1)) < count; ++done) (*work)(i);
    if (done == 0) return;
    std::lock_guard<std::mutex> lock(loop->mutex);
    loop->finished += done;
    if (loop->finished == count) loop->changed.notify_all();
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(run));
  run();
  std::unique_lock<std::mutex> lock(loop->mutex);
  loop->changed.wait(lock, [&] { return loop->finished == count; });
}

}  // namespace chibijax
