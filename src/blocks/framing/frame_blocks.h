// How frames are shared out to threads. What a task computes never depends on who runs it or how many there are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/parallel.h"

namespace melisma {

struct FrameBlock {
  std::int64_t item, first, count;  // frames first .. first + count - 1 of one item
  std::int64_t task;
};

inline std::int64_t blocks_per_item(std::int64_t frames, std::int64_t frames_per_task) {
  return (frames + frames_per_task - 1) / frames_per_task;
}

template <typename F>
void for_frame_blocks(std::int64_t items, std::int64_t frames, std::int64_t frames_per_task, const F& body) {
  const std::int64_t per_item = blocks_per_item(frames, frames_per_task);
  parallel_for(items * per_item, [&](std::int64_t task) {
    const std::int64_t first = task % per_item * frames_per_task;
    body(FrameBlock{task / per_item, first, std::min(frames_per_task, frames - first), task});
  });
}

}  // namespace melisma
