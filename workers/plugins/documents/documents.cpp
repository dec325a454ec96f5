/// Reads files into a search index. Queue `documents` has the names of files, queue `index` their words.

#include <weir/handler.hpp>

#include "documents/documents.pb.h"
#include "text.hpp"
#include "writer.hpp"

namespace {

/// Blocks on the disk and keeps the CPU busy, so it runs in weir::offload.
documents::Entry entry_of(const std::string& path) {
  const std::string text = documents::decoded(documents::uncompressed(documents::read_file(path)));
  documents::Entry entry;
  entry.set_path(path);
  entry.set_title(documents::title_of(text));
  entry.set_words(documents::words_of(text));
  entry.set_bytes(text.size());
  return entry;
}

weir::task<> read_document(weir::Context& ctx, const documents::Document& document) {
  // The read is offloaded too: Asio's asynchronous files need io_uring on Linux, which containers often forbid.
  try {
    const documents::Entry entry = co_await weir::offload([&document] { return entry_of(document.path()); });
    ctx.publish("index", entry);  // leaves together with this message's ack: no file is lost between the queues
  } catch (const documents::NotText& why) {
    throw weir::Reject(why.what());
  }
}

weir::task<> index_entry(weir::Context& ctx, documents::Writer& writer, const documents::Entry& entry) {
  documents::Index::Row row{.message = ctx.name().text(),
                            .path = entry.path(),
                            .title = entry.title(),
                            .words = entry.words(),
                            .bytes = entry.bytes()};
  co_await writer.write(std::move(row));
}

}  // namespace

WEIR_PLUGIN(plugin) {
  plugin.on<documents::Document>("documents", read_document);

  // Opens the database with the first row, so that workers of `documents` alone never touch it.
  const auto writer = std::make_shared<documents::Writer>(plugin.path("index", "./documents.db"));
  plugin.on<documents::Entry>("index", [writer](weir::Context& ctx, const documents::Entry& entry) {
    return index_entry(ctx, *writer, entry);
  });
}
