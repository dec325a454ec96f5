#pragma once

/// Converts JSON lines to Protobuf and back, by a type that this program was not built with.
///
/// The type's description comes from a .proto file, or from a plugin's file, whose code does not run for this.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/message/error.hpp"

namespace weir::cli {

/// A line that cannot be published; what() says why, without the line's number.
struct BadLine : Error {
  using Error::Error;
};

/// The places where the description of a type may be.
struct TypeSources {
  std::optional<std::string> proto;            ///< a .proto file, which is then the only place
  std::vector<std::filesystem::path> plugins;  ///< otherwise the first of these that knows the type
};

class Encoder {
 public:
  /// Throws: as from_proto and from_plugins.
  [[nodiscard]] static Encoder of(const TypeSources& sources, const std::string& type);
  /// Throws: Error if the file is no .proto, or has no such type.
  [[nodiscard]] static Encoder from_proto(const std::filesystem::path& file, const std::string& type);
  /// Uses the first of `plugins` that knows the type. Throws: Error if none does, with the errors of
  /// those that cannot be read.
  [[nodiscard]] static Encoder from_plugins(const std::vector<std::filesystem::path>& plugins, const std::string& type);

  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  ~Encoder();

  /// Returns the encoded message, valid until the next call. Throws: BadLine.
  [[nodiscard]] const std::string& encode(std::string_view json);
  /// Returns the payload as JSON on one line; nothing if it is not of the type.
  [[nodiscard]] std::optional<std::string> decode(std::string_view payload);

 private:
  struct Parts;
  explicit Encoder(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

/// Reads a field of a JSON object as text: a string as it is, a number or boolean as JSON writes it. `a.b` is b in a.
///
/// Throws: BadLine if the line is no JSON object, or has no such field.
class FieldReader {
 public:
  /// Reads the next line. Ask for its fields afterwards.
  FieldReader();
  ~FieldReader();
  void parse(std::string_view json);
  [[nodiscard]] std::string field(std::string_view path) const;

 private:
  struct Document;
  std::unique_ptr<Document> document_;
};

}  // namespace weir::cli
