#include "melisma/tensor.h"

#include <limits>
#include <vector>

#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{2, 3, 4}).numel(), 24);
  EXPECT_EQ((Shape{std::numeric_limits<std::int64_t>::max(), 0, std::numeric_limits<std::int64_t>::max()}).numel(), 0);
  EXPECT_EQ((Shape{2, 3, 4})[-1], 4);
  EXPECT_THROW((Shape{std::int64_t{1} << 32, std::int64_t{1} << 31}).numel(), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST(Tensor, IsContiguousAtFirst) {
  const Tensor t(nullptr, DType::kFloat32, {2, 3, 4});
  EXPECT_EQ(t.stride(0), 12);
  EXPECT_EQ(t.stride(-2), 4);
  EXPECT_EQ(t.stride(-1), 1);
}

TEST(ForeignTensor, DtypesDevicesAndStrides) {
  alignas(16) char memory[64] = {};
  const std::int64_t shape[] = {2, 3}, strides[] = {1, -2};
  ForeignTensor good{memory, 1, 2, 32, 1, 2, shape, strides};
  const Tensor t = from_foreign(good, "op", "x");
  EXPECT_EQ(t.dtype, DType::kFloat32);
  EXPECT_EQ(t.shape, (Shape{2, 3}));
  EXPECT_EQ(t.stride(1), -2);
  good.strides = nullptr;
  EXPECT_EQ(from_foreign(good, "op", "x").stride(0), 3);

  const auto refused = [&](ErrorKind kind, const std::vector<std::string>& parts, auto change) {
    ForeignTensor bad = good;
    change(bad);
    expect_error(kind, "op", parts, [&] { from_foreign(bad, "op", "x"); });
  };
  ForeignTensor cuda = good;
  cuda.device_type = 2;
  cuda.device_index = 1;
  EXPECT_EQ(from_foreign(cuda, "op", "x").device, (Device{DeviceType::kCuda, 1}));
  cuda.type_bits = 16;
  EXPECT_EQ(from_foreign(cuda, "op", "x").dtype, DType::kFloat16);
  cuda.type_code = 4;
  EXPECT_EQ(from_foreign(cuda, "op", "x").dtype, DType::kBFloat16);

  refused(ErrorKind::kInvalidType, {"x", "CPU", "8"}, [](ForeignTensor& f) { f.device_type = 8; });
  refused(ErrorKind::kInvalidType, {"x", "float8"}, [](ForeignTensor& f) { f.type_bits = 8; });
  refused(ErrorKind::kInvalidType, {"x", "float32x4"}, [](ForeignTensor& f) { f.type_lanes = 4; });
  refused(ErrorKind::kInvalidType, {"x", "77"}, [](ForeignTensor& f) { f.type_code = 77; });
  refused(ErrorKind::kInvalidArgument, {"x", "8", "9"}, [](ForeignTensor& f) { f.ndim = 9; });
  refused(ErrorKind::kInvalidArgument, {"x", "-1"}, [](ForeignTensor& f) { f.ndim = -1; });
  refused(ErrorKind::kInvalidArgument, {"x", "align"}, [&](ForeignTensor& f) { f.data = memory + 2; });
  const std::int64_t negative[] = {2, -3};
  refused(ErrorKind::kInvalidArgument, {"x", "-3"}, [&](ForeignTensor& f) { f.shape = negative; });
}

}  // namespace
}  // namespace melisma
