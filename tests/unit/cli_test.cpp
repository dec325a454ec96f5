/// The command line program's parts: tables, lines, JSON to Protobuf.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "encode.hpp"
#include "json.hpp"
#include "lines.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-cli-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

std::string what_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Tables, AlignTheirColumnsByCharactersAndCutOnlyTheLast) {
  const std::string text =
      render({{"NAME"}, {"COUNT", Align::right}, {"ERROR"}},
             {{"größe", std::uint64_t{1234567}, "a text that is far too long for this"}, {"b", std::uint64_t{5}, "no"}},
             false, 40);
  EXPECT_EQ(text,
            "NAME       COUNT  ERROR\n"
            "größe  1,234,567  a text that is far to…\n"
            "b              5  no\n");
}

TEST(Tables, NeverPassOnWhatMovesTheCursor) {
  const std::string text = render({{"A"}, {"B"}}, {{"x\ny", "\x1b[31mred"}, {"\u009b2J", "a\u202eb\xff"}}, false, 0);
  EXPECT_EQ(text, "A    B\nx?y  ?[31mred\n?2J  a?b?\n");
}

TEST(Tables, LeaveOutWhatMattersLeastAndSaySo) {
  const auto at = [](std::size_t width) {
    return render({{"NAME", Align::left, 0, 4}, {"COUNT", Align::right, 2}, {"SIZE", Align::right, 1}, {"NOTE"}},
                  {{"a-long-name", std::uint64_t{12}, "3 KiB", "no worker"}}, false, width);
  };
  EXPECT_EQ(at(36), "NAME         COUNT   SIZE  NOTE\na-long-name     12  3 KiB  no worker\n");
  EXPECT_EQ(at(35), "NAME          SIZE  NOTE\na-long-name  3 KiB  no worker\n(no room for COUNT)\n");
  EXPECT_EQ(at(22), "NAME         NOTE\na-long-name  no worker\n(no room for COUNT, SIZE)\n");
  EXPECT_EQ(at(16), "NAME   NOTE\na-lo…  no worker\n(no room for COUNT, SIZE)\n");
}

TEST(Json, IsValidWhateverBytesItsTextsHave) {
  EXPECT_EQ(text_of(boost::json::value("a\xff\u009b2J\u202e\"é\x7f")), R"("a\ufffd\u009b2J\u202e\"é\u007f")");
  EXPECT_TRUE(is_utf8("é"));
  EXPECT_FALSE(is_utf8("a\xc3"));
  EXPECT_EQ(base64("any"), "YW55");
  EXPECT_EQ(base64("an"), "YW4=");
}

