// CRC-32 of IEEE 802.3, as zlib's crc32().
#pragma once

#include <cstddef>
#include <cstdint>

namespace signstep::program {

std::uint32_t crc32(const std::uint8_t* bytes, std::size_t size);

}  // namespace signstep::program
