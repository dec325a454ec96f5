#include "answer_head.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/system/system_error.hpp>

using testing::HasSubstr;

namespace webhooks {
namespace {

AnswerHead of(std::string_view bytes) {
  AnswerHead head;
  head.take(bytes);
  return head;
}

std::string no_answer_because(std::string_view bytes) {
  try {
    of(bytes);
    return "none";
  } catch (const boost::system::system_error& error) {
    return error.code().message();
  }
}

TEST(WebhooksAnswerHead, WhatComesBeforeTheAnswerIsPassedOverHoweverOften) {
  for (const char* before :
       {"100 Continue", "102 Processing", "103 Early Hints", "199 New", "101 Switching Protocols"}) {
    std::string bytes;
    for (int i = 0; i < 95; ++i) {
      bytes += std::string("HTTP/1.1 ") + before + "\r\nRetry-After: 9\r\nLink: </style.css>; rel=preload\r\n\r\n";
    }
    AnswerHead head = of(bytes);
    EXPECT_EQ(head.status(), 0U) << before;

    head.take("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n");

    EXPECT_EQ(head.status(), 503U) << before;
    EXPECT_EQ(head.retry_after(), "7") << before;
  }
}

TEST(WebhooksAnswerHead, TwoHundredsAreKnownByTheirFirstLineWhateverFollows) {
  for (const std::string line :
       {"HTTP/1.1 200 OK\r\n", "HTTP/1.0 204 \r\n", "HTTP/1.1 299\r\n", "HTTP/1.1 202 Fine\n"}) {
    AnswerHead head = of(line);
    EXPECT_TRUE(head.complete()) << line;
    head.take(std::string(1 << 20, 'x') + "\0\r\n: : \r\nHTTP/1.1 500 No\r\n");
    EXPECT_EQ(head.status() / 100, 2U) << line;
  }
}

TEST(WebhooksAnswerHead, IsTheSameInWhateverPiecesItComes) {
  const std::string bytes =
      "HTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 429 Too Many\r\nA: b\r\n folded\r\nretry-AFTER: \t12 \r\nRetry-After: "
      "99\r\n\r\n";
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    AnswerHead head;
    for (std::size_t at = 0; at < bytes.size(); at += size) head.take(std::string_view(bytes).substr(at, size));
    EXPECT_EQ(head.status(), 429U) << size;
    EXPECT_EQ(head.retry_after(), "12") << size;
    EXPECT_TRUE(head.complete()) << size;
  }
}

TEST(WebhooksAnswerHead, OfOthersSixtyFourKilobytesAreReadForTheOneFieldThatCounts) {
  std::string bytes = "HTTP/1.1 503 Busy\r\n";
  while (bytes.size() < answer_head_most_bytes - 1000) bytes += "X-Filler: " + std::string(500, 'x') + "\r\n";

  EXPECT_EQ(of(bytes + "Retry-After: 7\r\n").retry_after(), "7");
  const AnswerHead endless =
      of(bytes + "X: " + std::string(answer_head_most_bytes, 'x') + "\r\nRetry-After: 7\r\n\r\n");
  EXPECT_EQ(endless.status(), 503U) << "the status stands";
  EXPECT_TRUE(endless.complete());
  EXPECT_EQ(endless.retry_after(), "");
}

TEST(WebhooksAnswerHead, FieldsThatAreNoneAreReadOver) {
  const AnswerHead head =
      of("HTTP/1.1 500 Oh\r\nno colon\r\n: none\r\nRetry-After : 5\r\n\x01\xFF: \x01\r\nRetry-After: 3\r\n\r\n");
  EXPECT_EQ(head.retry_after(), "3");
}

TEST(WebhooksAnswerHead, WhatIsNoHttpIsNoAnswer) {
  for (const char* bytes : {"220 smtp.example.org ESMTP\r\n", "HTTP/2 200\r\n", "HTTP/1.1 20\r\n",
                            "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 abc OK\r\n", "HTTP/1.1  200 OK\r\n",
                            "HTTP/1.1 099 OK\r\n", "http/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\ngarbage\r\n"}) {
    EXPECT_THAT(no_answer_because(bytes), HasSubstr("bad")) << bytes;
  }
  EXPECT_THAT(no_answer_because("HTTP/1.1 200" + std::string(answer_head_most_bytes, ' ')), HasSubstr("limit"));
  std::string without_end;
  while (without_end.size() < 2 * answer_head_most_bytes) without_end += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_THAT(no_answer_because(without_end), HasSubstr("limit"));
}

}  // namespace
}  // namespace webhooks
