// From an operator's job to the GPU: counts the call, runs it, and turns what the device answers into Errors.
#pragma once

#include "blocks/gpu/conv/job.h"
#include "blocks/gpu/job.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"

namespace melisma::gpu {

void run(const char* op, Device device, const ForwardJob& job, const Queue& queue);
void run(const char* op, Device device, const InverseJob& job, const Queue& queue);
void run(const char* op, Device device, const WindowJob& job, const Queue& queue);
void run(const char* op, Device device, const ConvForwardJob& job, const Queue& queue);
void run(const char* op, Device device, const ConvBackwardJob& job, const Queue& queue);
void run(const char* op, Device device, const ConvUpdateJob& job, const Queue& queue);

// Which kernel it would be; the job's pointers are not read.
Explanation explain(const char* op, Device device, const ForwardJob& job);
Explanation explain(const char* op, Device device, const InverseJob& job);
Explanation explain(const char* op, Device device, const ConvForwardJob& job);

}  // namespace melisma::gpu
