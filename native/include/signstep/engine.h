/*
 * Running kernel programs on a device: the second half of signstep's C interface. A plan file (`signstep compile model.onnx -o model.plan`)
 * holds a classifier with its gradient; a plugin runs it: "cuda" on NVIDIA GPUs, "sim" on the CPU, in a simulator of the same kernels
 * (slow: for tests and for trying out).
 *
 *   const signstep_engine *engine = api->engine("cuda");     // NULL: api->last_error() says why
 *   signstep_program *program; signstep_attack *attack;
 *   engine->program_load(&(signstep_load){.device = 0, .batch = 64, .plan = bytes, .plan_bytes = size}, &program);
 *   engine->attack_begin(program, &(signstep_images){.count = 64, .images = x, .labels = y, .sample_indices = i, .seed = 1}, &attack);
 *   engine->attack_start(attack, &(signstep_start_rule){.kind = SIGNSTEP_START_UNIFORM, .eps = eps, .scale = 1});
 *   engine->attack_steps(attack, &(signstep_step_rule){.rule = SIGNSTEP_RULE_LINF, .alpha = alpha, .eps = eps, .direction = 1}, 10, NULL);
 *   engine->attack_images(attack, NULL, 64, x);
 *
 * Conventions are those of signstep.h: images [count,C,H,W] float32 in [0,1] in host memory, per-sample arrays [count]. Every call blocks
 * until its results are there. One program may be used by one thread at a time, but for attack_begin, which sends the next batch while an
 * attack runs; different programs by different threads. Errors: anything but SIGNSTEP_OK; engine->last_error() then tells the calling thread
 * what was wrong, and nothing has been changed or leaked.
 */
#ifndef SIGNSTEP_ENGINE_H
#define SIGNSTEP_ENGINE_H

#include "signstep.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define SIGNSTEP_ENGINE_ABI_VERSION 2u

typedef struct signstep_program signstep_program;
typedef struct signstep_attack signstep_attack;

typedef enum signstep_precision {
  SIGNSTEP_BF16 = 0,
  SIGNSTEP_FP16 = 1,
  SIGNSTEP_FLOAT32 = 2, /* products of float32 accuracy, for reference */
  SIGNSTEP_FP8 = 3      /* bf16, with the products of weights in e4m3; compute capability 8.9, 9.0 and 12.x, and the simulator */
} signstep_precision;

typedef enum signstep_loss {
  SIGNSTEP_CROSS_ENTROPY = 0,
  SIGNSTEP_MARGIN = 1,
  SIGNSTEP_DLR = 2,
  SIGNSTEP_KL = 3 /* divergence from the softmax of reference logits; flat at the images those are of, so start at random */
} signstep_loss;

typedef struct signstep_device_info {
  char name[128];
  uint32_t compute_capability; /* 90 for 9.0 */
  uint32_t multiprocessors;
  uint64_t memory, free_memory; /* bytes */
  uint32_t precisions;          /* bit p: it has signstep_precision p */
} signstep_device_info;

typedef struct signstep_load {
  int32_t device;
  uint32_t batch;      /* the largest count of one attack; 0: what free memory allows, at most 256 */
  uint32_t precision;  /* signstep_precision of the attack's passes; scores are always taken in float32 accuracy */
  const void *plan;    /* copied */
  size_t plan_bytes;
} signstep_load;

typedef struct signstep_program_info {
  uint32_t channels, height, width, classes, batch, precision, targeted, loss; /* signstep_loss */
  uint64_t device_bytes; /* weights and activations */
} signstep_program_info;

typedef struct signstep_images {
  uint32_t count;
  const float *images;            /* [count,C,H,W] */
  const int32_t *labels;          /* [count] */
  const int32_t *targets;         /* [count] for a targeted loss, else NULL */
  const int32_t *sample_indices;  /* [count], >= 0: they key the random numbers */
  uint64_t seed;
  const float *reference_logits;  /* [count, classes] for the KL loss (of the clean images, by `forward`, for TRADES), else NULL */
} signstep_images;

