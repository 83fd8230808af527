// The geometry of a convolution.
#pragma once

#include <cstdint>
#include <vector>

namespace chibijax {

// x [b, h, w, i], kernel [kh, kw, i, o], y [b, h2, w2, o].
struct Shape {
  int64_t b, h, w, i, kh, kw, o, h2, w2, stride, padding;
  bool reflect;

  // Source row of each padded row, or -1 where there are only zeros.
  std::vector<int32_t> Rows(int64_t count) const { return Sources(count, h); }
  std::vector<int32_t> Columns(int64_t count) const {
    return Sources(count, w);
  }

 private:
  std::vector<int32_t> Sources(int64_t count, int64_t size) const {
    std::vector<int32_t> map(count, -1);
    for (int64_t k = 0; k < count; ++k) {
      int64_t at = k - padding;
      if (reflect && at < 0) at = -at;
      if (reflect && at >= size && at < size + padding) at = 2 * size - 2 - at;
      if (at >= 0 && at < size) map[k] = static_cast<int32_t>(at);
    }
    return map;
  }
};

}  // namespace chibijax
