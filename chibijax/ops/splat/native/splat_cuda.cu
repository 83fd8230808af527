// XLA FFI handlers of the rasterizer on NVIDIA GPUs. All arrays are float32
// unless said; shapes give B scenes, C cameras, N Gaussians, D channels, H x W.
//
// project(means [B, N, 3], quats, scales, opacities, viewmats [B, C, 4, 4],
//     Ks [B, C, 3, 3])
//   -> means2d [B, C, N, 2], conics, opacities, depths, radii int32
// composite(means2d, conics, opacities, colors [B, C or 1, N, D], depths,
//     radii, background [B, C, D])
//   -> image [B, C, H, W, D], transmittance [B, C, H, W], depth (or [B, C, 0,
//     0]), and for the gradient, int32, every image on its own:
//     last [B, C, H, W]: how much of its tile's list a pixel used
//     order [B, C, N]: Gaussians by depth, culled ones last
//     bins [B, C, tiles + 1 + room]: where each tile's list starts and the last
//       one ends (-1 first: they did not fit, `order` serves all tiles), then
//       the lists themselves. With fewer numbers there is no room at all.
// and their gradients. Nothing waits for the device, so all sizes are static.
// `composite` takes scratch memory, which a command buffer could not keep.

#include "cuda_composite_grad.cuh"
#include "cuda_project.cuh"

// All below is for the host; the compiler's passes for GPUs need not read it.
#ifndef __CUDA_ARCH__

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>

#include "signatures.h"
#include "xla/ffi/api/ffi.h"

namespace chibijax {
namespace splat {
namespace {

namespace ffi = xla::ffi;

template <int kRank>
using Array = ffi::Buffer<ffi::F32, kRank>;
template <int kRank>
using Result = ffi::Result<Array<kRank>>;
template <int kRank>
using Integers = ffi::Buffer<ffi::S32, kRank>;
template <int kRank>
using IntegerResult = ffi::Result<Integers<kRank>>;

#ifdef CHIBIJAX_CUDA_EMULATION
using StreamContext = emulation::StreamContext;
using Scratch = emulation::Scratch;
using emulation::Data;
#else
using StreamContext = ffi::PlatformStream<cudaStream_t>;
using Scratch = ffi::ScratchAllocator;
template <class Buffer>
auto* Data(const Buffer& argument) {
  return argument.typed_data();
}
template <class Buffer>
auto* Data(ffi::Result<Buffer>& result) {
  return result->typed_data();
}
#endif

class ScratchMemory : public Allocator {
 public:
  explicit ScratchMemory(Scratch& scratch) : scratch_(scratch) {}
  void* Allocate(size_t bytes) override {
    return scratch_.Allocate(bytes).value_or(nullptr);
  }

