/*
 * A Node addon that uses signstep without linking it: JavaScript hands over signstep's function table, `loadNative().capi`, and the
 * addon calls it. Nothing but the header is needed to build this.
 *
 *   distance(capi, a, b)   the Euclidean norm of a - b, by signstep's kernel
 */
#include <node_api.h>
#include <signstep/signstep.h>

static napi_value fail(napi_env env, const char *message) {
  napi_throw_type_error(env, NULL, message);
  return NULL;
}

/* The table inside the External, or NULL if the value is anything else or of another version. */
static const signstep_api *table_of(napi_env env, napi_value value) {
  const napi_type_tag tag = {SIGNSTEP_CAPI_TAG_LOWER, SIGNSTEP_CAPI_TAG_UPPER};
  bool ours = false;
  void *table = NULL;
  if (napi_check_object_type_tag(env, value, &tag, &ours) != napi_ok || !ours) return NULL;
  if (napi_get_value_external(env, value, &table) != napi_ok) return NULL;
  const signstep_api *api = (const signstep_api *)table;
  return api->abi_version == SIGNSTEP_ABI_VERSION ? api : NULL;
}

/* distance(capi, a, b): the Euclidean norm of a - b, two Float32Arrays of one length. */
static napi_value distance(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value argument[3];
  napi_get_cb_info(env, info, &count, argument, NULL, NULL);
  if (count < 3) return fail(env, "expected distance(capi, a, b)");
  const signstep_api *api = table_of(env, argument[0]);
  if (api == NULL) return fail(env, "capi: expected signstep's function table");

  napi_typedarray_type type[2];
  size_t length[2];
  void *data[2];
  for (int i = 0; i < 2; ++i)
    if (napi_get_typedarray_info(env, argument[i + 1], &type[i], &length[i], &data[i], NULL, NULL) != napi_ok ||
        type[i] != napi_float32_array)
      return fail(env, "a and b: expected Float32Arrays");
  if (length[0] != length[1]) return fail(env, "a and b: expected equal lengths");

  float l2 = 0;
  if (api->distances(1, length[0], (const float *)data[0], (const float *)data[1], NULL, &l2) != SIGNSTEP_OK)
    return fail(env, api->last_error());
  napi_value result;
  napi_create_double(env, l2, &result);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "distance", NAPI_AUTO_LENGTH, distance, NULL, &function);
  napi_set_named_property(env, exports, "distance", function);
  return exports;
}
