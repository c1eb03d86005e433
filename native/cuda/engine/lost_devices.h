// Devices that a failure has made useless to this process: after an illegal address or an uncorrectable memory error CUDA refuses every
// further call until the process ends. What is asked of such a device is refused with the reason, instead of failing in some other way.
#pragma once

#include <string>

namespace signstep::engine {

// The first reason stays.
void lose_device(int device, const std::string& reason);

// Throws rt::Failure{unavailable} where the device is lost.
void refuse_lost_device(int device);

}  // namespace signstep::engine
