#include "arguments.h"

#include <cmath>
#include <string>

namespace signstep {
namespace {

std::string Describe(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_object: {
      const Napi::Value constructor = value.As<Napi::Object>().Get("constructor");
      if (!constructor.IsFunction()) return "an object";
      return "a " + constructor.As<Napi::Object>().Get("name").ToString().Utf8Value();
    }
    default: return value.ToString().Utf8Value();
  }
}

[[noreturn]] void ThrowTypeError(Napi::Env env, const std::string& name, const std::string& expected, const std::string& found) {
  throw Napi::TypeError::New(env, name + ": expected " + expected + ", found " + found);
}

template <class T>
std::span<T> Elements(const Napi::Value& value, const char* name, napi_typedarray_type wanted, const char* wanted_name) {
  if (value.IsTypedArray()) {
    napi_typedarray_type type{};
    std::size_t length = 0;
    void* data = nullptr;
    // Not Napi::TypedArray: it asks for the ArrayBuffer, which a SharedArrayBuffer is not.
    const napi_status status = napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr);
    if (status != napi_ok) throw Napi::Error::New(value.Env());
    if (type == wanted) return {static_cast<T*>(data), length};
  }
  ThrowTypeError(value.Env(), name, std::string("a ") + wanted_name, Describe(value));
}

}  // namespace

std::span<float> Floats(const Napi::Value& value, const char* name) {
  return Elements<float>(value, name, napi_float32_array, "Float32Array");
}

std::span<std::int32_t> Ints(const Napi::Value& value, const char* name) {
  return Elements<std::int32_t>(value, name, napi_int32_array, "Int32Array");
}

std::span<std::uint8_t> Bytes(const Napi::Value& value, const char* name) {
  return Elements<std::uint8_t>(value, name, napi_uint8_array, "Uint8Array");
}

double Number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) ThrowTypeError(value.Env(), name, "a number", Describe(value));
  return value.As<Napi::Number>().DoubleValue();
}

std::uint32_t Unsigned(const Napi::Value& value, const char* name) {
  constexpr double kLimit = 4294967296.0;
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number < kLimit) || number != std::floor(number))
    ThrowTypeError(value.Env(), name, "an integer >= 0", Describe(value));
  return static_cast<std::uint32_t>(number);
}

std::int32_t Direction(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  if (number != 1 && number != -1) ThrowTypeError(value.Env(), name, "1 or -1", Describe(value));
  return number > 0 ? 1 : -1;
}

bool Boolean(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) ThrowTypeError(value.Env(), name, "true or false", Describe(value));
  return value.As<Napi::Boolean>().Value();
}

std::uint64_t Seed(const Napi::Value& value, const char* name) {
  bool lossless = false;
  const std::uint64_t seed = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) ThrowTypeError(value.Env(), name, "a bigint from 0 to 2^64 - 1", Describe(value));
  return seed;
}

void ExpectLength(Napi::Env env, const char* name, std::size_t length, std::size_t expected, const char* like) {
  if (length != expected)
    ThrowTypeError(env, name, std::to_string(expected) + " elements, as many as " + like, std::to_string(length));
}

std::size_t ElementsPerSample(Napi::Env env, const char* name, std::size_t length, std::size_t count, const char* per_sample) {
  if (count == 0 ? length == 0 : length % count == 0) return count == 0 ? 0 : length / count;
  ThrowTypeError(env, name, "a multiple of the " + std::to_string(count) + " samples that " + per_sample + " has",
                 std::to_string(length) + " elements");
}

}  // namespace signstep
