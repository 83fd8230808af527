// XLA FFI handlers of the convolution and its two gradients, float32.
//
// Attributes: stride, padding (pixels), reflect (only for Winograd), winograd
// (3x3, stride 1). The last result is scratch memory that XLA allocates, of
// chibijax_convolution_scratch(...) floats.

#include <string>

#include "direct.h"
#include "winograd.h"
#include "xla/ffi/api/ffi.h"

namespace chibijax {
namespace ffi = xla::ffi;

using Array = ffi::Buffer<ffi::F32, 4>;
using Result = ffi::Result<Array>;
using Memory = ffi::Buffer<ffi::F32, 1>;
using Scratch = ffi::Result<Memory>;
using Dims = ffi::Span<const int64_t>;

enum Operation : int64_t { kForward = 0, kInputGrad = 1, kWeightGrad = 2 };

int64_t ScratchFloats(const Shape& s, int64_t operation, bool winograd) {
  if (winograd) return Winograd(s).ScratchFloats();
  const Direct direct(s);
  if (operation == kForward) return direct.ForwardScratch();
  if (operation == kInputGrad) return direct.InputGradScratch();
  return direct.WeightGradScratch();
}

ffi::Error Run(Operation operation, ffi::ThreadPool pool, Dims x, Dims kernel,
               Dims y, const float* a, const float* b, float* out,
               Scratch scratch, int64_t stride, int64_t padding, bool reflect,
               bool winograd) {
  const Shape s{x[0],      x[1], x[2], x[3],   kernel[0], kernel[1],
                kernel[3], y[1], y[2], stride, padding,   reflect};
  const bool sound =
      stride >= 1 && padding >= 0 && kernel[2] == s.i && y[0] == s.b &&
      y[3] == s.o && s.h2 == (s.h + 2 * padding - s.kh) / stride + 1 &&
      s.w2 == (s.w + 2 * padding - s.kw) / stride + 1 &&
      (!winograd || (s.kh == 3 && s.kw == 3 && stride == 1)) &&
      (!reflect || (winograd && padding < s.h && padding < s.w)) &&
      static_cast<int64_t>(scratch->element_count()) >=
          ScratchFloats(s, operation, winograd);
  if (!sound) {
    return ffi::Error::InvalidArgument(
        "chibijax convolution: shapes, attributes and scratch size disagree");
  }
  float* memory = scratch->typed_data();
  if (winograd) {
    const Winograd w(s);
    if (operation == kForward) w.Forward(pool, a, b, out, memory);
    if (operation == kInputGrad) w.InputGrad(pool, a, b, out, memory);
    if (operation == kWeightGrad) w.WeightGrad(pool, a, b, out, memory);
  } else {
    const Direct d(s);
    if (operation == kForward) d.Forward(pool, a, b, out, memory);
    if (operation == kInputGrad) d.InputGrad(pool, a, b, out, memory);
    if (operation == kWeightGrad) d.WeightGrad(pool, a, b, out, memory);
  }
  return ffi::Error::Success();
}

ffi::Error Forward(ffi::ThreadPool pool, int64_t stride, int64_t padding,
                   bool reflect, bool winograd, Array x, Array kernel,
                   Result y, Scratch scratch) {
  return Run(kForward, pool, x.dimensions(), kernel.dimensions(),
             y->dimensions(), x.typed_data(), kernel.typed_data(),
             y->typed_data(), scratch, stride, padding, reflect, winograd);
}

ffi::Error InputGrad(ffi::ThreadPool pool, int64_t stride, int64_t padding,
                     bool reflect, bool winograd, Array g, Array kernel,
                     Result dx, Scratch scratch) {
  return Run(kInputGrad, pool, dx->dimensions(), kernel.dimensions(),
             g.dimensions(), g.typed_data(), kernel.typed_data(),
             dx->typed_data(), scratch, stride, padding, reflect, winograd);
}

ffi::Error WeightGrad(ffi::ThreadPool pool, int64_t stride, int64_t padding,
                      bool reflect, bool winograd, Array x, Array g,
                      Result dw, Scratch scratch) {
  return Run(kWeightGrad, pool, x.dimensions(), dw->dimensions(),
             g.dimensions(), x.typed_data(), g.typed_data(), dw->typed_data(),
             scratch, stride, padding, reflect, winograd);
}

}  // namespace chibijax

#define CHIBIJAX_HANDLER(name, function)                          \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                  \
      name, function,                                             \
      xla::ffi::Ffi::Bind()                                       \
          .Ctx<xla::ffi::ThreadPool>()                            \
          .Attr<int64_t>("stride")                                \
          .Attr<int64_t>("padding")                               \
          .Attr<bool>("reflect")                                  \
          .Attr<bool>("winograd")                                 \
          .Arg<chibijax::Array>()                                 \
          .Arg<chibijax::Array>()                                 \
          .Ret<chibijax::Array>()                                 \
          .Ret<chibijax::Memory>())

CHIBIJAX_HANDLER(chibijax_convolution_forward, chibijax::Forward);
CHIBIJAX_HANDLER(chibijax_convolution_input_grad, chibijax::InputGrad);
CHIBIJAX_HANDLER(chibijax_convolution_weight_grad, chibijax::WeightGrad);

// Floats of scratch memory; shape is b, h, w, i, kh, kw, o, h2, w2, stride,
// padding, reflect.
extern "C" int64_t chibijax_convolution_scratch(const int64_t* shape,
                                                int64_t operation,
                                                int64_t winograd) {
  const chibijax::Shape s{shape[0], shape[1], shape[2],  shape[3],
                          shape[4], shape[5], shape[6],  shape[7],
                          shape[8], shape[9], shape[10], shape[11] != 0};
  return chibijax::ScratchFloats(s, operation, winograd != 0);
}
