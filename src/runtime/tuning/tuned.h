// What has been timed on the devices of this process, as the operators look it up: a TuningCache for each device, in
// default_cache_directory() or, with MELISMA_CACHE=0, in memory. Warnings wait for tell_warnings().
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "runtime/tuning/cache.h"

namespace melisma {

std::optional<TunedChoice> find_tuned(const std::string& device, const std::string& kernel, const std::string& job);
void store_tuned(const std::string& device, const std::string& kernel, const std::string& job,
                 const TunedChoice& choice);

// Forgets what this process knows; the files stay, and are read again.
void forget_tuned();

// Another number whenever a choice made before may be another now.
extern std::atomic<std::uint32_t> tuning_generation;

}  // namespace melisma
