// What a client's frame may hold beside its messages: more is refused before it is parsed, and what is not is cheap.
#include "weir/protocol/bounds.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/arena.h>

#include <functional>

#include "cpu_time.hpp"

namespace weir::protocol {
namespace {

using testing_cost::cpu_ms;
using testing_cost::least_cpu_ms;
using testing_cost::turn_most_ms;

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}
/// A field that bears its length.
std::string field(unsigned number, const std::string& value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}
std::string repeated(std::size_t bytes, const std::string& what) {
  std::string out;
  while (out.size() + what.size() <= bytes) out += what;
  return out;
}
/// A frame's bytes with this body.
std::string frame(unsigned body, const std::string& value) { return "\x08\x02" + field(body, value); }

struct Kind {
  const char* name;
  unsigned number;
  std::string part;  ///< what it can hold most of in the fewest bytes
};
const Kind kinds[] = {
    {"HELLO", 2, field(14, "")},
    {"HELLO", 2, field(12, "")},
    {"HELLO", 2, field(18, "")},
    {"PUBLISH", 4, field(2, "")},
    {"PUBLISH", 4, field(2, field(5, field(2, "")))},
    {"SETTLE", 7, field(1, "")},
    {"SETTLE", 7, field(2, field(5, field(4, "")))},
    {"frame", 9, "\x08\x01"},
    {"KEEP_ALIVE", 11, field(2, "")},
    {"CONTROL", 12, field(6, field(2, ""))},
    {"frame", 14, field(1, "")},
    {"DEATH", 17, field(4, field(5, field(8, "")))},
    {"INTEREST", 18, field(1, "")},
    {"frame", 100, field(1, "")},
};

TEST(HeadBounds, ABombOfEightMegabytesIsRefusedUnparsed) {
  for (const Kind& kind : kinds) {
    const std::string bytes = frame(kind.number, repeated(8 << 20, kind.part));
    google::protobuf::Arena arena;
    auto& head = *google::protobuf::Arena::CreateMessage<v1::Frame>(&arena);
    const double ms = cpu_ms([&] {
      const auto run = decode_bounded(bytes, head);
      ASSERT_TRUE(run.has_error()) << kind.name;
      EXPECT_EQ(run.error().code, v1::Error::TOO_LARGE) << run.error().message;
      EXPECT_THAT(run.error().message, ::testing::StartsWith(kind.name));
      EXPECT_THAT(run.error().message, ::testing::HasSubstr("say it in several frames"));
    });
    EXPECT_LT(ms, 1.0) << kind.name;
    EXPECT_LT(arena.SpaceUsed(), 4096U) << kind.name;
  }
}

TEST(HeadBounds, TheWorstThatIsParsedCostsLittleTimeAndFewMegabytes) {
  for (const Kind& kind : kinds) {
    const bool large = kind.number == 4 || kind.number == 7 || kind.number == 17;
    const std::size_t most = large ? messages_head_bytes_most : head_bytes_most;
    std::size_t bytes_most = most - 16;
    std::string bytes;
    v1::Frame head;
    // The most parts that are let through.
    for (;; bytes_most -= bytes_most / 16) {
      bytes = frame(kind.number, repeated(bytes_most, kind.part));
      if (decode_bounded(bytes, head)) break;
      ASSERT_GT(bytes_most, 1024U) << kind.name;
    }
    const double ms = least_cpu_ms([&] {
      google::protobuf::Arena arena;
      auto& parsed = *google::protobuf::Arena::CreateMessage<v1::Frame>(&arena);
      EXPECT_TRUE(decode_bounded(bytes, parsed)) << kind.name;
      EXPECT_LT(arena.SpaceUsed(), 24U << 20) << kind.name << " of " << bytes.size() << " bytes";
    });
    EXPECT_LT(ms, turn_most_ms()) << kind.name << " of " << bytes.size() << " bytes";
  }
}

TEST(HeadBounds, TinyFieldsBesideTheBodyAreNoFrame) {
  const std::string bytes = repeated(8 << 20, "\x50\x01");
  v1::Frame head;
  const double ms = cpu_ms([&] { EXPECT_EQ(decode_bounded(bytes, head).error().code, v1::Error::MALFORMED); });
  EXPECT_LT(ms, 1.0);
}

TEST(HeadBounds, TwoBodiesAreNotLargerThanOne) {
  const std::string publish = field(4, repeated(40'000, field(2, "")));
  v1::Frame head;
  EXPECT_EQ(decode_bounded("\x08\x02" + publish + publish, head).error().code, v1::Error::TOO_LARGE);
}

TEST(HeadBounds, APayloadOfAnySizeIsNotOfTheHead) {
  v1::Frame sent;
  sent.set_number(2);
  auto& index = *sent.mutable_publish()->add_groups()->mutable_index();
  index.add_lengths(8 << 20);
  index.add_types("T");
  v1::Frame head;
  const auto run = decode_bounded(encode(sent, std::string(8 << 20, 'x')), head);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->size(), 8U << 20);
}

}  // namespace
}  // namespace weir::protocol
