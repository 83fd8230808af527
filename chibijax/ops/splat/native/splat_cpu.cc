// XLA FFI handlers of the rasterizer's two stages and their gradients on CPUs.
//
// B scenes of N Gaussians, C cameras each, D channels; float32, shapes below.
// project:   means [B,N,3], quats [B,N,4], scales [B,N,3], opacities [B,N],
//   viewmats [B,C,4,4], Ks [B,C,3,3] -> means2d [B,C,N,2], conics [B,C,N,3],
//   opacities [B,C,N], depths [B,C,N], radii int32 [B,C,N,2]
// composite: means2d, conics, opacities, colors [B,C or 1,N,D], depths, radii,
//   background [B,C,D] -> image [B,C,H,W,D], transmittance [B,C,H,W], depth
//   [B,C,H,W] or empty, and for the gradient: last int32 [B,C,H,W] (the first
//   rank not seen), order int32 [B,C,N] (indices by depth, then -1), bins
//   (not used here)
// The gradients take the inputs, what the forward pass kept and cotangents of
// the results, and return those of the inputs. Results are the same bit for
// bit with any number of threads.

#include <exception>
#include <functional>
#include <string>

#include "../../native/parallel.h"
#include "composite.h"
#include "composite_grad.h"
#include "projection.h"
#include "signatures.h"
#include "xla/ffi/api/ffi.h"

namespace chibijax {
namespace splat {
namespace ffi = xla::ffi;

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;
using FloatsOut = ffi::Result<Floats>;
using IntsOut = ffi::Result<Ints>;

class XlaWorkers : public Workers {
 public:
  explicit XlaWorkers(ffi::ThreadPool pool) : pool_(pool) {}
  int64_t Count() const override { return pool_.num_threads(); }

 protected:
  void Run(int64_t count, const LoopBody& body) override {
    ParallelFor(pool_, count, body);
  }

 private:
  ffi::ThreadPool pool_;
};

// Whether a buffer has exactly these dimensions.
template <class Buffer>
bool Has(const Buffer& buffer, std::initializer_list<int64_t> dims) {
  const auto have = buffer.dimensions();
  return std::equal(have.begin(), have.end(), dims.begin(), dims.end());
}

ffi::Error Disagree(const char* operation) {
  return ffi::Error::InvalidArgument(std::string("chibijax splat ") +
                                     operation +
                                     ": the shapes of the arrays disagree");
}

// Runs work() and turns its exceptions into an error.
template <class Work>
ffi::Error Guarded(const char* operation, const Work& work) {
  try {
    work();
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      std::string("chibijax splat ") + operation + ": " +
                          e.what());
  }
}

// Calls body(image) for all images: several at once where there are enough.
template <class Body>
void ForImages(Workers& workers, int64_t count, const Body& body) {
  if (count >= workers.Count()) {
    workers.For(count, body);
  } else {
    for (int64_t i = 0; i < count; ++i) body(i);
  }
}

ProjectOptions MakeOptions(int64_t width, int64_t height, int64_t camera_model,
                           float eps2d, float near, float far,
                           float radius_clip, bool antialiased,
                           bool normalize_quats) {
  ProjectOptions o;
  o.camera_model = static_cast<int>(camera_model);
  o.antialiased = antialiased;
  o.normalize_quats = normalize_quats;
  o.width = static_cast<float>(width), o.height = static_cast<float>(height);
  o.eps2d = eps2d, o.near_plane = near, o.far_plane = far;
  o.radius_clip = radius_clip;
  return o;
}

bool Agree(const Floats& means, const Floats& quats, const Floats& scales,
           const Floats& opacities, const Floats& viewmats, const Floats& ks,
           ProjectInputs* in) {
  if (means.dimensions().size() != 3 || viewmats.dimensions().size() != 4)
    return false;
  const int64_t b = means.dimensions()[0], n = means.dimensions()[1];
  const int64_t c = viewmats.dimensions()[1];
  *in = {b,
         c,
         n,
         means.typed_data(),
         quats.typed_data(),
         scales.typed_data(),
         opacities.typed_data(),
         viewmats.typed_data(),
         ks.typed_data()};
  return Has(means, {b, n, 3}) && Has(quats, {b, n, 4}) &&
         Has(scales, {b, n, 3}) && Has(opacities, {b, n}) &&
         Has(viewmats, {b, c, 4, 4}) && Has(ks, {b, c, 3, 3});
}

ffi::Error RunProject(ffi::ThreadPool pool, Floats means, Floats quats,
                      Floats scales, Floats opacities, Floats viewmats,
                      Floats ks, FloatsOut means2d, FloatsOut conics,
                      FloatsOut dimmed, FloatsOut depths, IntsOut radii,
                      int64_t width, int64_t height, int64_t camera_model,
                      float eps2d, float near, float far, float radius_clip,
                      bool antialiased, bool normalize_quats) {
  ProjectInputs in;
  if (!Agree(means, quats, scales, opacities, viewmats, ks, &in) ||
      !Has(*means2d, {in.b, in.c, in.n, 2}) ||
      !Has(*conics, {in.b, in.c, in.n, 3}) ||
      !Has(*dimmed, {in.b, in.c, in.n}) || !Has(*depths, {in.b, in.c, in.n}) ||
      !Has(*radii, {in.b, in.c, in.n, 2}))
    return Disagree("project");
  return Guarded("project", [&] {
    XlaWorkers workers(pool);
    ProjectAll(workers,
               MakeOptions(width, height, camera_model, eps2d, near, far,
                           radius_clip, antialiased, normalize_quats),
               in,
               {means2d->typed_data(), conics->typed_data(),
                dimmed->typed_data(), depths->typed_data(),
                radii->typed_data()});
  });
}

ffi::Error RunProjectGrad(
    ffi::ThreadPool pool, Floats means, Floats quats, Floats scales,
    Floats opacities, Floats viewmats, Floats ks, Ints radii,
    Floats v_means2d, Floats v_conics, Floats v_dimmed, Floats v_depths,
    FloatsOut v_means, FloatsOut v_quats, FloatsOut v_scales,
    FloatsOut v_opacities, FloatsOut v_viewmats, FloatsOut v_ks,
    int64_t width, int64_t height, int64_t camera_model, float eps2d,
    float near, float far, float radius_clip, bool antialiased,
    bool normalize_quats) {
  ProjectInputs in;
  if (!Agree(means, quats, scales, opacities, viewmats, ks, &in) ||
      !Has(radii, {in.b, in.c, in.n, 2}) ||
      !Has(v_means2d, {in.b, in.c, in.n, 2}) ||
      !Has(v_conics, {in.b, in.c, in.n, 3}) ||
      !Has(v_dimmed, {in.b, in.c, in.n}) ||
      !Has(v_depths, {in.b, in.c, in.n}) || !Has(*v_means, {in.b, in.n, 3}) ||
      !Has(*v_quats, {in.b, in.n, 4}) || !Has(*v_scales, {in.b, in.n, 3}) ||
      !Has(*v_opacities, {in.b, in.n}) ||
      !Has(*v_viewmats, {in.b, in.c, 4, 4}) || !Has(*v_ks, {in.b, in.c, 3, 3}))
    return Disagree("project_grad");
  return Guarded("project_grad", [&] {
    XlaWorkers workers(pool);
    ProjectAllGrad(workers,
                   MakeOptions(width, height, camera_model, eps2d, near, far,
                               radius_clip, antialiased, normalize_quats),
                   in,
                   {radii.typed_data(), v_means2d.typed_data(),
                    v_conics.typed_data(), v_dimmed.typed_data(),
                    v_depths.typed_data()},
                   {v_means->typed_data(), v_quats->typed_data(),
                    v_scales->typed_data(), v_opacities->typed_data(),
                    v_viewmats->typed_data(), v_ks->typed_data()});
  });
}

// All images of a call.
struct Pictures {
  int64_t b, c, color_cameras;
  Picture all;  // pointers to the first image

