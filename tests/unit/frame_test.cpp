#include "weir/protocol/frame.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

#include "weir/protocol/names.hpp"
#include "weir/v1/store.pb.h"

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

TEST(Frame, FieldsOfAnotherVersionArePassedOver) {
  v1::Frame head;
  head.set_number(7);
  std::string bytes = head.SerializeAsString();
  bytes += std::string("\xC0\x0C\x01", 3);           // field 200: a varint
  bytes += std::string("\xC1\x0C", 2) + "eight  8";  // 64 bits
  bytes += std::string("\xC2\x0C\x03", 3) + "abc";   // bytes
  bytes += std::string("\xC5\x0C", 2) + "four";      // 32 bits
  bytes += std::string("\x7A\x03", 2) + "run";       // and then the run

  v1::Frame read;
  const auto run = decode(bytes, read);

  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(*run, "run");
  EXPECT_EQ(read.number(), 7U);
}

TEST(Frame, WhatIsNoFrameIsMalformed) {
  const auto long_varint = std::string(11, '\xFF');
  for (const std::string& bytes : {
           long_varint,                                    // a tag without end
           std::string("\x08", 1) + long_varint,           // a number
           std::string("\x12", 1) + long_varint,           // a length
           std::string("\x12\x05", 2) + "four",            // longer than what there is
           std::string("\x0B", 1),                         // a group, as Protobuf once had them
           std::string("\x7A\x01", 2) + "r" + "\x08\x01",  // something behind the run
           std::string("\x12\x02\xFF\xFF", 4),             // whole, but its head is none
       }) {
    v1::Frame read;
    const auto run = decode(bytes, read);
    ASSERT_TRUE(run.has_error()) << testing::PrintToString(bytes);
    EXPECT_EQ(run.error().code, v1::Error::MALFORMED);
    EXPECT_NE(run.error().message.find("frame of " + std::to_string(bytes.size()) + " bytes"), std::string::npos);
  }
}

TEST(Frame, AnErrorThatNobodyLooksAtIsThrownInItsWords) {
  v1::Frame read;
  try {
    (void)decode("\x0B", read).value();
    FAIL() << "it was a frame";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "frame of 1 bytes is not a weir.v1.Frame with `run` last");
  }
}

TEST(Frame, ABodyIsItsHeadersAndItsPayload) {
  std::string body;
  append_body("payload", body);

  const auto view = decode_body(body);

  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->headers, "");
  EXPECT_EQ(view->payload, "payload");
  const auto cut = decode_body(std::string_view(body).substr(0, 4));
  ASSERT_TRUE(cut.has_error());
  EXPECT_EQ(cut.error().message, "message of 4 bytes is not a weir.v1.Body");
}

struct StoredSegment : testing::Test {
  StoredSegment() {
    *segment.mutable_index() = index_of({3, 4}, "a.B");
    auto* names = segment.mutable_index()->add_names();
    names->set_publisher(std::string(16, 'p'));
    names->set_count(2);
    segment.set_published_at_us(5);
  }
  std::string why(const std::string& bytes) {
    const auto run = decode(bytes, index, published_at_us);
    return run.has_error() ? run.error().message : "";
  }
  std::string stored(std::string_view run = "abcdefg") { return segment.SerializeAsString() + run_field(run); }
  static std::string run_field(std::string_view run) {
    return "\x7A" + std::string(1, static_cast<char>(run.size())) + std::string(run);
  }

  v1::Segment segment;
  v1::Index index;
  std::int64_t published_at_us = 0;
};

TEST_F(StoredSegment, IsReadIntoAnIndexThatWasUsedBefore) {
  index = index_of({1, 2, 3}, "z.Z");

  EXPECT_EQ(why(stored()), "");

  EXPECT_EQ(index.lengths_size(), 2);
  EXPECT_EQ(index.types(0), "a.B");
  EXPECT_EQ(published_at_us, 5);
}

TEST_F(StoredSegment, WhoseMessagesAreNotAllNamedIsDamaged) {
  segment.mutable_index()->mutable_names(0)->set_count(1);
  EXPECT_EQ(why(stored()), "stored segment: `names` names 1 messages of 2");
}

