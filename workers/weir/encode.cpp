#include "encode.hpp"

#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include "weir/deployment/nearest.hpp"
#include "weir/handler/plugin_file.hpp"

namespace weir::cli {
namespace {

namespace pb = google::protobuf;
constexpr const char* url_prefix = "type.googleapis.com";

class ErrorLines : public pb::compiler::MultiFileErrorCollector {
 public:
  void AddError(const std::string& file, int line, int column, const std::string& message) override {
    text_ += "\n  " + file;
    if (line >= 0) text_ += ":" + std::to_string(line + 1) + ":" + std::to_string(column + 1);
    text_ += ": " + message;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void add_types(const pb::Descriptor& type, std::vector<std::string>& names) {
  names.push_back(type.full_name());
  for (int i = 0; i < type.nested_type_count(); ++i) add_types(*type.nested_type(i), names);
}

/// Returns the error for an unknown type: the known types, and the one that was probably meant.
std::string no_type(const std::string& type, const std::string& where, const std::vector<std::string>& names) {
  std::string text = "no type '" + type + "' in " + where + deployment::did_you_mean(type, names);
  if (text.ends_with('?') || names.empty()) return text;
  text += "; it has";
  constexpr std::size_t names_most = 20;
  for (std::size_t i = 0; i < std::min(names.size(), names_most); ++i) text += (i > 0 ? ", " : " ") + names[i];
  if (names.size() > names_most) text += ", …";
  return text;
}

}  // namespace

struct Encoder::Parts {
  // In the order in which they depend on each other.
  pb::compiler::DiskSourceTree sources;
  ErrorLines errors;
  std::unique_ptr<pb::compiler::Importer> importer;
  std::unique_ptr<pb::DescriptorPool> own_pool;
  const pb::DescriptorPool* pool = nullptr;
  std::unique_ptr<pb::DynamicMessageFactory> factory;
  std::unique_ptr<pb::util::TypeResolver> resolver;
  std::unique_ptr<pb::Message> message;
  std::string url;
  std::string encoded;

  void use(const pb::Descriptor& type) {
    factory = std::make_unique<pb::DynamicMessageFactory>(pool);
    message.reset(factory->GetPrototype(&type)->New());
    resolver.reset(pb::util::NewTypeResolverForDescriptorPool(url_prefix, pool));
    url = std::string(url_prefix) + "/" + type.full_name();
  }
};

Encoder::Encoder(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

Encoder Encoder::of(const TypeSources& sources, const std::string& type) {
  return sources.proto ? from_proto(*sources.proto, type) : from_plugins(sources.plugins, type);
}

Encoder Encoder::from_proto(const std::filesystem::path& file, const std::string& type) {
  auto parts = std::make_unique<Parts>();
  // Imports are looked for beside the file, in the working folder, and where Protobuf keeps its own.
  const auto folder = file.parent_path();
  parts->sources.MapPath("", folder.empty() ? "." : folder.string());
  parts->sources.MapPath("", ".");
  parts->sources.MapPath("", "/usr/include");
  parts->importer = std::make_unique<pb::compiler::Importer>(&parts->sources, &parts->errors);
  const pb::FileDescriptor* described = parts->importer->Import(file.filename().string());
  if (described == nullptr) throw Error("--proto " + file.string() + " cannot be used:" + parts->errors.text());
  parts->pool = parts->importer->pool();
  const pb::Descriptor* found = parts->pool->FindMessageTypeByName(type);
  if (found == nullptr) {
    std::vector<std::string> names;
    for (int i = 0; i < described->message_type_count(); ++i) add_types(*described->message_type(i), names);
    throw Error(no_type(type, file.string(), names));
  }
  parts->use(*found);
  return Encoder(std::move(parts));
}

Encoder Encoder::from_plugins(const std::vector<std::filesystem::path>& plugins, const std::string& type) {
  std::vector<std::string> names;
  std::string where;
  std::string unreadable;
  for (const auto& plugin : plugins) {
    handler::PluginFile file;
    try {
      file = handler::read_plugin_file(plugin);
    } catch (const handler::PluginError& error) {
      // Another group's plugin may know the type. If none does, this error is part of the answer.
      unreadable += std::string("; ") + error.what();
      continue;
    }
    where += (where.empty() ? "" : ", ") + plugin.string();
    pb::FileDescriptorSet set;
    if (!set.ParseFromString(file.descriptors))
      throw Error("plugin " + plugin.string() + ": its descriptors are broken");
    auto parts = std::make_unique<Parts>();
    parts->own_pool = std::make_unique<pb::DescriptorPool>();
    for (const pb::FileDescriptorProto& described : set.file()) {
      const pb::FileDescriptor* built = parts->own_pool->BuildFile(described);
      if (built == nullptr) throw Error("plugin " + plugin.string() + ": cannot use its " + described.name());
      for (int i = 0; i < built->message_type_count(); ++i) add_types(*built->message_type(i), names);
    }
    parts->pool = parts->own_pool.get();
    if (const pb::Descriptor* found = parts->pool->FindMessageTypeByName(type)) {
      parts->use(*found);
      return Encoder(std::move(parts));
    }
  }
  if (where.empty()) where = "the plugins";
  throw Error(no_type(type, where, names) + unreadable);
}

const std::string& Encoder::encode(std::string_view json) {
  Parts& parts = *parts_;
  parts.encoded.clear();
  const auto status =
      pb::util::JsonToBinaryString(parts.resolver.get(), parts.url, {json.data(), json.size()}, &parts.encoded);
  if (!status.ok()) {
    std::string why(status.message());
    // Protobuf adds lines with the text and a caret under it.
    if (const auto end = why.find('\n'); end != std::string::npos) why.resize(end);
    throw BadLine(why.empty() ? "it is not JSON" : why);
  }
  // A message that a parser will refuse must not be published: one with a string that is not UTF-8, or without a
  // required field.
  if (!parts.message->ParsePartialFromString(parts.encoded)) throw BadLine("a string in it is not UTF-8");
  if (!parts.message->IsInitialized()) {
    throw BadLine("required fields are missing: " + parts.message->InitializationErrorString());
  }
  return parts.encoded;
}

std::optional<std::string> Encoder::decode(std::string_view payload) {
  Parts& parts = *parts_;
  if (!parts.message->ParsePartialFromArray(payload.data(), static_cast<int>(payload.size()))) return std::nullopt;
  std::string json;
  pb::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto status =
      pb::util::BinaryToJsonString(parts.resolver.get(), parts.url, std::string(payload), &json, options);
  if (!status.ok()) return std::nullopt;
  return json;
}

}  // namespace weir::cli
