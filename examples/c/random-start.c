/*
 * signstep from C, without Node: one random start and one step of PGD on a grey image, then how far it went.
 *
 *   cc random-start.c -I native/include -L build/Release -lsignstep-0.1.0 -Wl,-rpath,build/Release -o random-start
 *
 * (the folders, from JavaScript: `include` and `libdir()` of `signstep/native`)
 */
#include <signstep/signstep.h>
#include <stdio.h>

enum { ELEMENTS = 3 * 32 * 32 };

int main(void) {
  const signstep_api *api = signstep_get_api(SIGNSTEP_ABI_VERSION);
  if (api == NULL) {
    fprintf(stderr, "this library does not speak version %u of the interface\n", SIGNSTEP_ABI_VERSION);
    return 1;
  }
  printf("signstep %s, %s, %u threads\n", api->version(), api->instruction_set(), (unsigned)api->threads());

  static float x0[ELEMENTS], x[ELEMENTS], gradient[ELEMENTS];
  const float eps = 8.0f / 255.0f, alpha = 2.0f / 255.0f;
  const int32_t sample = 0;
  for (int i = 0; i < ELEMENTS; ++i) {
    x0[i] = 0.5f;
    gradient[i] = (float)(i % 3 - 1); /* stands for the gradient of a loss */
  }

  const signstep_start start = {
      .count = 1, .elements = ELEMENTS, .out = x, .x0 = x0, .eps = &eps, .sample_indices = &sample, .seed = 42, .scale = 1.0f};
  int32_t nan_count = 0;
  const signstep_step step = {.count = 1, .elements = ELEMENTS, .x = x, .x0 = x0, .gradient = gradient, .alpha = &alpha,
                              .eps = &eps, .direction = 1, .nan_counts = &nan_count};
  float linf = 0, l2 = 0;
  if (api->start_uniform(&start) != SIGNSTEP_OK || api->step_linf(&step) != SIGNSTEP_OK ||
      api->distances(1, ELEMENTS, x, x0, &linf, &l2) != SIGNSTEP_OK) {
    fprintf(stderr, "%s\n", api->last_error());
    return 1;
  }
  printf("moved by %.3f/255 at most, %.3f in all; %d NaN\n", linf * 255.0, (double)l2, (int)nan_count);
  return linf <= eps + 1e-6f ? 0 : 1;
}
