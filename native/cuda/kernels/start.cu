// start(): where an attack begins, by its rule.
#include "image_walk.cuh"
#include "start_rules.h"

namespace signstep::kernels {
namespace {

template <class T, bool kWide>
__global__ void __launch_bounds__(kWalkThreads) start_clean(const Images images, const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  WalkValues x;
  load_groups<kWide>(images.x0, walk, place, x);
  store_iterate<T, kWide>(images, walk, place, x);
}

}  // namespace

void start(const Images& images, const StartRule& rule, rt::Stream stream) {
  const ImageWalk walk = image_walk(images, "start");
  if (walk.images == 0) return;
  require(images.x != nullptr && images.x0 != nullptr, "start", "x and x0 are needed");
  if (rule.kind == StartRule::Kind::clean) {
    with_access(images, aligned_groups(images, images.x, images.x0, images.operand), [&]<class T, bool kWide>(Element<T>, Flag<kWide>) {
      launch("start_clean", start_clean<T, kWide>, walk.grid(), dim3(kWalkThreads), 0, stream, images, walk);
    });
    return;
  }
  require(rule.eps != nullptr && rule.seed != nullptr && rule.sample_indices != nullptr && rule.restart != nullptr, "start",
          "eps, seed, sample_indices and restart are needed");
  if (rule.kind == StartRule::Kind::uniform) return start_uniform(images, rule, walk, stream);
  require(rule.norms != nullptr, "start", "norms is needed");
  start_l2(images, rule, walk, stream);
}

}  // namespace signstep::kernels