TEST_F(StoredSegment, ThatIsDamagedSaysWhere) {
  EXPECT_EQ(why("\x0B"), "stored segment is not a weir.v1.Segment");
  EXPECT_EQ(why(std::string("\x0A\x02\xFF\xFF", 4)), "stored segment: its index does not parse");
  EXPECT_EQ(why(std::string("\x18\x01", 2)), "stored segment: unknown field 3");
  EXPECT_EQ(why(stored("abc")), "stored segment: `lengths` sum to 7 bytes, the run has 3");
}

TEST_F(StoredSegment, WithALengthOverFourGibibytesIsNotRead) {
  // A field's length in more bits than an index's may have: passed over as a field, but no length of an index.
  EXPECT_NE(why(std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11)), "");
}

// What makes a group of messages wrong, and what is then said.
TEST(Columns, EachRuleSaysHowItWasBroken) {
  struct Rule {
    std::function<void(v1::Index&)> break_it;
    std::string said;
    v1::Error::Code code = v1::Error::MALFORMED;
  };
  const std::string not_two = "a column has neither 0 nor 2 entries, the size of `lengths`";
  const std::string no_expiry = "`ttl_us` and `expires_at_us` are not in this version";
  for (const Rule& rule : {
           Rule{[](auto& index) { index.clear_lengths(); }, "group without messages: `lengths` is empty"},
           Rule{[](auto& index) { index.mutable_lengths()->Resize(257, 0); }, "group of 257 messages; at most 256",
                v1::Error::TOO_LARGE},
           Rule{[](auto& index) { index.clear_types(); }, "group without `types`"},
           Rule{[](auto& index) { index.add_types("b"), index.add_types("c"); }, "group with more types than messages"},
           Rule{[](auto& index) { index.add_types("c.D"); }, "`type_of` must name the type of each message"},
           Rule{[](auto& index) { index.add_type_of(0), index.add_type_of(1); }, "`type_of` names type 1 of 1"},
           Rule{[](auto& index) { index.add_type_of(0); }, not_two},
           Rule{[](auto& index) { index.add_key("k"); }, not_two},
           Rule{[](auto& index) { index.add_delay_us(1); }, not_two},
           Rule{[](auto& index) { index.add_ttl_us(1); }, not_two},
           Rule{[](auto& index) { index.add_deliver_at_us(1); }, not_two},
           Rule{[](auto& index) { index.add_expires_at_us(1); }, not_two},
           Rule{[](auto& index) { index.add_unique_id("u"); }, not_two},
           Rule{[](auto& index) { index.mutable_ttl_us()->Resize(2, 1); }, no_expiry},
           Rule{[](auto& index) { index.mutable_expires_at_us()->Resize(2, 1); }, no_expiry},
       }) {
    v1::Index index = index_of({0, 0}, "a.B");
    rule.break_it(index);
    const auto result = check(index, 0, message_most_default);
    ASSERT_TRUE(result.has_error()) << rule.said;
    EXPECT_EQ(result.error().message, rule.said);
    EXPECT_EQ(result.error().code, rule.code) << rule.said;
  }
}

void name(v1::Index& index, const std::string& publisher, std::uint64_t first, std::uint32_t count) {
  auto* run = index.add_names();
  run->set_publisher(publisher);
  run->set_first(first);
  run->set_count(count);
}

TEST(Names, AreCutAndJoinedWithTheirMessages) {
  const std::string one(16, '1');
  const std::string two(16, '2');
  v1::Index index = index_of({1, 1, 1, 1, 1, 1}, "a.B");
  name(index, one, 10, 3);
  name(index, two, 1, 3);
  ASSERT_TRUE(check_names(index).has_value());
  for (std::uint32_t first = 0; first < 6; ++first) {
    for (std::uint32_t count = 0; first + count <= 6; ++count) {
      v1::Index part;
      slice(index, first, count, part);
      ASSERT_TRUE(check_names(part).has_value());
      for (std::uint32_t i = 0; i < count; ++i) {
        EXPECT_EQ(name_at(part.names(), i), name_at(index.names(), first + i)) << first << ' ' << i;
      }
    }
  }
  v1::Index whole;
  for (std::uint32_t i = 0; i < 6; ++i) {
    v1::Index part;
    slice(index, i, 1, part);
    append(part, whole);
  }
  EXPECT_EQ(whole.SerializeAsString(), index.SerializeAsString());
}

