// weir://: the broker on disk, in a thread of the test.
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "rig.hpp"
#include "weir/broker/server.hpp"
#include "weir/engine/weir/control.hpp"
#include "weir/engine/weir/engine.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::contract {
namespace {

/// A folder for as long as the test runs.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-contract-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class WeirRig final : public Rig {
 public:
  WeirRig() {
    log::configure({.level = log::Level::error});
    settings_.data = folder_.path();
    settings_.listen = "127.0.0.1:0";
    settings_.reserve = Bytes{1024 * 1024};
    settings_.session_timeout = session_timeout;
    settings_.message_most = Bytes{message_most};
    start();
    settings_.listen = server_->url().substr(std::string("weir://").size());
    engine_ = engine::weir_broker::make_engine(server_->url());
  }
  ~WeirRig() override { stop(); }

  [[nodiscard]] engine::Engine& engine() override { return *engine_; }
  [[nodiscard]] std::string url() override { return server_->url(); }
  void restart() override {
    stop();
    start();
  }

  [[nodiscard]] std::vector<v1::DeadLetter> dead(const std::string& queue) override {
    engine::weir_broker::Control control(server_->url());
    v1::ControlRequest list;
    list.mutable_list_dead()->set_queue(queue);
    const v1::ControlReply found = control.request(list);
    std::vector<v1::DeadLetter> letters;
    for (const auto& one : found.dead_list().dead()) {
      v1::ControlRequest show;
      show.mutable_show_dead()->set_queue(queue);
      show.mutable_show_dead()->set_id(one.id());
      show.mutable_show_dead()->set_with_payload(true);
      letters.push_back(control.request(show).dead_letter());
    }
    return letters;
  }

  void replay(const std::string& queue) override {
    engine::weir_broker::Control control(server_->url());
    v1::ControlRequest request;
    request.mutable_replay_dead()->set_queue(queue);
    request.mutable_replay_dead()->set_all(true);
    (void)control.request(request);
  }

  [[nodiscard]] v1::Queues::Queue queue(const std::string& name) override {
    engine::weir_broker::Control control(server_->url());
    v1::ControlRequest list;
    list.mutable_list_queues();
    const v1::ControlReply reply = control.request(list);
    for (const auto& one : reply.queues().queues()) {
      if (one.name() == name) return one;
    }
    return {};
  }

 private:
  void start() {
    std::vector<broker::core::QueueConfig> configs;
    for (const auto& [name, policy] : queues()) configs.push_back({name, policy});
    server_.emplace(settings_, std::move(configs));
    thread_ = std::thread([this] { (void)server_->run(); });
  }
  void stop() {
    server_->stop();
    thread_.join();
    server_.reset();
  }

  Folder folder_;
  broker::BrokerSettings settings_;
  std::optional<broker::Server> server_;
  std::thread thread_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

std::unique_ptr<Rig> make_weir_rig() { return std::make_unique<WeirRig>(); }

}  // namespace weir::contract
