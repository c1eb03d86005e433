#include "device_case.h"

namespace device_case {

using signstep::rt::allocate;

std::uint16_t to_bits16(float value, Precision precision) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (precision == Precision::bf16) {
    if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
    return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
  }
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00);
  const float magnitude = std::fabs(value);
  if (magnitude == 0.0f) return sign;  // frexp gives it no exponent
  if (magnitude >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7C00);
  // Scaled so that one unit in the last place of a half is 1, then rounded by the current (nearest even) mode.
  int exponent;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);
  const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  const std::uint32_t base = unit == -24 ? 0 : static_cast<std::uint32_t>(unit + 24) << 10;
  return static_cast<std::uint16_t>(sign | (base + steps));
}

float from_bits16(std::uint16_t half, Precision precision) {
  if (precision == Precision::bf16) {
    const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

float rounded(float value, Precision precision) {
  return precision == Precision::float32 ? value : from_bits16(to_bits16(value, precision), precision);
}

Values::Values(const std::vector<float>& host, Precision precision)
    : data_(allocate(host.size() * bytes_of(precision))), count_(host.size()), precision_(precision) {
  if (precision == Precision::float32) {
    signstep::rt::upload(data_, host.data(), host.size() * 4, nullptr);
  } else {
    std::vector<std::uint16_t> bits(host.size());
    for (std::size_t i = 0; i < bits.size(); i++) bits[i] = to_bits16(host[i], precision);
    signstep::rt::upload(data_, bits.data(), bits.size() * 2, nullptr);
  }
  signstep::rt::synchronize(nullptr);
}

Values::Values(std::size_t count, Precision precision) : data_(allocate(count * bytes_of(precision))), count_(count), precision_(precision) {
  signstep::rt::fill(data_, 0xFF, count * bytes_of(precision), nullptr);
  signstep::rt::synchronize(nullptr);
}

Values::~Values() { signstep::rt::release(data_); }

std::vector<float> Values::host() const {
  std::vector<float> out(count_);
  signstep::rt::synchronize(nullptr);
  if (precision_ == Precision::float32) {
    signstep::rt::download(out.data(), data_, count_ * 4, nullptr);
    signstep::rt::synchronize(nullptr);
    return out;
  }
  std::vector<std::uint16_t> bits(count_);
  signstep::rt::download(bits.data(), data_, count_ * 2, nullptr);
  signstep::rt::synchronize(nullptr);
  for (std::size_t i = 0; i < count_; i++) out[i] = from_bits16(bits[i], precision_);
  return out;
}

std::vector<float> normal(std::size_t rows, std::size_t columns, std::mt19937& random, float mean, float deviation, int outlier_every) {
  std::normal_distribution<float> draw(mean, deviation);
  std::vector<float> out(rows * columns);
  for (std::size_t i = 0; i < out.size(); i++) {
    out[i] = draw(random);
    if (outlier_every > 0 && i % columns % static_cast<std::size_t>(outlier_every) == 0) out[i] *= 30;
  }
  return out;
}

double relative_error(const std::vector<float>& out, const std::vector<double>& reference) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < reference.size(); i++) {
    if (std::isnan(out[i]) && !std::isnan(reference[i])) return std::numeric_limits<double>::infinity();
    const double difference = static_cast<double>(out[i]) - reference[i];
    error += difference * difference;
    norm += reference[i] * reference[i];
  }
  return std::sqrt(error / std::max(norm, 1e-300));
}

double rounding_error(const std::vector<double>& reference, Precision precision) {
  std::vector<float> out(reference.size());
  for (std::size_t i = 0; i < out.size(); i++) out[i] = rounded(static_cast<float>(reference[i]), precision);
  return relative_error(out, reference);
}

}  // namespace device_case
