#include "text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace documents {
namespace {

constexpr std::size_t word_most_bytes = 64;
constexpr std::size_t title_most_bytes = 120;

struct File {
  int fd;
  explicit File(const std::string& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

[[noreturn]] void refuse_size() {
  throw NotText("too large: over " + std::to_string(file_most_bytes / 1024 / 1024) + " MiB");
}

/// Returns the bytes of the UTF-8 character at the start of `text`, or 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

/// Windows-1252's characters 0x80 to 0x9F; 0: no character. Its other characters are Latin-1's.
constexpr std::array<std::uint16_t, 32> windows_1252 = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                        0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                                        0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                        0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

void append_utf8(std::string& out, std::uint32_t character) {
  if (character < 0x80) {
    out += static_cast<char>(character);
  } else if (character < 0x800) {
    out += static_cast<char>(0xC0 | (character >> 6));
    out += static_cast<char>(0x80 | (character & 0x3F));
  } else {
    out += static_cast<char>(0xE0 | (character >> 12));
    out += static_cast<char>(0x80 | ((character >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (character & 0x3F));
  }
}

bool is_control(unsigned char byte) {
  // Old manuals underline by backspace and escape. Form feeds end pages.
  return byte < 0x20 && std::strchr("\t\n\v\f\r\b\x1b", byte) == nullptr;
}

bool in_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::string read_file(const std::string& path) {
  const File file(path);
  if (file.fd < 0) {
    if (errno == ENOENT) throw NotText("no such file");
    throw NotText(std::string("cannot be read: ") + std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) throw NotText(std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw NotText("not a file");
  if (static_cast<std::uint64_t>(status.st_size) > file_most_bytes) refuse_size();

  std::string bytes;
  std::array<char, 65536> buffer;
  bytes.reserve(static_cast<std::size_t>(status.st_size));
  // Reads to the end, not to the size at the start, as the file may be growing.
  while (true) {
    const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw NotText(std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) return bytes;
    if (bytes.size() + static_cast<std::size_t>(got) > file_most_bytes) refuse_size();
    bytes.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

std::string uncompressed(std::string bytes) {
  if (!bytes.starts_with("\x1f\x8b")) return bytes;
  z_stream stream{};
  constexpr int gzip_alone = 16 + MAX_WBITS;
  if (inflateInit2(&stream, gzip_alone) != Z_OK) throw std::bad_alloc();
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};

  std::string out;
  std::array<char, 65536> buffer;
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  while (true) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    const int result = inflate(&stream, Z_NO_FLUSH);
    const std::size_t got = buffer.size() - stream.avail_out;
    if (out.size() + got > file_most_bytes) refuse_size();
    out.append(buffer.data(), got);
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return out;
      // The next member. Bytes after the last member are ignored, as gzip itself does.
      if (stream.avail_in < 2 || stream.next_in[0] != 0x1f || stream.next_in[1] != 0x8b) return out;
      inflateReset(&stream);
    } else if (result != Z_OK || (got == 0 && stream.avail_in == 0)) {
      throw NotText("damaged gzip");
    }
  }
}

std::string decoded(std::string bytes) {
  std::size_t controls = 0;
  for (const char c : bytes) {
    if (c == '\0') throw NotText("not text: it has NUL bytes");
    controls += is_control(static_cast<unsigned char>(c)) ? 1 : 0;
  }
  if (controls > bytes.size() / 100) throw NotText("not text: it has control bytes");
  if (is_utf8(bytes)) return bytes;

  std::string out;
  out.reserve(bytes.size() + bytes.size() / 8);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    const std::uint32_t character = byte >= 0x80 && byte < 0xA0 ? windows_1252[byte - 0x80] : byte;
    if (character == 0 && byte != 0) throw NotText("not text: neither UTF-8 nor Latin-1");
    append_utf8(out, character);
  }
  return out;
}

std::string words_of(std::string_view text) {
  std::string words;
  words.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (!in_word(text[at])) {
      ++at;
      continue;
    }
    const std::size_t start = at;
    while (at < text.size() && in_word(text[at])) ++at;
    if (at - start > word_most_bytes) continue;
    if (!words.empty()) words += ' ';
    for (const char c : text.substr(start, at - start)) {
      words += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return words;
}

std::string title_of(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::none_of(line.begin(), line.end(), in_word)) continue;

    const auto is_space = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
    while (is_space(line.front())) line.remove_prefix(1);
    while (is_space(line.back())) line.remove_suffix(1);
    std::size_t length = 0;
    while (length < line.size()) {
      const std::size_t next = utf8_length(line.substr(length));
      if (next == 0 || length + next > title_most_bytes) break;
      length += next;
    }
    std::string title(line.substr(0, length));
    std::replace_if(title.begin(), title.end(), is_space, ' ');
    return title;
  }
  return {};
}

}  // namespace documents
