// Signatures of the XLA FFI handlers, which are the same on CPUs and GPUs:
// after what the platform gives (threads, a stream, memory) come the arrays,
// the results and the options. What they are: splat_cpu.cc, splat_cuda.cu.
#pragma once

#include <stdint.h>

#include <utility>

#include "xla/ffi/api/ffi.h"

namespace chibijax {
namespace splat {

// binding.Arg<First>().Arg<Rest>()..., and so for results.
template <class First, class... Rest, class Binding>
auto Args(Binding&& binding) {
  if constexpr (sizeof...(Rest) == 0) {
    return std::move(binding).template Arg<First>();
  } else {
    return Args<Rest...>(std::move(binding).template Arg<First>());
  }
}
template <class First, class... Rest, class Binding>
auto Rets(Binding&& binding) {
  if constexpr (sizeof...(Rest) == 0) {
    return std::move(binding).template Ret<First>();
  } else {
    return Rets<Rest...>(std::move(binding).template Ret<First>());
  }
}

// Each function goes on with the binding it is given. Array<r> and Integers<r>
// are the platform's buffers of rank r.
template <template <int> class Array, template <int> class Integers>
class Signatures {
 public:
  template <class Binding>
  static auto Project(Binding&& binding) {
    return ProjectOptions(
        Rets<Array<4>, Array<4>, Array<3>, Array<3>, Integers<4>>(
            Scene(std::move(binding))));
  }

  template <class Binding>
  static auto ProjectGrad(Binding&& binding) {
    return ProjectOptions(
        Rets<Array<3>, Array<3>, Array<3>, Array<2>, Array<4>, Array<4>>(
            Args<Integers<4>, Array<4>, Array<4>, Array<3>, Array<3>>(
                Scene(std::move(binding)))));
  }

  template <class Binding>
  static auto Composite(Binding&& binding) {
    return CompositeOptions(
        Rets<Array<5>, Array<4>, Array<4>, Integers<4>, Integers<3>,
             Integers<3>>(Splats(std::move(binding))));
  }

  template <class Binding>
  static auto CompositeGrad(Binding&& binding) {
    return CompositeOptions(
               Rets<Array<4>, Array<4>, Array<3>, Array<4>, Array<3>, Array<4>>(
                   Args<Array<4>, Integers<4>, Integers<3>, Integers<3>,
                        Array<5>, Array<4>, Array<4>>(
                       Splats(std::move(binding)))))
        .template Attr<bool>("absgrad");
  }

 private:
  // What `project` and `composite` take, and their gradients take first.
  template <class Binding>
  static auto Scene(Binding&& binding) {
    return Args<Array<3>, Array<3>, Array<3>, Array<2>, Array<4>, Array<4>>(
        std::move(binding));
  }
  template <class Binding>
  static auto Splats(Binding&& binding) {
    return Args<Array<4>, Array<4>, Array<3>, Array<4>, Array<3>, Integers<4>,
                Array<3>>(std::move(binding));
  }

  template <class Binding>
  static auto ProjectOptions(Binding&& binding) {
    return std::move(binding)
        .template Attr<int64_t>("width")
        .template Attr<int64_t>("height")
        .template Attr<int64_t>("camera_model")
        .template Attr<float>("eps2d")
        .template Attr<float>("near")
        .template Attr<float>("far")
        .template Attr<float>("radius_clip")
        .template Attr<bool>("antialiased")
        .template Attr<bool>("normalize_quats");
  }
  template <class Binding>
  static auto CompositeOptions(Binding&& binding) {
    return std::move(binding)
        .template Attr<float>("max_alpha")
        .template Attr<int64_t>("tile_size")
        .template Attr<bool>("with_depth");
  }
};

}  // namespace splat
}  // namespace chibijax