 private:
  Scratch& scratch_;
};

constexpr int64_t kMostNumbers = std::numeric_limits<int32_t>::max();

ffi::Error Check(cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("chibijax splat: ") +
                              cudaGetErrorString(error));
}

ffi::Error TooLarge() {
  return ffi::Error::InvalidArgument(
      "chibijax splat: all images together have more Gaussians, tiles or room "
      "for tile lists than 32 bits count; use smaller batches");
}

bool IsTooLarge(const Sizes& s) {
  return s.total() > kMostNumbers ||
         s.images() * (s.tiles() + 1) > kMostNumbers ||
         s.images() * s.room > kMostNumbers ||
         s.images() * BlocksPerImage(s) > kMostNumbers;
}

ffi::Error Disagree() {
  return ffi::Error::InvalidArgument(
      "chibijax splat: the shapes of the arrays disagree");
}

template <class Buffer>
bool Is(const Buffer& array, std::initializer_list<int64_t> shape) {
  const auto dimensions = array.dimensions();
  return std::equal(dimensions.begin(), dimensions.end(), shape.begin(),
                    shape.end());
}

// Of the arrays that both directions of `project` have.
bool Agree(const Sizes& s, const Array<3>& means, const Array<3>& quats,
           const Array<3>& scales, const Array<2>& opacities,
           const Array<4>& viewmats, const Array<4>& intrinsics,
           const Array<4>& means2d, const Array<4>& conics,
           const Array<3>& opacities2d, const Array<3>& depths,
           const Integers<4>& radii) {
  const int64_t b = s.scenes, c = s.cameras, n = s.gaussians;
  return Is(means, {b, n, 3}) && Is(quats, {b, n, 4}) &&
         Is(scales, {b, n, 3}) && Is(opacities, {b, n}) &&
         Is(viewmats, {b, c, 4, 4}) && Is(intrinsics, {b, c, 3, 3}) &&
         Is(means2d, {b, c, n, 2}) && Is(conics, {b, c, n, 3}) &&
         Is(opacities2d, {b, c, n}) && Is(depths, {b, c, n}) &&
         Is(radii, {b, c, n, 2});
}

// Of the arrays that both directions of `composite` have, each in one of them
// as an argument, in the other as a result or a cotangent.
bool Agree(const Sizes& s, const Array<4>& means2d, const Array<4>& conics,
           const Array<3>& opacities, const Array<4>& colors,
           const Array<3>& depths, const Integers<4>& radii,
           const Array<3>& background, const Array<5>& image,
           const Array<4>& transmittance, const Array<4>& depth,
           const Integers<4>& last, const Integers<3>& order,
           const Integers<3>& bins, bool with_depth) {
  const int64_t b = s.scenes, c = s.cameras, n = s.gaussians, d = s.channels;
  const int64_t h = s.height, w = s.width;
  return Is(means2d, {b, c, n, 2}) && Is(conics, {b, c, n, 3}) &&
         Is(opacities, {b, c, n}) &&
         (Is(colors, {b, 1, n, d}) || Is(colors, {b, c, n, d})) &&
         Is(depths, {b, c, n}) && Is(radii, {b, c, n, 2}) &&
         Is(background, {b, c, d}) && Is(image, {b, c, h, w, d}) &&
         Is(transmittance, {b, c, h, w}) &&
         (!with_depth || Is(depth, {b, c, h, w})) && Is(last, {b, c, h, w}) &&
         Is(order, {b, c, n}) && Is(bins, {b, c, s.row}) &&
         (s.tile == 8 || s.tile == 16 || s.tile == 32);
}

Sizes ProjectSizes(const Array<3>& means, const Array<4>& viewmats) {
  Sizes s = {};
  s.scenes = viewmats.dimensions()[0];
  s.cameras = viewmats.dimensions()[1];
  s.gaussians = means.dimensions()[1];
  s.tile = 16;
  return s;
}

Sizes CompositeSizes(const Array<4>& means2d, const Array<4>& colors,
                     ffi::Span<const int64_t> pixels, int64_t tile,
                     int64_t row) {
  Sizes s = {};
  s.scenes = means2d.dimensions()[0];
  s.cameras = means2d.dimensions()[1];
  s.gaussians = means2d.dimensions()[2];
  s.channels = colors.dimensions()[3];
  s.colour_sets = colors.dimensions()[0] * colors.dimensions()[1];
  s.height = static_cast<int>(pixels[2]);
  s.width = static_cast<int>(pixels[3]);
  s.tile = static_cast<int>(tile);
  const int64_t side = std::max<int64_t>(tile, 1);
  s.tiles_x = static_cast<int>(DivideUp(s.width, side));
  s.tiles_y = static_cast<int>(DivideUp(s.height, side));
  s.row = row;
  s.room = row > s.tiles() + 1 ? row - s.tiles() - 1 : 0;
  return s;
}

ProjectOptions MakeOptions(int64_t width, int64_t height, int64_t camera_model,
                           float eps2d, float near_plane, float far_plane,
                           float radius_clip, bool antialiased,
                           bool normalize_quats) {
  return {static_cast<int>(camera_model), antialiased, normalize_quats,
          static_cast<float>(width),      static_cast<float>(height),
          eps2d,                          near_plane,
          far_plane,                      radius_clip};
}

ffi::Error ProjectHandler(cudaStream_t stream, Array<3> means, Array<3> quats,
                          Array<3> scales, Array<2> opacities,
                          Array<4> viewmats, Array<4> intrinsics,
                          Result<4> means2d, Result<4> conics,
                          Result<3> opacities2d, Result<3> depths,
                          IntegerResult<4> radii, int64_t width, int64_t height,
                          int64_t camera_model, float eps2d, float near_plane,
                          float far_plane, float radius_clip, bool antialiased,
                          bool normalize_quats) {
  const Sizes s = ProjectSizes(means, viewmats);
  if (!Agree(s, means, quats, scales, opacities, viewmats, intrinsics, *means2d,
             *conics, *opacities2d, *depths, *radii)) {
    return Disagree();
  }
  if (s.total() > kMostNumbers) return TooLarge();
  const ProjectArrays in = {Data(means),     Data(quats),    Data(scales),
                            Data(opacities), Data(viewmats), Data(intrinsics)};
  const ProjectResults out = {Data(means2d), Data(conics), Data(opacities2d),
                              Data(depths), Data(radii)};
  ProjectOnGpu(s,
               MakeOptions(width, height, camera_model, eps2d, near_plane,
                           far_plane, radius_clip, antialiased,
                           normalize_quats),
               in, out, stream);
  return Check(cudaGetLastError());
}

ffi::Error ProjectGradHandler(
    cudaStream_t stream, Array<3> means, Array<3> quats, Array<3> scales,
    Array<2> opacities, Array<4> viewmats, Array<4> intrinsics,
    Integers<4> radii, Array<4> v_means2d, Array<4> v_conics,
    Array<3> v_opacities2d, Array<3> v_depths, Result<3> v_means,
    Result<3> v_quats, Result<3> v_scales, Result<2> v_opacities,
    Result<4> v_viewmats, Result<4> v_intrinsics, int64_t width, int64_t height,
    int64_t camera_model, float eps2d, float near_plane, float far_plane,
    float radius_clip, bool antialiased, bool normalize_quats) {
  const Sizes s = ProjectSizes(means, viewmats);
  const auto agree = [&](const auto&... arrays) {
    return Agree(s, arrays..., v_means2d, v_conics, v_opacities2d, v_depths,
                 radii);
  };
  if (!agree(means, quats, scales, opacities, viewmats, intrinsics) ||
      !agree(*v_means, *v_quats, *v_scales, *v_opacities, *v_viewmats,
             *v_intrinsics)) {
    return Disagree();
  }
  if (s.total() > kMostNumbers) return TooLarge();
  const ProjectArrays in = {Data(means),     Data(quats),    Data(scales),
                            Data(opacities), Data(viewmats), Data(intrinsics)};
  const ProjectCotangents v = {Data(radii), Data(v_means2d), Data(v_conics),
                               Data(v_opacities2d), Data(v_depths)};
  const ProjectGradients out = {Data(v_means),     Data(v_quats),
                                Data(v_scales),    Data(v_opacities),
                                Data(v_viewmats),  Data(v_intrinsics)};
  ProjectGradOnGpu(s,
                   MakeOptions(width, height, camera_model, eps2d, near_plane,
                               far_plane, radius_clip, antialiased,
                               normalize_quats),
                   in, v, out, stream);
  return Check(cudaGetLastError());
}

ffi::Error CompositeHandler(cudaStream_t stream, Scratch scratch,
                            Array<4> means2d, Array<4> conics,
                            Array<3> opacities, Array<4> colors,
                            Array<3> depths, Integers<4> radii,
                            Array<3> background, Result<5> image,
                            Result<4> transmittance, Result<4> depth,
                            IntegerResult<4> last, IntegerResult<3> order,
                            IntegerResult<3> bins, float max_alpha,
                            int64_t tile_size, bool with_depth) {
  const Sizes s =
      CompositeSizes(means2d, colors, transmittance->dimensions(), tile_size,
                     bins->dimensions()[2]);
  if (!Agree(s, means2d, conics, opacities, colors, depths, radii, background,
             *image, *transmittance, *depth, *last, *order, *bins,
             with_depth)) {
    return Disagree();
  }
  if (IsTooLarge(s)) return TooLarge();
  const Splats splats = {Data(means2d), Data(conics), Data(opacities),
                         Data(depths), Data(radii)};
  const Bins lists = {Data(order), Data(bins)};
  if (!s.binned() && bins->element_count() > 0)
    cudaMemsetAsync(lists.rows, 0, bins->size_bytes(), stream);
  ScratchMemory memory(scratch);
  if (!Bin(s, splats, lists, memory, stream)) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "chibijax splat: no memory for sorting the Gaussians");
  }
  const CompositeInputs in = {splats,      Data(colors), Data(background),
                              lists.order, lists.rows,   max_alpha,
                              with_depth};
  const CompositeResults out = {Data(image), Data(transmittance), Data(depth),
                                Data(last)};
  CompositeOnGpu(s, in, out, stream);
  return Check(cudaGetLastError());
}

