/// FieldReader. Only this file, and the files that print JSON, include Boost.JSON.

#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "encode.hpp"

namespace weir::cli {

struct FieldReader::Document {
  boost::json::value value;
};

FieldReader::FieldReader() : document_(std::make_unique<Document>()) {}
FieldReader::~FieldReader() = default;

void FieldReader::parse(std::string_view json) {
  boost::system::error_code error;
  document_->value = boost::json::parse({json.data(), json.size()}, error);
  if (error) throw BadLine("it is not JSON: " + error.message());
  if (!document_->value.is_object()) throw BadLine("it is not a JSON object");
}

std::string FieldReader::field(std::string_view path) const {
  const boost::json::value* at = &document_->value;
  for (std::string_view rest = path; !rest.empty();) {
    const auto dot = std::min(rest.find('.'), rest.size());
    const auto* object = at->if_object();
    at = object == nullptr ? nullptr : object->if_contains({rest.data(), dot});
    if (at == nullptr) throw BadLine("it has no field '" + std::string(path) + "'");
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  if (const auto* text = at->if_string()) return {text->data(), text->size()};
  if (at->is_object() || at->is_array() || at->is_null()) {
    throw BadLine("its field '" + std::string(path) + "' is neither a text nor a number");
  }
  if (const double* number = at->if_double()) {
    // Boost.JSON would print 1.5 as 1.5E0.
    std::array<char, 32> text{};
    return {text.data(), std::to_chars(text.data(), text.data() + text.size(), *number).ptr};
  }
  return boost::json::serialize(*at);
}

}  // namespace weir::cli
