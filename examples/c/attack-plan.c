/*
 * An attack from C, without Node: loads a plan file, attacks a batch of noisy grey images with PGD-10 and prints each loss before and after.
 *
 *   signstep compile vit.onnx --preprocess imagenet -o vit.plan
 *   attack-plan vit.plan cuda        (or sim: the same kernels, simulated on the processor)
 *
 * The images stand for yours: [count,C,H,W] float32 in [0,1]. Labels are what the model says of the clean images.
 */
#include <signstep/engine.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 4, STEPS = 10 };

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (memory == NULL) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return memory;
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  long length = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) length = ftell(file);
  if (length < 0 || fseek(file, 0, SEEK_SET) != 0) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(1);
  }
  *size = (size_t)length;
  void *bytes = allocate(*size + 1, 1);
  if (fread(bytes, 1, *size, file) != *size) {
    fprintf(stderr, "%s: cannot be read to its end\n", path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

static int32_t highest(const float *logits, uint32_t classes) {
  uint32_t best = 0;
  for (uint32_t c = 1; c < classes; ++c)
    if (logits[c] > logits[best]) best = c;
  return (int32_t)best;
}

static const signstep_engine *engine;

/* Every call of an engine says how it went. */
static void check(signstep_status status, const char *what) {
  if (status == SIGNSTEP_OK) return;
  fprintf(stderr, "%s: %s\n", what, engine->last_error());
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: attack-plan <file.plan> <cuda|sim>\n");
    return 2;
  }
  const signstep_api *api = signstep_get_api(SIGNSTEP_ABI_VERSION);
  engine = api != NULL ? api->engine(argv[2]) : NULL;
  if (engine == NULL) {
    fprintf(stderr, "%s\n", api != NULL ? api->last_error() : "this library speaks another version of the interface");
    return 1;
  }
  if (engine->device_count() == 0) {
    fprintf(stderr, "%s: %s\n", argv[2], engine->last_error());
    return 1;
  }
  signstep_device_info device;
  check(engine->device_info(0, &device), "device");

  size_t plan_bytes;
  void *plan = read_file(argv[1], &plan_bytes);
  const signstep_load load = {.device = 0, .batch = COUNT, .precision = SIGNSTEP_BF16, .plan = plan, .plan_bytes = plan_bytes};
  signstep_program *program = NULL;
  check(engine->program_load(&load, &program), argv[1]);
  free(plan); /* the program has its own copy */
  signstep_program_info info;
  check(engine->program_info(program, &info), argv[1]);
  printf("%s on %s: %u x %u x %u, %u classes, %.1f MB\n", argv[1], device.name, info.channels, info.height, info.width, info.classes,
         (double)info.device_bytes / 1e6);

  const size_t pixels = (size_t)info.channels * info.height * info.width;
  float *x0 = allocate(COUNT * pixels, sizeof *x0), *x = allocate(COUNT * pixels, sizeof *x);
  float *logits = allocate((size_t)COUNT * info.classes, sizeof *logits);
  float eps[COUNT], alpha[COUNT], before[COUNT], after[COUNT], farthest[COUNT];
  int32_t labels[COUNT], targets[COUNT], indices[COUNT], clean[COUNT], fooled[COUNT];
  for (size_t i = 0; i < COUNT * pixels; ++i) x[i] = 0.5f;
  for (int i = 0; i < COUNT; ++i) {
    eps[i] = 0.3f;
    indices[i] = i;
  }
  const signstep_start noise = {
      .count = COUNT, .elements = pixels, .out = x0, .x0 = x, .eps = eps, .sample_indices = indices, .seed = 7, .scale = 1.0f};
  if (api->start_uniform(&noise) != SIGNSTEP_OK) {
    fprintf(stderr, "%s\n", api->last_error());
    return 1;
  }
  check(engine->forward(program, COUNT, x0, logits), "forward");
  for (int i = 0; i < COUNT; ++i) {
    labels[i] = highest(logits + (size_t)i * info.classes, info.classes);
    targets[i] = (labels[i] + 1) % (int32_t)info.classes;
    eps[i] = 8.0f / 255.0f;
    alpha[i] = 2.0f / 255.0f;
  }

  /* The logits of the clean images, which the KL loss compares with. */
  const signstep_images images = {.count = COUNT, .images = x0, .labels = labels, .targets = info.targeted ? targets : NULL,
                                  .sample_indices = indices, .seed = 1,
                                  .reference_logits = info.loss == SIGNSTEP_KL ? logits : NULL};
  const signstep_start_rule at_clean = {.kind = SIGNSTEP_START_CLEAN, .scale = 1.0f, .eps = eps};
  const signstep_start_rule random_start = {.kind = SIGNSTEP_START_UNIFORM, .scale = 1.0f, .eps = eps};
  const signstep_step_rule rule = {.rule = SIGNSTEP_RULE_LINF, .direction = info.targeted ? -1 : 1, .alpha = alpha, .eps = eps};
  signstep_attack *attack = NULL;
  check(engine->attack_begin(program, &images, &attack), "begin");
  check(engine->attack_start(attack, &at_clean), "start");
  check(engine->attack_score(attack, before, clean, NULL), "score");
  check(engine->attack_start(attack, &random_start), "start");
  check(engine->attack_steps(attack, &rule, STEPS, NULL, NULL), "steps");
  check(engine->attack_score(attack, after, fooled, NULL), "score");
  check(engine->attack_images(attack, NULL, COUNT, x), "images");
  engine->attack_free(attack);
  engine->program_free(program);

  if (api->distances(COUNT, pixels, x, x0, farthest, NULL) != SIGNSTEP_OK) return 1;
  int good = 1;
  for (int i = 0; i < COUNT; ++i) {
    printf("image %d: loss %8.4f -> %8.4f, class %d -> %d, moved by %.2f/255 at most\n", i, before[i], after[i], (int)clean[i],
           (int)fooled[i], (double)farthest[i] * 255.0);
    if (farthest[i] > eps[i] + 1e-6f || (info.targeted ? after[i] > before[i] : after[i] < before[i])) good = 0;
  }
  if (engine->allocated_bytes() != 0) good = 0;
  free(x0);
  free(x);
  free(logits);
  return good ? 0 : 1;
}
