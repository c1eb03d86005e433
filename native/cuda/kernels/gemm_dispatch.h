// How gemm() decides: a pure function from the shape of a product to the kernel that computes it, so that tests can ask it.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace signstep::kernels {

// The matrix core: mma.sync + cp.async (every chip), or wgmma + TMA (sm_90 only; on the simulator only where asked for: it is slower there).
enum class GemmCore : std::uint32_t { automatic = 0, mma = 1, wgmma = 2 };

struct GemmShape {
  Precision precision = Precision::bf16;
  std::int64_t rows = 0;
  std::int32_t n = 0, k = 0;
  bool aligned = false;        // a and b begin on 16 bytes and k elements are a multiple of 16 bytes
  bool identity_rows = false;  // a has no row map
  bool whole_runs = false;     // n is a multiple of 8 and all the epilogue's arrays begin on 16 bytes
  bool steps = false;          // ends in step_linf
  bool rich = false;           // a folded LayerNorm or a gated activation is in it: EpilogueArgs::is_rich
  bool quantised = false;      // operands in e4m3
};

struct GemmDevice {
  bool has_wgmma = false;  // compute capability 9.0
  std::int32_t multiprocessors = 1;
};

struct GemmConfig {
  GemmCore core = GemmCore::mma;
  std::int32_t tile_rows = 64, tile_columns = 64;
  bool aligned = false;
};

bool wgmma_serves(const GemmShape& shape);  // 16-bit types, aligned, no row map of a, whole runs

// `wanted` other than automatic is obeyed; throws rt::Failure where it cannot serve the shape.
GemmConfig choose_gemm(const GemmShape& shape, const GemmDevice& device, GemmCore wanted = GemmCore::automatic);

// gemm() with the core given, or the very kernel: for tests and for measuring. Throws rt::Failure where it cannot serve the shape.
void gemm(const Gemm& gemm, rt::Stream stream, GemmCore wanted);
void gemm(const Gemm& gemm, rt::Stream stream, const GemmConfig& config);

}  // namespace signstep::kernels
