// Parallel loops, memory for them, and no denormals while they run.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace chibijax {
namespace splat {

// Numbers below 1.2e-38 count as 0 while this lives: they would be computed
// some twenty times slower. The thread's former mode then returns.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t{1} << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  uint64_t before_;
#endif
};

using LoopBody = std::function<void(int64_t)>;

// Something that runs loops in parallel: XLA's threads, or a test's.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual int64_t Count() const = 0;

  // Calls body(0) ... body(count - 1) in any order; may be called from within
  // a body. No result may depend on which thread runs what. An exception of a
  // body is thrown again when all have ended.
  void For(int64_t count, const LoopBody& body) {
    std::mutex mutex;
    std::exception_ptr failure;
    Run(count, [&](int64_t i) {
      const FlushDenormals guard;
      try {
        body(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        failure = std::current_exception();
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

  // The same for runs [begin, end) of `grain` indices.
  template <class Body>
  void ForRanges(int64_t count, int64_t grain, const Body& body) {
    For((count + grain - 1) / grain, [&](int64_t chunk) {
      const int64_t begin = chunk * grain;
      body(begin, count - begin < grain ? count : begin + grain);
    });
  }

 protected:
  virtual void Run(int64_t count, const LoopBody& body) = 0;
};

// Asks for large pages inside a result that is about to be written. XLA maps
// big buffers anew for each call, and a fault for every 4 KiB of them costs more
// than a small scene does. Only advice: nothing changes where it is refused.
inline void PreferLargePages(void* begin, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  const uintptr_t at = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t first = (at + kPage - 1) / kPage * kPage;
  const uintptr_t last = (at + static_cast<uintptr_t>(bytes)) / kPage * kPage;
  if (first < last)
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)begin;
  (void)bytes;
#endif
}

// Uninitialised memory for plain types, in whole cache lines; it only grows.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) { Reserve(count); }

  // Makes room for `count` values; what was there is lost if it must grow.
  T* Reserve(int64_t count) {
    if (count > capacity_) {
      // Large pages where they pay: these buffers are read at random.
      constexpr int64_t kPage = int64_t{1} << 21;
      const int64_t wanted = count * sizeof(T) + 64;
      const int64_t unit = wanted < 2 * kPage ? 64 : kPage;
      const int64_t bytes = (wanted + unit - 1) / unit * unit;
      data_.reset();
      data_.reset(static_cast<T*>(std::aligned_alloc(unit, bytes)));
      if (!data_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
      if (unit == kPage) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
      capacity_ = count;
    }
    return data_.get();
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t capacity_ = 0;
};

// Objects that tasks borrow one after the other, as many as run at once.
template <class T>
class Shelf {
 public:
  class Loan {
   public:
    explicit Loan(Shelf* shelf) : shelf_(shelf), item_(shelf->Take()) {}
    ~Loan() { shelf_->Put(std::move(item_)); }
    T* operator->() { return item_.get(); }
    T& operator*() { return *item_; }

   private:
    Shelf* shelf_;
    std::unique_ptr<T> item_;
  };
  Loan Borrow() { return Loan(this); }

 private:
  std::unique_ptr<T> Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (items_.empty()) return std::make_unique<T>();
    std::unique_ptr<T> item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  void Put(std::unique_ptr<T> item) {
    std::lock_guard<std::mutex> lock(mutex_);
    items_.push_back(std::move(item));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace splat
}  // namespace chibijax
