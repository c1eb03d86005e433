/*
 * signstep's C interface: the only door into its native code. Node's addon, the benchmarks and other people's packages all come in
 * through it. Plain C99: no C++ type, no exception and no allocation of yours or ours crosses it.
 *
 *   const signstep_api *api = signstep_get_api(SIGNSTEP_ABI_VERSION);
 *   signstep_step step = {.count = 8, .elements = 3 * 224 * 224, .x = x, .x0 = x0, .gradient = g,
 *                         .alpha = alpha, .eps = eps, .direction = 1};
 *   if (api->step_linf(&step) != SIGNSTEP_OK) fprintf(stderr, "%s\n", api->last_error());
 *
 * Conventions
 *   Images        [count, elements] float32, row-major, any alignment, pixels in [0,1]; elements = C*H*W.
 *   Per sample    [count], beside the images: eps and alpha in pixel units, counts, norms.
 *   Overlap       x, x0, gradient, momentum and the outputs must not overlap each other.
 *   Threads       every function may be called from any thread at any time. Work is shared among signstep's own threads; the calling
 *                 thread takes part.
 *   Same bits     a result depends on its arguments only: not on the instruction set, the number of threads or the split into batches.
 *                 float32 arithmetic is IEEE round-to-nearest without fused multiply-add. Sums (norms, means) are float64: each run of
 *                 16,384 elements of a sample is summed in 16 lanes (element i to lane i mod 16, in order), the lanes are added
 *                 pairwise (l and l+8, +4, +2, +1), the runs in order.
 *                 min(a,b) is `a < b ? a : b` and max(a,b) is `a > b ? a : b`, with the bound as a: a NaN pixel stays NaN.
 *   Errors        anything but SIGNSTEP_OK; last_error() then tells the calling thread what was wrong. Arguments are checked before
 *                 anything is written.
 *
 * Random numbers
 *   Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
 *     key      {seed low 32 bits, seed high 32 bits}
 *     counter  {element / 4, sample index, step, restart << 8 | purpose}      step is 0 for random starts
 *     word     element mod 4 of the block's four
 *   purpose: see signstep_purpose. Uniform: u = (word >> 8) * 2^-24, in [0,1). Where a logarithm is taken: u' = ((word >> 8) + 1) *
 *   2^-24, in (0,1]. Gaussian (Box-Muller): words 2k and 2k+1 of a block give elements 2k and 2k+1:
 *   sqrt(-2 ln u'(2k)) * cos(2 pi v), v = u(2k+1) for the even element and u(2k+1) - 1/4 (so sin) for the odd one; the polynomials
 *   are in native/core/kernels/gaussian.h.
 */
#ifndef SIGNSTEP_SIGNSTEP_H
#define SIGNSTEP_SIGNSTEP_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#  if defined(SIGNSTEP_BUILDING)
#    define SIGNSTEP_EXPORT __declspec(dllexport)
#  else
#    define SIGNSTEP_EXPORT __declspec(dllimport)
#  endif
#else
#  define SIGNSTEP_EXPORT __attribute__((visibility("default")))
#endif