TEST(Names, ThatDoNotNameEachMessageOnceAreMalformed) {
  const std::string id(16, '1');
  struct Wrong {
    std::string publisher;
    std::uint64_t first;
    std::uint32_t count;
    std::string said;
  };
  for (const Wrong& wrong :
       {Wrong{id, 1, 1, "`names` names 1 messages of 2"}, Wrong{id, 1, 3, "`names` names 3 messages of 2"},
        Wrong{"short", 1, 2, "`names` has a publisher of 5 bytes, not 16"},
        Wrong{id, ~std::uint64_t{0}, 2, "`names` has a run of no numbers"},
        Wrong{id, 1, 0, "`names` has a run of no numbers"}}) {
    v1::Index index = index_of({1, 1}, "a.B");
    name(index, wrong.publisher, wrong.first, wrong.count);
    const auto checked = check_names(index);
    ASSERT_TRUE(checked.has_error());
    EXPECT_EQ(checked.error().message, wrong.said);
  }
  EXPECT_EQ(check_names(index_of({1, 1}, "a.B")).error().message, "`names` names 0 messages of 2");
}

TEST(Names, ArePrintedAsAKeyOfADatabase) {
  MessageName name;
  for (std::size_t i = 0; i < 16; ++i) name.publisher.bytes[i] = static_cast<unsigned char>(i * 17);
  name.number = 42;
  EXPECT_EQ(name.text(), "00112233445566778899aabbccddeeff.42");
  name.number = ~std::uint64_t{0};
  EXPECT_EQ(name.text(), "00112233445566778899aabbccddeeff.18446744073709551615");
}

TEST(Columns, OnlyOneMessageMayBeLargerThanASegment) {
  const auto half = static_cast<std::uint32_t>(segment_bytes_most / 2 + 1);
  EXPECT_TRUE(check(index_of({2 * half}, "a.B"), 2 * half, Bytes{2 * half}).has_value());
  const auto result = check(index_of({half, half}, "a.B"), 2 * half, Bytes{2 * half});
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, v1::Error::TOO_LARGE);
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

TEST(Columns, ThatOneSideLacksAreFilledWithDefaults) {
  v1::Index with = index_of({1, 2}, "a.B");
  for (int i = 0; i < 2; ++i) with.add_key("k"), with.add_deliver_at_us(7), with.add_unique_id("u");
  v1::Index without = index_of({3}, "a.B");

  v1::Index first = with;
  append(without, first);
  v1::Index last = without;
  append(with, last);

  EXPECT_EQ(first.types_size(), 1);
  EXPECT_EQ(first.type_of_size(), 0);
  EXPECT_EQ(first.key(1) + "," + first.key(2), "k,");
  EXPECT_EQ(first.deliver_at_us(2), 0);
  EXPECT_EQ(last.key(0) + "," + last.key(1), ",k");
  EXPECT_EQ(last.deliver_at_us(0), 0);
  EXPECT_EQ(last.unique_id_size(), 3);
}

TEST(Columns, ASliceKeepsEachMessagesOwn) {
  v1::Index from = index_of({1, 2, 3}, "a.B");
  for (const int i : {0, 1, 2}) from.add_key(std::to_string(i)), from.add_delay_us(static_cast<std::uint64_t>(i));

  v1::Index to = index_of({9}, "z.Z");
  slice(from, 1, 2, to);

  EXPECT_EQ(to.lengths_size(), 2);
  EXPECT_EQ(to.key(0), "1");
  EXPECT_EQ(to.delay_us(1), 2U);
  ASSERT_EQ(to.types_size(), 1);
  EXPECT_EQ(to.types(0), "a.B");
}

TEST(WindowHolds, AMessageLargerThanTheByteWindowIsLetThroughAlone) {
  const Load window{Messages{10}, Bytes{100}};
  EXPECT_TRUE(admits(window, {}, Bytes{500}));
  EXPECT_FALSE(admits(window, {Messages{1}, Bytes{500}}, Bytes{1}));
  EXPECT_FALSE(admits({}, {}, Bytes{1}));
}

}  // namespace
}  // namespace weir::protocol
