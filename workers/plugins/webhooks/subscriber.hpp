#pragma once

/// A subscriber for the tests: a real HTTP server on loopback that gives prepared answers.

#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace webhooks {

/// Takes one connection after the other. Answers the i-th request with the i-th answer, and later ones with the last.
/// An empty answer closes the connection without one. `silent` holds it open and sends nothing.
class Subscriber {
 public:
  static constexpr const char* silent = "silent";
  /// At the end of an answer: the connection stays open, and no more is sent.
  static constexpr std::string_view held_open = "(held open)";

  explicit Subscriber(std::vector<std::string> answers)
      : answers_(std::move(answers)), acceptor_(loop_, {boost::asio::ip::address_v4::loopback(), 0}) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Subscriber() {
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    thread_.join();
  }
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  [[nodiscard]] std::string url(const std::string& resource = "/") const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + resource;
  }
  [[nodiscard]] std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  static std::string answer(const std::string& status, const std::string& headers = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: 2\r\n" + headers + "\r\nok";
  }

 private:
  void serve() {
    std::vector<boost::asio::ip::tcp::socket> held;
    for (std::size_t i = 0;; ++i) {
      boost::system::error_code error;
      boost::asio::ip::tcp::socket socket(loop_);
      acceptor_.accept(socket, error);
      if (error) return;
      std::string request;
      const std::size_t head = boost::asio::read_until(socket, boost::asio::dynamic_buffer(request), "\r\n\r\n", error);
      const std::size_t length = request.find("Content-Length: ");
      const std::size_t body = length == std::string::npos ? 0 : std::stoul(request.substr(length + 16));
      if (request.size() < head + body) {
        boost::asio::read(socket, boost::asio::dynamic_buffer(request),
                          boost::asio::transfer_exactly(head + body - request.size()), error);
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      const std::string& answer = answers_[std::min(i, answers_.size() - 1)];
      if (answer == silent) {
        held.push_back(std::move(socket));
      } else if (answer.ends_with(held_open)) {
        boost::asio::write(socket, boost::asio::buffer(answer, answer.size() - held_open.size()), error);
        held.push_back(std::move(socket));
      } else {
        boost::asio::write(socket, boost::asio::buffer(answer), error);
      }
    }
  }

  const std::vector<std::string> answers_;
  boost::asio::io_context loop_;
  boost::asio::ip::tcp::acceptor acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace webhooks
