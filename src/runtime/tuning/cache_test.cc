#include "runtime/tuning/cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace melisma {
namespace {

namespace fs = std::filesystem;

class TuningCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "melisma_cache_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  TuningCache cache(const std::string& device = "GPU 1, driver 2") {
    return {directory_, device, [this](const std::string& message) { warnings_.push_back(message); }};
  }

  fs::path directory_;
  std::vector<std::string> warnings_;
};

TEST_F(TuningCacheTest, KeepsChoicesBetweenProcesses) {
  cache().store("fast-forward", "n 1024", {"a", 1.5});
  cache().store("fast-inverse", "n 400", {"b", 2});
  TuningCache again = cache();
  EXPECT_EQ(again.find("fast-forward", "n 1024"), (TunedChoice{"a", 1.5}));
  EXPECT_EQ(again.find("fast-forward", "n 400"), std::nullopt);
  EXPECT_EQ(again.find("other", "n 400"), std::nullopt);
  EXPECT_EQ(again.entries(),
            (std::vector<TunedEntry>{{"fast-forward", "n 1024", {"a", 1.5}}, {"fast-inverse", "n 400", {"b", 2}}}));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(TuningCacheTest, DevicesHaveFilesOfTheirOwn) {
  cache("GPU 1").store("k", "j", {"a", 1});
  EXPECT_EQ(cache("GPU 2").find("k", "j"), std::nullopt);
  EXPECT_EQ(cache("GPU 1").find("k", "j")->variant, "a");
}

TEST_F(TuningCacheTest, CorruptedAndForeignFilesAreIgnoredWithOneWarningAndReplaced) {
  const std::string foreign = R"({"format": 1, "device": "another", "choices": {}})";
  for (const std::string text :
       {"", "{", "[1, 2]", R"({"format": "x"})", R"({"format": 1, "device": 3})", foreign.c_str(),
        R"({"format": 1, "device": "GPU 1, driver 2", "choices": {"k": {"j": {"variant": 3}}}})"}) {
    warnings_.clear();
    TuningCache broken = cache();
    std::ofstream(broken.file()) << text;
    EXPECT_EQ(broken.find("k", "j"), std::nullopt) << text;
    EXPECT_EQ(broken.find("k", "j"), std::nullopt) << text;
    EXPECT_EQ(warnings_.size(), 1u) << text;
    broken.store("k", "j", {"a", 1});
    EXPECT_EQ(warnings_.size(), 1u) << text;
    EXPECT_EQ(cache().find("k", "j")->variant, "a") << text;
  }
}

TEST_F(TuningCacheTest, WritersDoNotLoseEachOthersChoices) {
  constexpr int kWriters = 4, kChoices = 20;
  for (int writer = 0; writer < kWriters; ++writer) {
    if (fork() == 0) {
      TuningCache mine = cache();
      for (int i = 0; i < kChoices; ++i) mine.store("k" + std::to_string(writer), std::to_string(i), {"v", 1.0 * i});
      _exit(warnings_.empty() ? 0 : 1);
    }
  }
  for (int writer = 0; writer < kWriters; ++writer) {
    int status = 0;
    ASSERT_GT(wait(&status), 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(cache().entries().size(), static_cast<std::size_t>(kWriters * kChoices));
  for (const auto& entry : fs::directory_iterator(directory_)) {  // no temporary file stays
    EXPECT_TRUE(entry.path().extension() == ".json" || entry.path().extension() == ".lock") << entry.path();
  }
}

TEST_F(TuningCacheTest, WithoutADirectoryChoicesStayInMemory) {
  TuningCache memory("", "GPU", nullptr);
  memory.store("k", "j", {"a", 1});
  EXPECT_EQ(memory.find("k", "j")->variant, "a");

  std::ofstream(directory_ / "file") << "no folder";
  TuningCache unwritable(directory_ / "file" / "below", "GPU",
                         [this](const std::string& message) { warnings_.push_back(message); });
  unwritable.store("k", "j", {"a", 1});
  unwritable.store("k", "j2", {"a", 1});
  EXPECT_EQ(unwritable.find("k", "j")->variant, "a");
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(TuningCacheTest, ClearRemovesTheFile) {
  TuningCache one = cache();
  one.store("k", "j", {"a", 1});
  one.clear();
  EXPECT_FALSE(fs::exists(one.file()));
  EXPECT_EQ(one.find("k", "j"), std::nullopt);
  EXPECT_EQ(cache().find("k", "j"), std::nullopt);
}

}  // namespace
}  // namespace melisma
