#include "http_post.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>

#include "answer_head.hpp"
#include "subscriber.hpp"

using namespace std::string_literals;

namespace webhooks {
namespace {

using testing::HasSubstr;

std::string reason_of(const std::string& url) {
  try {
    target_of(url);
    return "none";
  } catch (const BadUrl& error) {
    return error.what();
  }
}

Answer post_now(const std::string& url, std::string_view body) {
  boost::asio::io_context loop;
  const Target target = target_of(url);
  const std::vector<Header> headers = {{"X-Weir-Event", "push"}};
  Answer answer;
  std::exception_ptr failure;
  boost::asio::co_spawn(loop, post(target, headers, body), [&](std::exception_ptr error, Answer got) {
    failure = error;
    answer = std::move(got);
  });
  loop.run();
  if (failure) std::rethrow_exception(failure);
  return answer;
}

TEST(WebhooksUrl, ItsPartsAreTakenApart) {
  const Target plain = target_of("http://example.org");
  EXPECT_EQ(plain.host, "example.org");
  EXPECT_EQ(plain.port, "80");
  EXPECT_EQ(plain.resource, "/");
  EXPECT_EQ(plain.authority, "example.org");

  const Target full = target_of("http://[::1]:8080/hook%20s?a=b&c=%C3%A4#part");
  EXPECT_EQ(full.host, "::1");
  EXPECT_EQ(full.port, "8080");
  EXPECT_EQ(full.resource, "/hook%20s?a=b&c=%C3%A4");
  EXPECT_EQ(full.authority, "[::1]:8080");
}

TEST(WebhooksUrl, WhatIsNotHttpIsRefusedWithAReason) {
  EXPECT_EQ(reason_of("https://example.org/"), "bad url: https is not in this version; use http");
  EXPECT_EQ(reason_of("ftp://example.org/"), "bad url: not http");
  EXPECT_EQ(reason_of("http://user:pass@example.org/"), "bad url: user and password are not in this version");
  EXPECT_EQ(reason_of("http:///path"), "bad url: no host");
  for (const char* url :
       {"", "example.org", "http://a b/", "http://example.org/\r\nX: y", "http://h:port/", "http://h:99999/"}) {
    EXPECT_THAT(reason_of(url), HasSubstr("bad url")) << url;
  }
}

TEST(WebhooksPost, TheBodyArrivesByteByByteUnderItsHeaders) {
  Subscriber subscriber({Subscriber::answer("200 OK")});
  const std::string body = "{\"zen\": \"\x00\xFF\r\n\r\n\"}"s;

  const Answer answer = post_now(subscriber.url("/hook?x=1"), body);

  EXPECT_EQ(answer.status, 200U);
  const std::string request = subscriber.requests().at(0);
  EXPECT_TRUE(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n")) << request;
  EXPECT_THAT(request, HasSubstr("\r\nHost: 127.0.0.1:"));
  EXPECT_THAT(request, HasSubstr("\r\nX-Weir-Event: push\r\n"));
  EXPECT_EQ(request.substr(request.size() - body.size() - 4), "\r\n\r\n" + body);
}

TEST(WebhooksPost, TheStatusAndRetryAfterAreTheAnswer) {
  Subscriber subscriber({Subscriber::answer("503 Busy", "Retry-After: 7\r\n")});

  const Answer answer = post_now(subscriber.url(), "{}");

  EXPECT_EQ(answer.status, 503U);
  EXPECT_EQ(answer.retry_after, "7");
}

TEST(WebhooksPost, AnAnswerWithoutEndIsCutOff) {
  Subscriber subscriber({"HTTP/1.1 200 OK\r\n\r\n" + std::string(10 * answer_body_most_bytes, 'x')});
  EXPECT_EQ(post_now(subscriber.url(), "{}").status, 200U);

  Subscriber rambling({"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX: " + std::string(10 * answer_head_most_bytes, 'x')});
  const Answer answer = post_now(rambling.url(), "{}");
  EXPECT_EQ(answer.status, 503U);
  EXPECT_EQ(answer.retry_after, "7");
}

TEST(WebhooksPost, WhatComesBeforeTheAnswerIsNotTheAnswer) {
  const std::string before = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
  Subscriber subscriber({"HTTP/1.1 100 Continue\r\n\r\n" + before + before + Subscriber::answer("202 Accepted")});
  EXPECT_EQ(post_now(subscriber.url(), "{}").status, 202U);

  Subscriber silent_then({"HTTP/1.1 102 Processing\r\n\r\n"});
  EXPECT_THROW(post_now(silent_then.url(), "{}"), boost::system::system_error) << "it never answered";
}

TEST(WebhooksPost, TwoHundredsAreDecidedByTheStatusLine) {
  const std::string many = "Set-Cookie: " + std::string(1000, 'c') + "\r\n";
  std::string headers;
  for (int i = 0; i < 100; ++i) headers += many;
  Subscriber cookies({Subscriber::answer("200 OK", headers)});
  EXPECT_EQ(post_now(cookies.url(), "{}").status, 200U);

  Subscriber garbling({"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nContent-Length: 6\r\n: \x01\r\n"});
  EXPECT_EQ(post_now(garbling.url(), "{}").status, 201U);
}

TEST(WebhooksPost, AHeadThatDoesNotEndIsWaitedForASecond) {
  Subscriber stalling({"HTTP/1.1 404 Not Found\r\nX: " + std::string(Subscriber::held_open)});

  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(post_now(stalling.url(), "{}").status, 404U);

  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

TEST(WebhooksPost, NoAnswerIsAnError) {
  Subscriber subscriber({""});
  EXPECT_THROW(post_now(subscriber.url(), "{}"), boost::system::system_error);

  Subscriber garbling({"220 smtp.example.org ESMTP\r\n\r\n"});
  EXPECT_THROW(post_now(garbling.url(), "{}"), boost::system::system_error);

  std::string gone;
  {
    Subscriber leaving({""});
    gone = leaving.url();
  }
  EXPECT_THROW(post_now(gone, "{}"), boost::system::system_error);
}

TEST(WebhooksPost, NothingEndsAHeaderEarly) {
  EXPECT_TRUE(fits_header("push"));
  EXPECT_TRUE(fits_header("f\xC3\xBC"));
  EXPECT_FALSE(fits_header("push\r\nX-Weir-Signature-256: forged"));
  EXPECT_FALSE(fits_header(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace webhooks