typedef enum signstep_start_kind {
  SIGNSTEP_START_CLEAN = 0,
  SIGNSTEP_START_UNIFORM = 1,
  SIGNSTEP_START_L2_BALL = 2,
  SIGNSTEP_START_L2_SPHERE = 3
} signstep_start_kind;

typedef struct signstep_start_rule {
  uint32_t kind;    /* signstep_start_kind */
  uint32_t restart; /* < 2^24 */
  float scale;      /* of a uniform start: radius scale * eps */
  const float *eps; /* [count] */
} signstep_start_rule;

typedef struct signstep_step_rule {
  uint32_t rule;      /* signstep_rule */
  int32_t direction;  /* 1 ascends the loss, -1 descends */
  float decay;        /* of the momentum */
  uint32_t retire;    /* 1: samples fooled at an iterate stay there and are finished: no later step sees them */
  uint32_t remember;  /* 1: keep the iterate of the best loss since the start */
  const float *alpha; /* [count] */
  const float *eps;   /* [count], or NULL: no projection (linf) */
} signstep_step_rule;

/*
 * About the iterate of each step before the rule moved it: arrays [steps, count], any may be NULL. Where samples retire, a step's row begins
 * with those that were still under attack, in their order, and the rest of it is left as it was.
 */
typedef struct signstep_step_results {
  float *loss;
  int32_t *predictions;
  int32_t *nan_gradients;
  uint8_t *zero_gradients;
  uint32_t *left; /* [steps]: samples under attack after each step; the last is the attack's count from then on */
} signstep_step_results;

/* A flag of the caller's, polled between the launches of a call (signstep_step.cancel has the same type). */
typedef struct signstep_engine {
  uint32_t struct_size, abi_version;
  const char *name;    /* "cuda", "sim" */
  const char *version; /* signstep's and the toolkit's */
  const char *(*last_error)(void);
  int32_t (*device_count)(void); /* 0: last_error() says why */
  signstep_status (*device_info)(int32_t device, signstep_device_info *info);

  signstep_status (*program_load)(const signstep_load *load, signstep_program **program);
  signstep_status (*program_info)(const signstep_program *program, signstep_program_info *info);
  void (*program_free)(signstep_program *program); /* its attacks must be freed first */

  /* logits [count, classes], float32 accuracy */
  signstep_status (*forward)(signstep_program *program, uint32_t count, const float *images, float *logits);

  /* Copies the batch and returns while it is on its way to the device. May be called beside another call on the program. */
  signstep_status (*attack_begin)(signstep_program *program, const signstep_images *images, signstep_attack **attack);
  signstep_status (*attack_start)(signstep_attack *attack, const signstep_start_rule *rule);
  /* `steps` gradients and moves, one graph launch where the device has graphs; results may be NULL; cancel: NULL or a flag to poll */
  signstep_status (*attack_steps)(signstep_attack *attack, const signstep_step_rule *rule, uint32_t steps, signstep_step_results *results,
                                  const volatile int32_t *cancel);
  /* loss, predictions and logits of the current iterate, float32 accuracy; any may be NULL */
  signstep_status (*attack_score)(signstep_attack *attack, float *loss, int32_t *predictions, float *logits);
  /* rows NULL: all `count` images in order; else these */
  signstep_status (*attack_images)(signstep_attack *attack, const int32_t *rows, uint32_t count, float *images);
  signstep_status (*attack_best)(signstep_attack *attack, float *images, float *loss);
  signstep_status (*attack_gradient)(signstep_attack *attack, float *gradient);
  /* where samples were finished; positions are those of the batch as it was begun */
  signstep_status (*attack_finished)(signstep_attack *attack, const int32_t *positions, uint32_t count, float *images);
  void (*attack_free)(signstep_attack *attack);

  /* Device memory held now by everything loaded through this plugin: 0 once all is freed. */
  uint64_t (*allocated_bytes)(void);
} signstep_engine;

#if defined(__cplusplus)
}
#endif

#endif /* SIGNSTEP_ENGINE_H */