ffi::Error CompositeGradHandler(
    cudaStream_t stream, Array<4> means2d, Array<4> conics, Array<3> opacities,
    Array<4> colors, Array<3> depths, Integers<4> radii, Array<3> background,
    Array<4> transmittance, Integers<4> last, Integers<3> order,
    Integers<3> bins, Array<5> v_image, Array<4> v_transmittance,
    Array<4> v_depth, Result<4> v_means2d, Result<4> v_conics,
    Result<3> v_opacities, Result<4> v_colors, Result<3> v_depths,
    Result<4> v_abs, float max_alpha, int64_t tile_size, bool with_depth,
    bool absgrad) {
  const Sizes s = CompositeSizes(means2d, colors, transmittance.dimensions(),
                                 tile_size, bins.dimensions()[2]);
  const int64_t with_abs = absgrad ? s.gaussians : 0;
  const auto& shape = colors.dimensions();
  if (!Agree(s, means2d, conics, opacities, colors, depths, radii, background,
             v_image, transmittance, v_depth, last, order, bins, with_depth) ||
      !Agree(s, *v_means2d, *v_conics, *v_opacities, *v_colors, *v_depths,
             radii, background, v_image, v_transmittance, v_depth, last, order,
             bins, with_depth) ||
      !Is(*v_colors, {shape[0], shape[1], shape[2], shape[3]}) ||
      !Is(*v_abs, {s.scenes, s.cameras, with_abs, 2})) {
    return Disagree();
  }
  if (IsTooLarge(s)) return TooLarge();
  const Splats splats = {Data(means2d), Data(conics), Data(opacities),
                         Data(depths), Data(radii)};
  const CompositeInputs in = {splats,      Data(colors), Data(background),
                              Data(order), Data(bins),   max_alpha,
                              with_depth};
  const CompositeCotangents v = {Data(transmittance), Data(last), Data(v_image),
                                 Data(v_transmittance), Data(v_depth)};
  const CompositeGradients out = {Data(v_means2d), Data(v_conics),
                                  Data(v_opacities), Data(v_colors),
                                  Data(v_depths), Data(v_abs)};
  CompositeGradOnGpu(s, in, v, absgrad, out, stream);
  return Check(cudaGetLastError());
}

using Gpu = Signatures<Array, Integers>;

auto Stream() { return ffi::Ffi::Bind().Ctx<StreamContext>(); }

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_project, ProjectHandler,
                              Gpu::Project(Stream()),
                              {ffi::Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_project_grad, ProjectGradHandler,
                              Gpu::ProjectGrad(Stream()),
                              {ffi::Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_composite, CompositeHandler,
                              Gpu::Composite(Stream().Ctx<Scratch>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_composite_grad,
                              CompositeGradHandler,
                              Gpu::CompositeGrad(Stream()),
                              {ffi::Traits::kCmdBufferCompatible});

}  // namespace splat
}  // namespace chibijax

#endif  // __CUDA_ARCH__
