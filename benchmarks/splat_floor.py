"""The least time that `splat.py`'s scenes could take on this processor.

Operations: every pair of a pixel and a Gaussian that meet costs one fused
multiply-add per channel forward, and two backward (the gradient of the colour,
and the product of colour and cotangent). `channels` counts only those, `pair`
also an estimate of what a pair needs besides: position, exponential, the
decisions, the transmittance. Bytes: every input and output once. Both at the
rates that a few lines of C++ reach here on as many threads.
"""

import pathlib
import shutil
import subprocess
import tempfile

# Vector operations of a pair besides its channels: about 3 for sigma, 10 for
# the exponential, 7 for alpha, decisions and transmittance; backward the same
# sigma and exponential, a division, and 12 for the gradients of 7 numbers.
PAIR_FORWARD, PAIR_BACKWARD = 20, 32

SOURCE = r"""
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#ifdef __AVX512F__
constexpr int kBytes = 64;
#else
constexpr int kBytes = 32;
#endif
typedef float Vec __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4, kSums = 12;

float Multiply(long rounds, float seed) {
  Vec sum[kSums], a, b;
  for (int i = 0; i < kLanes; ++i) a[i] = 0.5f + seed, b[i] = seed;
  for (int i = 0; i < kSums; ++i) sum[i] = b;
  for (long r = 0; r < rounds; ++r)
    for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * a + b;
  float out = 0;
  for (int i = 0; i < kSums; ++i) out += sum[i][0];
  return out;
}

template <class F>
double Best(int threads, F work) {
  double best = 1e9;
  for (int repeat = 0; repeat < 7; ++repeat) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) pool.emplace_back(work, t);
    for (auto& t : pool) t.join();
    std::chrono::duration<double> d = std::chrono::steady_clock::now() - start;
    if (d.count() < best) best = d.count();
  }
  return best;
}

int main(int, char** argv) {
  const int threads = atoi(argv[1]);
  const long rounds = 10 * 1000 * 1000;
  volatile float sink = 0;
  double seconds = Best(threads, [&](int) {
    sink = Multiply(rounds, (float)atof(argv[2]));
  });
  printf("%g ", 2.0 * kLanes * kSums * rounds * threads / seconds);
  const size_t size = 128u << 20;  // of each thread: larger than the caches
  std::vector<std::vector<char>> from(threads), to(threads);
  for (auto& v : from) v.assign(size, 1);
  for (auto& v : to) v.assign(size, 2);
  seconds = Best(threads, [&](int t) {
    memcpy(to[t].data(), from[t].data(), size);
  });
  printf("%g\n", 2.0 * size * threads / seconds);
}
"""


def peaks(threads: list[int]) -> dict[int, tuple[float, float]]:
  """FLOP/s and bytes/s by number of threads; empty without a compiler."""
  compiler = shutil.which("g++") or shutil.which("clang++")
  if compiler is None:
    return {}
  with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder) / "peaks.cc"
    source.write_text(SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-pthread"]
    program = source.with_suffix("")
    subprocess.run([compiler, *flags, source, "-o", program], check=True)
    found = {}
    for n in threads:
      done = subprocess.run(
        [program, str(n), "1e-6"], check=True, capture_output=True, text=True
      )
      flops, rate = map(float, done.stdout.split())
      found[n] = flops, rate
  return found


def seconds(
  setting: dict, peak: tuple[float, float]
) -> dict[str, dict[str, float]]:
  """The floors of one setting with one camera.

  Args:
    setting: gaussians, channels, width, height, and pairs of pixels and
      Gaussians that meet.
    peak: FLOP/s and bytes/s.

  Returns:
    Seconds of "channels", "pair" and "bytes" for "forward" and "both".
  """
  flops, rate = peak
  channels, pairs = setting["channels"], setting["pairs"]
  gaussians = 4 * setting["gaussians"] * (3 + 4 + 3 + 1 + channels)
  image = 4 * setting["width"] * setting["height"] * (channels + 1)
  moved = gaussians + image
  return {
    "forward": {
      "channels": 2 * pairs * channels / flops,
      "pair": 2 * pairs * (PAIR_FORWARD + channels) / flops,
      "bytes": moved / rate,
    },
    "both": {
      "channels": 2 * pairs * 3 * channels / flops,
      "pair": (
        2 * pairs * (PAIR_FORWARD + PAIR_BACKWARD + 3 * channels) / flops
      ),
      # Cotangents and Gaussians are read again, gradients written.
      "bytes": (2 * moved + gaussians) / rate,
    },
  }
