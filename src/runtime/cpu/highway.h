// Highway, restricted to our targets. Include this instead of hwy/highway.h, and after hwy/foreach_target.h.
// No include guard: Highway's header does its work anew for each target.
#include "runtime/cpu/targets.h"  // first

#include "hwy/highway.h"
