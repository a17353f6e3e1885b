// How a warp transforms real frames of n = 2 A B samples, taken as A B complex values, and what it keeps where.
//
// Sample pair A B > p = B n1 + n2. Step 1: a lane takes columns n2, transforms their A values in registers and
// multiplies output k1 by exp(-2 pi i k1 n2 / (A B)). The columns go through shared memory to rows. Step 2: a row k1 of
// B values is transformed; its output k2 is bin k1 + A k2 of the packed frame. Bins k and A B - k, which the split into
// the real frame's bins needs together, stand in rows k1 and A - k1:
//   pairs   A / 2 lanes a frame; a lane takes both rows, lane 0 rows 0 and A / 2
//   rows    A lanes a frame; a lane takes one row and gets half of the other by shuffles; B is even
// The lane's split works on `slots`: pairs of bins, first_bin() being the lower one's.
//
// The same n as real columns (FastRealPlan): sample A rows of C = 2 B > C n1 + n2. Step 1: a lane takes columns n2,
// two side by side or one, transforms their A real values and multiplies output k1 by exp(-2 pi i k1 n2 / n). Step 2: a
// row k1, 0 < k1 < A / 2, of C values is transformed; its output k2 is bin k1 + A k2. Rows 0 and A / 2 together are the
// transform of 2 C real values, the bins A / 2 apart: sum of rows n1 even, of rows n1 odd. It is done as one row of C
// complex values by lane 0, and split by all lanes.
#pragma once

namespace melisma::gpu {

// Complex values from row to row in shared memory: 16-byte reads of rows by neighbouring lanes meet no bank twice.
constexpr int padded_row(int values) { return values % 4 == 2 ? values : values + (6 - values % 4) % 4; }
// From frame to frame: 8-byte writes of columns by lanes of neighbouring frames, as fast_lane() deals them out, meet no
// bank twice.
constexpr int padded_frame(int values, int lanes) {
  return values + ((lanes % 8 == 0 ? lanes : 8) % 16 + 16 - values % 16) % 16;
}

struct ComplexForm {};
struct RealForm {};

template <int kA, int kB, bool kByRows>
struct FastPlan {
  enum : int {
    A = kA,
    B = kB,
    kRows = kByRows,
    M = A * B,
    N = 2 * M,
    kLanes = kByRows ? A : A / 2,  // of a frame
    kFrames = 32 / kLanes,         // of a warp
    kAllLanes = 32 % kLanes == 0,
    kColumns = (B + kLanes - 1) / kLanes,  // of a lane
    kAllColumns = B % kLanes == 0,
    kRow = padded_row(B),
    kFrame = padded_frame(A * padded_row(B), kByRows ? A : A / 2),
    kExchange = kFrames * kFrame,  // complex values
    // Squares of a frame, zeros behind them, to the next frame's: 4-byte writes of bins meet no bank twice.
    kSquares = (M + 8 + 31 - (kLanes + 1) / 2 * 2) / 32 * 32 + (kLanes + 1) / 2 * 2,
    kSlots = kByRows ? B / 2 : B,
    kHalf = (B + 1) / 2,                            // slots of lane 0 in row 0
    kStepFloats = 2 * M,                            // step twiddles: [A / 2][B] of two complex values
    kSplitFloats = (kSlots + 1) / 2 * kLanes * 4,   // split twiddles: [slots / 2][lanes] of two
    kTableFloats = N + kStepFloats + kSplitFloats,  // the window before them, [A / 2][B] of two sample pairs
    kTurns = B,
    kSingles = false,
    kPackedFloats = 0,  // of a frame
    kHeld = 0,
    kFours = kFrames == 1 ? 2 : 1,  // of a band's weights in a turn of the loop over them
    kFormNumber = kByRows,
  };
  using Form = ComplexForm;
  static_assert(kA % 2 == 0 && kLanes <= 32 && (!kByRows || (kB % 2 == 0 && kLanes % 8 == 0)), "rows in pairs");
};

// kSingleColumns: one column at a time, else two side by side. kHoldWindow: a lane has one turn of columns and keeps
// their window in registers.
template <int kA, int kB, bool kSingleColumns, bool kHoldWindow>
struct FastRealPlan {
  enum : int {
    A = kA,
    B = kB,
    C = 2 * B,
    M = A * B,
    N = 2 * M,
    kSingles = kSingleColumns,
    kLanes = A / 2,
    kFrames = 32 / kLanes,
    kAllLanes = 32 % kLanes == 0,
    kTurns = kSingleColumns ? C : B,            // columns, or pairs of them
    kColumns = (kTurns + kLanes - 1) / kLanes,  // of a lane
    kAllColumns = kTurns % kLanes == 0,
    kRow = padded_row(C),
    kPacked = (kLanes * kRow + 15) / 16 * 16,  // the row of 2 C real values, in the bank of row 0
    // Of lanes beyond multiples of eight, those of all frames write and read 16 bytes without meeting a bank twice.
    kFrame = kPacked + C + (kLanes % 8 == 0 ? 0 : (4 + 32 - C % 16) % 16),
    kExchange = kFrames * kFrame,
    kSquares = (M + 8 + 31 - (kLanes + 1) / 2 * 2) / 32 * 32 + (kLanes + 1) / 2 * 2,
    kStepFloats = 2 * M,             // [A / 2][B] of two columns' values, singles: [A / 4][C] of two rows' ones
    kSplitFloats = (C + 3) / 4 * 4,  // [B]
    kTableFloats = N + kStepFloats + kSplitFloats,
    kPackedFloats = 2 * C,  // bins of the packed row on their way to all lanes
    kHeld = kHoldWindow ? (kSingleColumns ? A : 2 * A) : 0,
    kFours = kFrames == 1 ? 2 : 1,
    kFormNumber = 2 + kSingleColumns,
  };
  using Form = RealForm;
  static_assert(kLanes <= 32 && (!kSingleColumns || kA % 4 == 0), "rows in fours");
  static_assert(!kHoldWindow || (kTurns + kLanes - 1) / kLanes == 1, "one turn");
};

// How samples come in.
enum FastInput {
  kInputPairs,      // float32, contiguous, every frame's first sample 8-byte aligned
  kInputSamples,    // float32, contiguous
  kInputHalfPairs,  // a type of 16 bits, contiguous, every frame's first sample 4-byte aligned
  kInputAny,        // through shared memory, as frames at the ends always are
};
// How rows go out.
enum FastOutput {
  kOutputOneRun,  // a frame's row follows the one before it
  kOutputRows,    // each row is contiguous
  kOutputValues,  // value by value, the frames of all a block's warps together
  kOutputHalves,  // each row is contiguous, its values of 16 bits
};
enum FastPower { kPowerSquare, kPowerRoot, kPowerGeneral };

}  // namespace melisma::gpu
