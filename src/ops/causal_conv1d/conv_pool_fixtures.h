// What the tests of states in a pool share: prefill, a chunk that goes on, and decoding in one call.
#pragma once

#include <cstring>

#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma::testing {

struct PoolCase {
  std::int64_t channels = 20, taps = 4;
  DType dtype = DType::kFloat32, states = DType::kFloat32;
  bool last = false;     // channels contiguous
  bool in_place = true;  // else the new states go to another pool
  bool packed = true;    // else items of one length
  bool flags = true;     // has_initial_state is given
  bool initial = true;   // the pool is read at all
  Placement place_pool = {};
};

// Every sequence must come out of the one call as out of a call of its own, bit for bit, and every other row of the
// pool must stay as it was. run(x, weight, inputs, params, out, final_states) is the operator on some device.
template <class Run>
void expect_pool(const PoolCase& c, const Run& run) {
  const std::vector<std::int64_t> bounds = {0, 0, 1, 2, 5, 40, 40, 41, 90};
  const std::vector<std::int32_t> rows = {7, 3, 0, -9, 5, 1, 8, 4};
  const std::vector<std::uint8_t> flags = {1, 1, 0, 1, 0, 0, 255, 1};
  const std::int64_t count = 8, steps = c.packed ? 90 : 6, pool_rows = 9, history = c.taps - 1;
  const Placement place = c.last ? channel_last() : Placement{};
  const Array x = Array(c.dtype, {c.packed ? 1 : count, c.channels, steps}, place).randomize(1),
              weight = Array(DType::kFloat32, {c.channels, c.taps}).randomize(2),
              before = Array(c.states, {pool_rows, c.channels, history}).randomize(3);
  const Array pool = copy_of(before, c.states, c.place_pool), other = copy_of(before, c.states, c.place_pool),
              out(c.dtype, x.tensor().shape, place);
  const IndexTensor cu(bounds.data(), {count + 1}), index(rows.data(), {count});
  const FlagTensor has_initial(flags.data(), {count});
  CausalConv1dInputs inputs;
  if (c.packed) inputs.cu_seqlens = &cu;
  if (c.initial) inputs.initial_states = &pool.tensor();
  if (c.flags) inputs.has_initial_state = &has_initial;
  inputs.state_indices = &index;
  inputs.pad_slot = -9;
  const CausalConv1dParams params{ConvActivation::kSilu, true};
  const Array& after = c.in_place ? pool : other;
  run(x, weight, inputs, params, out, &after.tensor());
  const std::string what =
      std::to_string(c.taps) + " taps, " + dtype_name(c.dtype) + (c.last ? ", channels" : ", rows");
  out.expect_written_exactly(what);
  if (!c.in_place) {
    EXPECT_TRUE(same_bits(pool, before)) << what;
  }

  std::vector<bool> named(static_cast<std::size_t>(pool_rows), false);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t at = static_cast<std::int64_t>(i), first = c.packed ? bounds[i] : 0;
    const std::int64_t length = c.packed ? bounds[i + 1] - first : steps, row = rows[i];
    const Array alone(c.dtype, {c.channels, length}), left(c.states, {c.channels, history});
    CausalConv1dInputs own;
    const Tensor initial = row < 0 ? Tensor() : item_view(before, row);
    if (c.initial && row >= 0 && (!c.flags || flags[i] != 0)) own.initial_states = &initial;
    run(last_axis_slice(item_view(x, c.packed ? 0 : at), first, length), weight, own, params, alone, &left.tensor());
    for (std::int64_t j = 0; j < alone.numel(); ++j) {
      const std::int64_t in_all = c.packed ? j / length * steps + first + j % length : at * alone.numel() + j;
      ASSERT_EQ(alone.bytes_of(j), out.bytes_of(in_all)) << what << ", sequence " << i;
    }
    if (row < 0) continue;
    named[static_cast<std::size_t>(row)] = true;
    for (std::int64_t j = 0; j < left.numel(); ++j) {
      ASSERT_EQ(left.bytes_of(j), after.bytes_of(row * left.numel() + j)) << what << ", row " << row;
    }
  }
  for (std::int64_t i = 0; i < before.numel(); ++i) {
    const std::int64_t row = i / (c.channels * history);
    if (named[static_cast<std::size_t>(row)]) continue;
    ASSERT_EQ(after.bytes_of(i), before.bytes_of(i)) << what << ", row " << row;
  }
}

template <class Run>
void expect_pools(const Run& run) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64}) {
    for (const std::int64_t taps : {1, 2, 3, 4, 7}) {
      for (int flags = 0; flags < 8; ++flags) {
        PoolCase c{.taps = taps, .dtype = dtype, .states = flags == 2 ? DType::kFloat64 : dtype};
        c.last = (flags & 1) != 0;
        c.in_place = flags != 4 && flags != 5 && flags != 6;
        c.initial = flags != 6;
        c.packed = flags != 2 && flags != 3;
        c.flags = flags != 0;
        if (flags == 7) c.place_pool = {{1, 2, 0}, 2, 1, {0}};
        expect_pool(c, run);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

}  // namespace melisma::testing
