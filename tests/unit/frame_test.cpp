#include "weir/protocol/frame.hpp"

#include <gtest/gtest.h>

namespace weir::protocol {
namespace {

v1::Index index_of(std::initializer_list<std::uint32_t> lengths, const std::string& type) {
  v1::Index index;
  for (const auto length : lengths) index.add_lengths(length);
  index.add_types(type);
  return index;
}

TEST(Frame, TheRunIsAViewIntoTheBytes) {
  v1::Frame head;
  head.set_number(7);
  *head.mutable_publish()->add_groups()->mutable_index() = index_of({3, 4}, "a.B");
  const std::string bytes = encode(head, "abcdefg");

  v1::Frame read;
  const auto run = decode(bytes, read);

  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(*run, "abcdefg");
  EXPECT_GE(run->data(), bytes.data());
  EXPECT_EQ(read.number(), 7U);
  EXPECT_EQ(read.publish().groups(0).index().lengths(1), 4U);
}

TEST(Frame, GeneratedCodeReadsAndWritesTheSameBytes) {
  v1::Frame head;
  head.set_number(1);
  head.mutable_beat();
  head.set_run("xyz");

  v1::Frame read;
  const auto run = decode(head.SerializeAsString(), read);

  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->size(), 3U);
  EXPECT_TRUE(read.has_beat());
}

TEST(Frame, EveryTruncationIsMalformedOrShorterAndNeverRead) {
  v1::Frame head;
  head.set_number(300);
  *head.mutable_publish()->add_groups()->mutable_index() = index_of({3, 4}, "a.B");
  const std::string bytes = encode(head, "abcdefg");

  for (std::size_t size = 0; size < bytes.size(); ++size) {
    v1::Frame read;
    const auto run = decode(std::string_view(bytes).substr(0, size), read);
    if (run.has_value()) {
      EXPECT_TRUE(run->empty()) << size;
    } else {
      EXPECT_EQ(run.error().code, v1::Error::MALFORMED);
    }
  }
}

TEST(Columns, LengthsThatDoNotSumToTheRunAreMalformed) {
  const auto result = check(index_of({3, 4}, "a.B"), 8, message_most_default);
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().message, "`lengths` sum to 7 bytes, the run has 8");
}

TEST(Columns, AMessageOverTheLimitIsTooLarge) {
  const auto result = check(index_of({300}, "a.B"), 300, Bytes{200});
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, v1::Error::TOO_LARGE);
}

TEST(Columns, AppendMergesTypesAndFillsColumns) {
  v1::Index to = index_of({1, 2}, "a.B");
  v1::Index other = index_of({3}, "c.D");
  other.add_delay_us(5);

  append(other, to);

  EXPECT_EQ(to.types_size(), 2);
  EXPECT_EQ(to.type_of_size(), 3);
  EXPECT_EQ(to.type_of(2), 1U);
  ASSERT_EQ(to.delay_us_size(), 3);
  EXPECT_EQ(to.delay_us(2), 5U);
  EXPECT_EQ(to.lengths_size(), 3);

  v1::Index part;
  slice(to, 2, 1, part);
  EXPECT_EQ(part.types_size(), 1);
  EXPECT_EQ(part.types(0), "c.D");
  EXPECT_EQ(part.type_of_size(), 0);
}

TEST(WindowHolds, AMessageLargerThanTheByteWindowIsLetThroughAlone) {
  const Load window{Messages{10}, Bytes{100}};
  EXPECT_TRUE(admits(window, {}, Bytes{500}));
  EXPECT_FALSE(admits(window, {Messages{1}, Bytes{500}}, Bytes{1}));
  EXPECT_FALSE(admits({}, {}, Bytes{1}));
}

}  // namespace
}  // namespace weir::protocol