#if defined(__cplusplus)
extern "C" {
#endif

/* Raised when an entry of the table changes its meaning. Entries are otherwise only appended: compare struct_size to learn of them. */
#define SIGNSTEP_ABI_VERSION 1u

/*
 * The Node-API type tag of the External that the addon exports as `capi` and whose value is a `const signstep_api *`: check it with
 * napi_check_object_type_tag before the cast.
 */
#define SIGNSTEP_CAPI_TAG_LOWER 0x7369676e73746570ull
#define SIGNSTEP_CAPI_TAG_UPPER 0xa3d1c5e25b7f4e01ull

typedef enum signstep_status {
  SIGNSTEP_OK = 0,
  SIGNSTEP_INVALID = 1,     /* an argument; last_error() names it */
  SIGNSTEP_UNSUPPORTED = 2, /* this processor or build cannot */
  SIGNSTEP_CANCELLED = 3,   /* the cancel flag was set; what had been written stays */
  SIGNSTEP_INTERNAL = 4     /* out of memory, or no thread could be started */
} signstep_status;

/* The last byte of the Philox counter keeps draws for different ends apart. */
typedef enum signstep_purpose {
  SIGNSTEP_PURPOSE_UNIFORM_START = 0,
  SIGNSTEP_PURPOSE_GAUSSIAN_START = 1,
  SIGNSTEP_PURPOSE_BALL_RADIUS = 2 /* element 0 only */
} signstep_purpose;

typedef enum signstep_rule { SIGNSTEP_RULE_LINF = 0, SIGNSTEP_RULE_L2 = 1, SIGNSTEP_RULE_MOMENTUM = 2 } signstep_rule;

/* A random start. */
typedef struct signstep_start {
  size_t count;    /* samples */
  size_t elements; /* of each, at most 2^34 */
  float *out;      /* [count, elements], written */
  const float *x0; /* [count, elements], the clean images */
  const float *eps;               /* [count], finite, >= 0 */
  const int32_t *sample_indices;  /* [count], >= 0: positions in the data set, they key the random numbers */
  uint64_t seed;
  uint32_t restart;               /* < 2^24 */
  float scale;                    /* start_uniform: width in units of eps, finite, >= 0 */
  int32_t sphere;                 /* start_l2: 0 = uniform in the ball, 1 = on its sphere */
  const int32_t *cancel;          /* NULL, or a flag: once it is not 0 (store it atomically) the call returns SIGNSTEP_CANCELLED */
} signstep_start;

/* One step of an attack. */
typedef struct signstep_step {
  size_t count;
  size_t elements;
  float *x;              /* [count, elements], the iterate, moved in place */
  const float *x0;       /* [count, elements], the clean images */
  const float *gradient; /* [count, elements], of the loss at x */
  float *momentum;       /* [count, elements], moved in place; step_momentum only, else NULL */
  const float *alpha;    /* [count], finite, >= 0 */
  const float *eps;      /* [count]; negative: no projection; not NaN */
  float decay;           /* step_momentum only, finite */
  int32_t direction;     /* +1 ascends the loss, -1 descends it (targeted attacks) */
  int32_t *nan_counts;   /* NULL or [count]: elements of the gradient that had no usable value; they moved nothing */
  uint8_t *zero_flags;   /* NULL or [count]: 1 where every element of the gradient was 0 */
  const int32_t *cancel; /* as in signstep_start */
} signstep_step;

/* Work on the device's job thread. */
typedef struct signstep_job signstep_job;
/* Called once, on the job thread, when the job has ended and touches its arrays no more. `error` is valid during the call. */
typedef void (*signstep_job_done)(void *user, signstep_status status, const char *error);

/* Runs whole programs on a device: signstep/engine.h. */
struct signstep_engine;

typedef struct signstep_api {
  size_t struct_size;
  uint32_t abi_version;

  /* The package's version, e.g. "0.1.0". */
  const char *(*version)(void);
  /* Why the last call of this thread failed. Valid until this thread's next call. */
  const char *(*last_error)(void);

  /* "avx512", "avx2", "neon" or "scalar": what runs. Setting one the processor lacks is SIGNSTEP_UNSUPPORTED. For tests. */
  const char *(*instruction_set)(void);
  signstep_status (*set_instruction_set)(const char *name);
  /* Threads that share one call's work, the caller included; process-wide. At first: the processors this process may use. */
  uint32_t (*threads)(void);
  signstep_status (*set_threads)(uint32_t count);

  /* One raw Philox4x32-10 block. */
  void (*philox4x32_10)(const uint32_t counter[4], const uint32_t key[2], uint32_t block[4]);

  /*
   * out = clamp(x0 + (2u - 1) * (scale * eps), 0, 1), the product computed as ((word >> 8) - 2^23) * (scale * eps * 2^-23): other bits
   * only where scale * eps is below 2^-103.
   */
  signstep_status (*start_uniform)(const signstep_start *start);
  /*
   * out = clamp(x0 + z * r / |z|, 0, 1), z Gaussian; r = eps on the sphere, eps * u'^(1/elements) in the ball. Two passes: |z| must
   * be known before the first pixel is moved.
   */
  signstep_status (*start_l2)(const signstep_start *start);

  /*
   * x = clamp(project(x + direction * alpha * sign(gradient))), sign(0) = 0, NaN moves nothing and is counted. The projection clamps
   * to [x0 - eps, x0 + eps], rounded to float32, so |x - x0| exceeds eps by 2^-25 = 2.98e-8 at most. One pass over memory.
   */
  signstep_status (*step_linf)(const signstep_step *step);
  /*
   * x = clamp(project(x + direction * alpha * gradient / max(|gradient|, 1e-12))), projected radially onto the L2 ball around x0. NaN
   * and infinite elements count as 0 and are counted. Three passes, a sample at a time so that the second and third come from cache:
   * the norm of the gradient, the move with the distance it leads to, the projection.
   */
  signstep_status (*step_l2)(const signstep_step *step);
  /*
   * momentum = decay * momentum + gradient / mean|gradient|, then the step of step_linf along the momentum's sign (Dong et al.,
   * Boosting adversarial attacks with momentum, CVPR 2018). NaN and infinite elements count as 0 in the mean, are counted, leave
   * momentum = decay * momentum and do not move x. A zero gradient leaves decay * momentum, along which x moves. A mean below the
   * smallest normal float32 counts as that. Two passes, a sample at a time: the mean must be known first.
   */
  signstep_status (*step_momentum)(const signstep_step *step);

  /*
   * Per sample, of a - b [count, elements]: the largest magnitude and the Euclidean norm. Either output may be NULL. A NaN among the
   * differences makes both NaN.
   */
  signstep_status (*distances)(size_t count, size_t elements, const float *a, const float *b, float *linf, float *l2);

  /*
   * The step of `rule`, a signstep_rule, on the device's one job thread, in the order of submission. `step`, alpha and eps are copied;
   * the images and outputs must live until `done` was called; `step->cancel` is not used. On SIGNSTEP_OK *job must be released.
   */
  signstep_status (*job_submit)(int32_t rule, const signstep_step *step, signstep_job_done done, void *user, signstep_job **job);
  /* Asks the job to end soon: polled between runs of 16,384 elements. */
  void (*job_cancel)(signstep_job *job);
  /* Blocks until `done` has returned. Not to be called from `done`. */
  void (*job_wait)(signstep_job *job);
  void (*job_release)(signstep_job *job);

  /*
   * The engine of the plugin `name` ("cuda", "sim"; signstep/engine.h), valid for the life of the process. The plugin is the file
   * libsignstep_<name>-<version>.so beside this library and is opened when it is first asked for. NULL: last_error() says why.
   */
  const struct signstep_engine *(*engine)(const char *name);
} signstep_api;

/* The table, valid for the life of the process; NULL if this library does not speak that version. */
SIGNSTEP_EXPORT const signstep_api *signstep_get_api(uint32_t abi_version);

#if defined(__cplusplus)
}
#endif

#endif /* SIGNSTEP_SIGNSTEP_H */