  int64_t count() const { return b * c; }
  int64_t pixels() const { return all.width * all.height; }
  // Row of the colours that image i uses.
  int64_t ColorRow(int64_t i) const {
    return color_cameras == c ? i : i / c;
  }
  Picture At(int64_t i) const {
    Picture p = all;
    p.means2d += 2 * i * p.n, p.conics += 3 * i * p.n;
    p.opacities += i * p.n, p.depths += i * p.n, p.radii += 2 * i * p.n;
    p.colors += ColorRow(i) * p.n * p.channels;
    p.background += i * p.channels;
    return p;
  }
};

bool Agree(const Floats& means2d, const Floats& conics,
           const Floats& opacities, const Floats& colors,
           const Floats& depths, const Ints& radii, const Floats& background,
           ffi::Span<const int64_t> image, float max_alpha, bool with_depth,
           int64_t tile_size, Pictures* out) {
  if (means2d.dimensions().size() != 4 || colors.dimensions().size() != 4 ||
      image.size() != 5)
    return false;
  const int64_t b = means2d.dimensions()[0], c = means2d.dimensions()[1];
  const int64_t n = means2d.dimensions()[2], cc = colors.dimensions()[1];
  const int64_t d = colors.dimensions()[3];
  *out = {b, c, cc,
          {n, d, image[3], image[2], means2d.typed_data(),
           conics.typed_data(), opacities.typed_data(), colors.typed_data(),
           depths.typed_data(), background.typed_data(), radii.typed_data(),
           max_alpha, with_depth}};
  return tile_size > 0 && (cc == c || cc == 1) && image[0] == b &&
         image[1] == c && image[4] == d && Has(means2d, {b, c, n, 2}) &&
         Has(conics, {b, c, n, 3}) && Has(opacities, {b, c, n}) &&
         Has(colors, {b, cc, n, d}) && Has(depths, {b, c, n}) &&
         Has(radii, {b, c, n, 2}) && Has(background, {b, c, d});
}

// [B, C, H, W], or nothing at all unless wanted.
template <class Buffer>
bool IsMap(const Buffer& buffer, const Pictures& p, bool wanted) {
  return wanted ? Has(buffer, {p.b, p.c, p.all.height, p.all.width})
                : buffer.element_count() == 0;
}

ffi::Error RunComposite(ffi::ThreadPool pool, Floats means2d, Floats conics,
                        Floats opacities, Floats colors, Floats depths,
                        Ints radii, Floats background, FloatsOut image,
                        FloatsOut transmittance, FloatsOut depth, IntsOut last,
                        IntsOut order, IntsOut bins, float max_alpha,
                        int64_t tile_size, bool with_depth) {
  Pictures p;
  if (!Agree(means2d, conics, opacities, colors, depths, radii, background,
             image->dimensions(), max_alpha, with_depth, tile_size, &p) ||
      !IsMap(*transmittance, p, true) || !IsMap(*depth, p, with_depth) ||
      !IsMap(*last, p, true) || !Has(*order, {p.b, p.c, p.all.n}))
    return Disagree("composite");
  (void)bins;
  return Guarded("composite", [&] {
    XlaWorkers workers(pool);
    PreferLargePages(image->typed_data(), image->size_bytes());
    ForImages(workers, p.count(), [&](int64_t i) {
      const int64_t at = i * p.pixels();
      const Canvas canvas{
          image->typed_data() + at * p.all.channels,
          transmittance->typed_data() + at,
          with_depth ? depth->typed_data() + at : nullptr,
          last->typed_data() + at};
      Composite(workers, p.At(i), tile_size, canvas,
                order->typed_data() + i * p.all.n);
    });
  });
}

ffi::Error RunCompositeGrad(
    ffi::ThreadPool pool, Floats means2d, Floats conics, Floats opacities,
    Floats colors, Floats depths, Ints radii, Floats background,
    Floats transmittance, Ints last, Ints order, Ints bins, Floats v_image,
    Floats v_transmittance, Floats v_depth, FloatsOut v_means2d,
    FloatsOut v_conics, FloatsOut v_opacities, FloatsOut v_colors,
    FloatsOut v_depths, FloatsOut v_abs, float max_alpha, int64_t tile_size,
    bool with_depth, bool absgrad) {
  Pictures p;
  if (!Agree(means2d, conics, opacities, colors, depths, radii, background,
             v_image.dimensions(), max_alpha, with_depth, tile_size, &p))
    return Disagree("composite_grad");
  const int64_t n = p.all.n, d = p.all.channels;
  if (!IsMap(transmittance, p, true) || !IsMap(last, p, true) ||
      !Has(order, {p.b, p.c, n}) || !IsMap(v_transmittance, p, true) ||
      !IsMap(v_depth, p, with_depth) || !Has(*v_means2d, {p.b, p.c, n, 2}) ||
      !Has(*v_conics, {p.b, p.c, n, 3}) || !Has(*v_opacities, {p.b, p.c, n}) ||
      !Has(*v_colors, {p.b, p.color_cameras, n, d}) ||
      !Has(*v_depths, {p.b, p.c, n}) ||
      !Has(*v_abs, {p.b, p.c, absgrad ? n : 0, 2}))
    return Disagree("composite_grad");
  (void)bins;
  XlaWorkers workers(pool);
  const auto one = [&](int64_t i) {
    const int64_t at = i * p.pixels();
    const CanvasCotangent canvas{
        transmittance.typed_data() + at, v_image.typed_data() + at * d,
        v_transmittance.typed_data() + at,
        with_depth ? v_depth.typed_data() + at : nullptr,
        last.typed_data() + at};
    const PictureCotangent out{
        v_means2d->typed_data() + 2 * i * n,
        v_conics->typed_data() + 3 * i * n,
        v_opacities->typed_data() + i * n,
        v_colors->typed_data() + p.ColorRow(i) * n * d,
        v_depths->typed_data() + i * n,
        absgrad ? v_abs->typed_data() + 2 * i * n : nullptr,
        p.color_cameras != p.c && i % p.c != 0};
    CompositeGrad(workers, p.At(i), tile_size, order.typed_data() + i * n,
                  canvas, out);
  };
  return Guarded("composite_grad", [&] {
    PreferLargePages(v_colors->typed_data(), v_colors->size_bytes());
    if (p.color_cameras == p.c) {
      ForImages(workers, p.count(), one);
      return;
    }
    // Cameras that share colours add to the same gradient, one by one.
    ForImages(workers, p.b, [&](int64_t scene) {
      for (int64_t c = 0; c < p.c; ++c) one(scene * p.c + c);
    });
    if (p.c == 0)
      std::fill_n(v_colors->typed_data(), v_colors->element_count(), 0.0f);
  });
}

// Of any rank: a wrong one is said by `Disagree`.
template <int>
using FloatsOf = Floats;
template <int>
using IntsOf = Ints;
using Cpu = Signatures<FloatsOf, IntsOf>;

auto Threads() { return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>(); }

XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_project, RunProject,
                              Cpu::Project(Threads()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_project_grad, RunProjectGrad,
                              Cpu::ProjectGrad(Threads()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_composite, RunComposite,
                              Cpu::Composite(Threads()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(chibijax_splat_composite_grad, RunCompositeGrad,
                              Cpu::CompositeGrad(Threads()));

}  // namespace splat
}  // namespace chibijax
