// JSON lines as `weir publish` takes them: cut into lines, and each turned into a Protobuf message, or refused.
#include "lines.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <vector>

#include "encode.hpp"
#include "input.hpp"
#include "targets.hpp"

namespace weir::fuzz {
namespace {

constexpr const char* order_proto = R"(
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Order {
  string id = 1; int64 cents = 2; repeated Item items = 3; bool paid = 4; double rate = 5; bytes raw = 6;
  Kind kind = 7; map<string, int32> counts = 8; Order parent = 9; google.protobuf.Timestamp at = 10;
  message Item { string name = 1; }
  enum Kind { NONE = 0; SOME = 1; }
  oneof who { string mail = 11; uint32 number = 12; }
}
)";

cli::Encoder make_encoder() {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-fuzz-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  const std::filesystem::path file = std::filesystem::path(folder) / "order.proto";
  std::ofstream(file) << order_proto;
  cli::Encoder encoder = cli::Encoder::from_proto(file, "shop.Order");
  std::filesystem::remove_all(folder);
  return encoder;
}

/// One file in memory, its content replaced input by input.
class File {
 public:
  File() : file_(memfd_create("lines", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(file_)) {
    if (file_ < 0) throw std::runtime_error("memfd_create failed");
  }
  const std::string& with(std::string_view bytes) const {
    if (ftruncate(file_, 0) != 0 || pwrite(file_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      throw std::runtime_error("writing to a memfd failed");
    return path_;
  }

 private:
  int file_;
  std::string path_;
};

task<> read_all(cli::Lines& lines, std::vector<std::string>& out) {
  while (true) {
    while (const auto line = lines.next()) out.emplace_back(*line);
    if (!co_await lines.read_more()) break;
  }
}

std::vector<std::string> lines_of(std::string_view bytes) {
  static const File file;
  asio::io_context io(1);
  cli::Lines lines(io.get_executor(), file.with(bytes));
  std::vector<std::string> read;
  std::exception_ptr failure;
  asio::co_spawn(io, read_all(lines, read), [&failure](std::exception_ptr error) { failure = std::move(error); });
  io.run();
  if (failure) std::rethrow_exception(failure);
  require(lines.number() == read.size(), "lines are not counted right");
  return read;
}

/// As a reader of one line of code has it.
std::vector<std::string> expected(std::string_view bytes) {
  std::vector<std::string> lines;
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    std::string_view line = bytes.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  return lines;
}

}  // namespace

void lines(std::string_view bytes) {
  static cli::Encoder encoder = make_encoder();
  const std::vector<std::string> read = lines_of(bytes);
  require(read == expected(bytes), "lines were cut in the wrong places");
  for (const std::string& line : read) {
    try {
      (void)encoder.encode(line);
    } catch (const cli::BadLine&) {
    }
    try {
      cli::FieldReader reader;
      reader.parse(line);
      (void)reader.field("id");
      (void)reader.field("parent.id");
    } catch (const cli::BadLine&) {
    }
  }
}

}  // namespace weir::fuzz
