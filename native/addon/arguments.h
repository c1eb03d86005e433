// JavaScript arguments, checked: each function throws a TypeError that names the argument, what was expected and what was found.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace signstep {

// The elements of a typed array over an ArrayBuffer or a SharedArrayBuffer.
std::span<float> Floats(const Napi::Value& value, const char* name);
std::span<std::int32_t> Ints(const Napi::Value& value, const char* name);
std::span<std::uint8_t> Bytes(const Napi::Value& value, const char* name);

double Number(const Napi::Value& value, const char* name);
std::uint32_t Unsigned(const Napi::Value& value, const char* name);
// 1 or -1.
std::int32_t Direction(const Napi::Value& value, const char* name);
bool Boolean(const Napi::Value& value, const char* name);
std::uint64_t Seed(const Napi::Value& value, const char* name);

void ExpectLength(Napi::Env env, const char* name, std::size_t length, std::size_t expected, const char* like);
// Elements of one of `count` samples of an array of `length`.
std::size_t ElementsPerSample(Napi::Env env, const char* name, std::size_t length, std::size_t count, const char* per_sample);

}  // namespace signstep