TEST(Tables, SayNumbersAsPeopleDo) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(size_of(512), "512 B");
  EXPECT_EQ(size_of(1536), "1.5 KiB");
  EXPECT_EQ(time_of(250'000), "250 ms");
  EXPECT_EQ(time_of(1'500'000), "1.5 s");
  EXPECT_EQ(time_of(7'200'000'000), "2 h");
  EXPECT_EQ(stamp(1'700'000'000'123'456), "2023-11-14T22:13:20.123Z");
}

constexpr const char* order_proto = R"(
syntax = "proto3";
package shop;
message OrderPlaced { string id = 1; int64 cents = 2; repeated Item items = 3; message Item { string name = 1; } }
)";

TEST(Encoding, AJsonLineBecomesItsProtobufType) {
  const Folder folder;
  Encoder encoder = Encoder::from_proto(folder.write("shop.proto", order_proto), "shop.OrderPlaced");
  EXPECT_EQ(encoder.encode(R"({"id": "7", "cents": 5, "items": [{"name": "x"}]})"),
            std::string("\x0a\x01\x37\x10\x05\x1a\x03\x0a\x01x"));
  EXPECT_EQ(encoder.encode("{}"), "");
}

TEST(Encoding, APayloadBecomesJsonAgain) {
  const Folder folder;
  Encoder encoder = Encoder::of({.proto = folder.write("shop.proto", order_proto), .plugins = {}}, "shop.OrderPlaced");
  EXPECT_EQ(encoder.decode(std::string("\x0a\x01\x37\x10\x05\x1a\x03\x0a\x01x")),
            R"({"id":"7","cents":"5","items":[{"name":"x"}]})");
  EXPECT_EQ(encoder.decode("\xff\xff"), std::nullopt);
}

TEST(Encoding, ALineThatDoesNotFitSaysWhy) {
  const Folder folder;
  Encoder encoder = Encoder::from_proto(folder.write("shop.proto", order_proto), "shop.OrderPlaced");
  const auto why = [&](const std::string& line) { return what_of([&] { (void)encoder.encode(line); }); };
  EXPECT_THAT(why(R"({"nosuch": 1})"), HasSubstr("nosuch: Cannot find field."));
  EXPECT_THAT(why(R"({"cents": "abc"})"), HasSubstr(R"((cents): invalid value "abc" for type TYPE_INT64)"));
  EXPECT_THAT(why("[1]"), testing::Not(HasSubstr("nothing was thrown")));
  EXPECT_THAT(why("{"), testing::Not(HasSubstr("nothing was thrown")));
  EXPECT_THAT(why(""), testing::Not(HasSubstr("nothing was thrown")));
  EXPECT_THAT(why("{\"id\": \"\xff\"}"), testing::Not(HasSubstr("nothing was thrown")));
}

TEST(Encoding, ATypeThatIsNotThereSaysWhatIs) {
  const Folder folder;
  const std::string file = folder.write("shop.proto", order_proto);
  EXPECT_EQ(what_of([&] { (void)Encoder::from_proto(file, "shop.OrderPlacd"); }),
            "no type 'shop.OrderPlacd' in " + file + "; did you mean 'shop.OrderPlaced'?");
  EXPECT_EQ(what_of([&] { (void)Encoder::from_proto(file, "Zebra"); }),
            "no type 'Zebra' in " + file + "; it has shop.OrderPlaced, shop.OrderPlaced.Item");
}

TEST(Encoding, AProtoFileThatIsWrongSaysWhere) {
  const Folder folder;
  const std::string file = folder.write("bad.proto", "syntax = \"proto3\";\nmessage {}\n");
  EXPECT_EQ(what_of([&] { (void)Encoder::from_proto(file, "A"); }),
            "--proto " + file + " cannot be used:\n  bad.proto:2:9: Expected message name.");
  EXPECT_THAT(what_of([&] { (void)Encoder::from_proto("/nonexistent/x.proto", "A"); }), HasSubstr("x.proto"));
}

TEST(Fields, AreReadByPath) {
  FieldReader reader;
  reader.parse(R"({"id": "a\"b", "n": 17, "yes": true, "in": {"deep": 1.5}, "list": []})");
  EXPECT_EQ(reader.field("id"), "a\"b");
  EXPECT_EQ(reader.field("n"), "17");
  EXPECT_EQ(reader.field("yes"), "true");
  EXPECT_EQ(reader.field("in.deep"), "1.5");
  EXPECT_EQ(what_of([&] { (void)reader.field("no"); }), "it has no field 'no'");
  EXPECT_EQ(what_of([&] { (void)reader.field("id.x"); }), "it has no field 'id.x'");
  EXPECT_EQ(what_of([&] { (void)reader.field("list"); }), "its field 'list' is neither a text nor a number");
  EXPECT_EQ(what_of([&] { reader.parse("[1]"); }), "it is not a JSON object");
  EXPECT_THAT(what_of([&] { reader.parse("{"); }), HasSubstr("it is not JSON: "));
}

task<> collect(Lines& lines, std::vector<std::string>& all) {
  do {
    while (const auto line = lines.next()) all.emplace_back(*line);
  } while (co_await lines.read_more());
}

std::vector<std::string> lines_of(const std::string& text) {
  const Folder folder;
  asio::io_context loop;
  Lines lines(loop.get_executor(), folder.write("lines", text));
  std::vector<std::string> all;
  std::exception_ptr thrown;
  asio::co_spawn(loop, collect(lines, all), [&](std::exception_ptr error) { thrown = error; });
  loop.run();
  if (thrown) std::rethrow_exception(thrown);
  EXPECT_EQ(lines.number(), all.size());
  return all;
}

TEST(LinesToPublish, AreSplitAtLineEndsOnly) {
  EXPECT_THAT(lines_of(""), ElementsAre());
  EXPECT_THAT(lines_of("a"), ElementsAre("a"));
  EXPECT_THAT(lines_of("a\n"), ElementsAre("a"));
  EXPECT_THAT(lines_of("a\n\nb"), ElementsAre("a", "", "b"));
  EXPECT_THAT(lines_of("a\r\nb\r\n"), ElementsAre("a", "b"));
  EXPECT_THAT(lines_of(std::string("\0x\n", 3)), ElementsAre(std::string("\0x", 2)));
}

TEST(LinesToPublish, MayBeLongerThanWhatIsReadAtOnce) {
  const std::string large(1'000'000, 'x');
  EXPECT_THAT(lines_of("a\n" + large + "\nb\n"), ElementsAre("a", large, "b"));
}

TEST(LinesToPublish, AFileThatCannotBeReadSaysWhy) {
  asio::io_context loop;
  EXPECT_EQ(what_of([&] { Lines lines(loop.get_executor(), "/nonexistent"); }),
            "cannot read /nonexistent: No such file or directory");
  EXPECT_EQ(what_of([&] { Lines lines(loop.get_executor(), "/tmp"); }), "cannot read /tmp: it is a folder");
}

}  // namespace
}  // namespace weir::cli
