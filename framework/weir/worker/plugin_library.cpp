#include "weir/worker/plugin_library.hpp"

#include <dlfcn.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <mutex>
#include <string>

#include "weir/handler/plugin_file.hpp"

namespace weir::worker {
namespace {

using handler::PluginError;

/// Refuses a second copy of one .proto's generated code: loading it would abort the process.
void check_protos(const std::filesystem::path& path, const std::string& descriptors) {
  google::protobuf::FileDescriptorSet files;
  if (!files.ParseFromString(descriptors)) {
    throw PluginError("plugin " + path.string() + " is broken: its descriptors do not parse; build it again");
  }
  for (const auto& file : files.file()) {
    // Protobuf's own files come from the library that both share.
    if (file.name().starts_with("google/protobuf/")) continue;
    if (google::protobuf::DescriptorPool::generated_pool()->FindFileByName(file.name()) == nullptr) continue;
    throw PluginError("plugin " + path.string() + " brings '" + file.name() +
                      "', which this executable has itself; a plugin must not link that file's generated code");
  }
}

}  // namespace

RegisterPlugin load_plugin(const std::filesystem::path& given, const std::filesystem::path& copy) {
  static std::mutex mutex;
  static std::filesystem::path loaded;
  const std::scoped_lock lock(mutex);
  const std::filesystem::path path = std::filesystem::absolute(given);
  if (!loaded.empty()) {
    throw PluginError("plugin " + path.string() + ": this process has loaded " + loaded.string() +
                      "; one plugin a process");
  }
  const std::filesystem::path& loads = copy.empty() ? path : copy;
  const handler::PluginFile file = handler::read_plugin_file(loads);
  handler::check_abi(path, file.abi);
  check_protos(path, file.descriptors);
  loaded = path;
  void* const library = dlopen(loads.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw PluginError("plugin " + path.string() + " cannot be loaded: " + std::string(dlerror()));
  }
  void* const symbol = dlsym(library, "weir_plugin_register");
  if (symbol == nullptr) {
    throw PluginError("plugin " + path.string() + " has no weir_plugin_register: it lacks WEIR_PLUGIN");
  }
  return reinterpret_cast<RegisterPlugin>(symbol);
}

}  // namespace weir::worker
