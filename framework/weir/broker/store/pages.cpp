#include "weir/broker/store/pages.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

namespace weir::broker {
namespace {

// As in LMDB's mdb.c, on a 64-bit machine.
constexpr std::uint32_t meta_magic = 0xBEEFC0DE;
constexpr std::uint32_t data_version = 1;
constexpr std::uint64_t no_page = ~std::uint64_t{0};
constexpr std::size_t page_head = 16;
constexpr std::size_t node_head = 8;
constexpr unsigned depth_most = 32;
enum PageFlags : std::uint16_t { branch_page = 1, leaf_page = 2, overflow_page = 4, meta_page = 8 };
enum NodeFlags : std::uint16_t { big_data = 1, sub_data = 2 };
/// The persistent flags of a database. None of ours has one; the list of free pages has numbers for keys.
constexpr std::uint16_t integer_keys = 8;

struct Tree {
  std::uint32_t pad;
  std::uint16_t flags, depth;
  std::uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
static_assert(sizeof(Tree) == 48);

struct Meta {
  std::uint32_t magic, version;
  std::uint64_t address, map_size;
  Tree free, main;
  std::uint64_t last_page, transaction;
};
static_assert(sizeof(Meta) == 136);

struct Wrong {
  std::string what;
};

template <class T>
T read(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct Node {
  std::string_view key;
  std::uint16_t flags{};
  std::uint64_t child{};   ///< of a branch
  std::uint64_t size{};    ///< of a leaf's value
  std::string_view value;  ///< unless it has pages of its own: then 8 bytes that say where
  std::size_t taken{};     ///< bytes of the page
};

class Walk {
 public:
  Walk(std::string_view file, Looked looked) : file_(file), looked_(looked) {}
  void all();

 private:
  void choose_meta();
  [[nodiscard]] Meta meta(std::uint64_t page) const;
  void tree(const Tree& tree, const std::string& name);
  struct Bounds {
    std::optional<std::string_view> least, below;
  };
  void page(std::uint64_t number, unsigned depth, Bounds bounds);
  [[nodiscard]] std::vector<Node> nodes(std::string_view page, bool leaf, std::uint64_t number) const;
  void leaf(const std::vector<Node>& nodes, std::uint64_t number);
  [[nodiscard]] std::string_view big_value(const Node& node, std::uint64_t number);
  void take_free(std::string_view value);
  /// The bytes of `count` pages from `first` on; each of them is in use from here on.
  std::string_view claim(std::uint64_t first, std::uint64_t count, std::uint64_t from);
  [[nodiscard]] int compare(std::string_view a, std::string_view b) const;
  [[noreturn]] void fail(std::uint64_t page, const std::string& what) const {
    throw Wrong{"page " + std::to_string(page) + " (" + name_ + "): " + what};
  }

  std::string_view file_;
  Looked looked_;
  std::size_t page_bytes_{};
  Meta meta_{};
  std::vector<bool> claimed_;

  // Of the tree that is being walked.
  std::string name_;
  Tree tree_{};
  Tree found_{};
  bool is_free_list_ = false;
  std::vector<std::pair<std::string, Tree>> named_;  ///< the trees that the main one holds
};

Meta Walk::meta(std::uint64_t page) const {
  const std::string_view bytes = file_.substr(page * page_bytes_, page_head + sizeof(Meta));
  const auto meta = read<Meta>(bytes, page_head);
  if (read<std::uint64_t>(bytes, 0) != page || read<std::uint16_t>(bytes, 10) != meta_page ||
      meta.magic != meta_magic || meta.version != data_version || meta.free.pad != page_bytes_ ||
      meta.free.flags != integer_keys || meta.main.flags != 0) {
    throw Wrong{"page " + std::to_string(page) + " is not the description of an LMDB file that it was"};
  }
  return meta;
}

void Walk::choose_meta() {
  if (file_.size() < page_head + sizeof(Meta))
    throw Wrong{"it is " + std::to_string(file_.size()) + " bytes long: cut off"};
  page_bytes_ = read<Meta>(file_, page_head).free.pad;
  if (page_bytes_ < 512 || page_bytes_ > 65536 || (page_bytes_ & (page_bytes_ - 1)) != 0) {
    throw Wrong{"page 0 is not the description of an LMDB file"};
  }
  if (file_.size() < 2 * page_bytes_) throw Wrong{"it is " + std::to_string(file_.size()) + " bytes long: cut off"};
  const std::array<Meta, 2> both{meta(0), meta(1)};
  // Each commit writes the description that its number names, so the two are of neighbours. (Both are 0 in a new file.)
  const std::size_t newer = both[1].transaction > both[0].transaction ? 1 : 0;
  meta_ = both[newer];
  const std::uint64_t apart = meta_.transaction - both[1 - newer].transaction;
  if (meta_.transaction != 0 && (meta_.transaction % 2 != newer || apart == 0 || (looked_.was_synced && apart != 1))) {
    throw Wrong{"its two descriptions are of commits " + std::to_string(both[0].transaction) + " and " +
                std::to_string(both[1].transaction) + ", which are no neighbours"};
  }
  if (meta_.last_page >= (std::uint64_t{1} << 48))
    throw Wrong{"its last page is said to be " + std::to_string(meta_.last_page)};
  // (Its last pages may be free; then they were never written.)
  claimed_.assign(std::max<std::uint64_t>(2, std::min(meta_.last_page + 1, file_.size() / page_bytes_)), false);
  claimed_[0] = claimed_[1] = true;
}

std::string_view Walk::claim(std::uint64_t first, std::uint64_t count, std::uint64_t from) {
  const std::uint64_t end = first + count;
  if (count == 0 || end < first || end > meta_.last_page + 1) {
    fail(from, "it names pages " + std::to_string(first) + " to " + std::to_string(end - 1) + " of " +
                   std::to_string(meta_.last_page + 1));
  }
  if (end > claimed_.size()) {
    fail(from, "what it names goes to byte " + std::to_string(end * page_bytes_) + ", and the file is " +
                   std::to_string(file_.size()) + " bytes long: cut off");
  }
  for (std::uint64_t page = first; page < end; ++page) {
    if (claimed_[page]) fail(from, "page " + std::to_string(page) + " is named twice");
    claimed_[page] = true;
  }
  return file_.substr(first * page_bytes_, count * page_bytes_);
}

int Walk::compare(std::string_view a, std::string_view b) const {
  if (!is_free_list_) return a.compare(b);
  const auto x = read<std::uint64_t>(a, 0);
  const auto y = read<std::uint64_t>(b, 0);
  return x < y ? -1 : x > y ? 1 : 0;
}

std::vector<Node> Walk::nodes(std::string_view page, bool leaf, std::uint64_t number) const {
  const std::size_t lower = read<std::uint16_t>(page, 12);
  const std::size_t upper = read<std::uint16_t>(page, 14);
  if (lower < page_head || lower > upper || upper > page.size() || lower % 2 != 0) fail(number, "its bounds are wrong");
  std::vector<Node> all((lower - page_head) / 2);
  if (all.size() < (leaf || is_free_list_ ? 1 : 2)) fail(number, "it has too few entries");
  std::size_t taken = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t at = read<std::uint16_t>(page, page_head + 2 * i);
    if (at < upper || at + node_head > page.size()) fail(number, "an entry is not in it");
    Node& node = all[i];
    const std::uint64_t low = read<std::uint16_t>(page, at) | std::uint64_t{read<std::uint16_t>(page, at + 2)} << 16;
    node.flags = read<std::uint16_t>(page, at + 4);
    const std::size_t key_bytes = read<std::uint16_t>(page, at + 6);
    std::size_t bytes = node_head + key_bytes;
    if (leaf) {
      node.size = low;
      const std::uint64_t here = (node.flags & big_data) != 0 ? sizeof(std::uint64_t) : node.size;
      bytes += here;
      if (at + bytes > page.size()) fail(number, "an entry is longer than it");
      node.value = page.substr(at + node_head + key_bytes, here);
    } else {
      node.child = low | std::uint64_t{node.flags} << 32;
      if (at + bytes > page.size()) fail(number, "an entry is longer than it");
    }
    node.key = page.substr(at + node_head, key_bytes);
    const bool leftmost = !leaf && i == 0;  // its key is never looked at
    if (!leftmost && (key_bytes == 0 || (is_free_list_ && key_bytes != sizeof(std::uint64_t)))) {
      fail(number, "a key of " + std::to_string(key_bytes) + " bytes");
    }
    taken += (bytes + 1) & ~std::size_t{1};
  }
  if (taken != page.size() - upper) fail(number, "its entries do not fill it");
  return all;
}

std::string_view Walk::big_value(const Node& node, std::uint64_t number) {
  std::uint64_t count = (page_head - 1 + node.size) / page_bytes_ + 1;
  const auto first = read<std::uint64_t>(node.value, 0);
  const std::string_view head = claim(first, 1, number);
  if (looked_.at_long_values || is_free_list_) {
    // (The list of free pages is written more than once in a commit, and a value that got shorter keeps its pages.)
    const std::uint64_t has = read<std::uint32_t>(head, 12);
    if (read<std::uint64_t>(head, 0) != first || read<std::uint16_t>(head, 10) != overflow_page ||
        (is_free_list_ ? has < count : has != count)) {
      fail(first, "it is not the first page of the long value that it was");
    }
    count = has;
  }
  if (count > 1) claim(first + 1, count - 1, number);
  found_.overflow_pages += count;
  return file_.substr(first * page_bytes_ + page_head, node.size);
}

void Walk::take_free(std::string_view value) {
  const std::uint64_t count = value.size() < 8 ? no_page : read<std::uint64_t>(value, 0);
  if (value.size() % 8 != 0 || count > value.size() / 8 - 1) throw Wrong{"the list of free pages has a wrong length"};
  std::uint64_t before = no_page;
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto page = read<std::uint64_t>(value, 8 * i);
    if (page >= before || page > meta_.last_page || page < 2) throw Wrong{"the list of free pages is not in order"};
    before = page;
    if (page >= claimed_.size()) continue;  // was never written
    if (claimed_[page]) throw Wrong{"page " + std::to_string(page) + " is in use, and in the list of free pages"};
    claimed_[page] = true;
  }
}

void Walk::leaf(const std::vector<Node>& all, std::uint64_t number) {
  const bool is_main = name_ == "main";
  for (const Node& node : all) {
    ++found_.entries;
    if ((node.flags & ~(is_main ? sub_data : big_data)) != 0) fail(number, "an entry of an unknown kind");
    if (is_main) {
      if (node.flags != sub_data || node.value.size() != sizeof(Tree)) fail(number, "an entry that is no database");
      named_.emplace_back(node.key, read<Tree>(node.value, 0));
      continue;
    }
    const std::string_view value = (node.flags & big_data) != 0 ? big_value(node, number) : node.value;
    if (is_free_list_) take_free(value);
  }
}

void Walk::page(std::uint64_t number, unsigned depth, Bounds bounds) {
  const std::string_view bytes = claim(number, 1, number);
  const bool is_leaf = depth == tree_.depth;
  if (read<std::uint64_t>(bytes, 0) != number) fail(number, "it is not the page that it was");
  if (read<std::uint16_t>(bytes, 10) != (is_leaf ? leaf_page : branch_page))
    fail(number, "it is not of the kind that it was");
  const std::vector<Node> all = nodes(bytes, is_leaf, number);
  for (std::size_t i = is_leaf ? 0 : 1; i < all.size(); ++i) {
    const bool first = i == (is_leaf ? 0 : 1);
    if (first ? bounds.least && compare(all[i].key, *bounds.least) < 0 : compare(all[i - 1].key, all[i].key) >= 0) {
      fail(number, "its keys are not in order");
    }
  }
  if (bounds.below && (is_leaf || all.size() > 1) && compare(all.back().key, *bounds.below) >= 0) {
    fail(number, "its keys are not in order");
  }
  if (is_leaf) {
    ++found_.leaf_pages;
    return leaf(all, number);
  }
  ++found_.branch_pages;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Bounds its = bounds;
    if (i > 0) its.least = all[i].key;
    if (i + 1 < all.size()) its.below = all[i + 1].key;
    page(all[i].child, depth + 1, its);
  }
}

void Walk::tree(const Tree& tree, const std::string& name) {
  name_ = name;
  tree_ = tree;
  found_ = {};
  is_free_list_ = name == "free pages";
  if (!is_free_list_ && (tree.pad != 0 || tree.flags != 0)) throw Wrong{name + " is not of the kind that it was"};
  if (tree.depth > depth_most || (tree.root == no_page) != (tree.depth == 0)) throw Wrong{name + " has a wrong depth"};
  if (tree.root != no_page) page(tree.root, 1, {});
  if (found_.branch_pages != tree.branch_pages || found_.leaf_pages != tree.leaf_pages ||
      found_.overflow_pages != tree.overflow_pages || found_.entries != tree.entries) {
    throw Wrong{name + " has " + std::to_string(found_.entries) + " entries in " +
                std::to_string(found_.branch_pages + found_.leaf_pages + found_.overflow_pages) +
                " pages, and is said to have " + std::to_string(tree.entries) + " in " +
                std::to_string(tree.branch_pages + tree.leaf_pages + tree.overflow_pages)};
  }
}

void Walk::all() {
  choose_meta();
  tree(meta_.main, "main");
  const auto named = std::move(named_);
  for (const auto& [name, its] : named) tree(its, name);
  tree(meta_.free, "free pages");  // last: none of them is in use
}

}  // namespace

bool may_be_removed(std::size_t key_bytes, std::string_view value, std::size_t page_bytes) {
  const std::size_t most_in_a_leaf = ((page_bytes - page_head) / 2 & ~std::size_t{1}) - 2;
  if (node_head + key_bytes + value.size() <= most_in_a_leaf) return true;
  constexpr std::uint16_t dirty = 0x10;  // written in this transaction
  const std::string_view head(value.data() - page_head, page_head);
  return (read<std::uint16_t>(head, 10) & ~dirty) == overflow_page &&
         read<std::uint32_t>(head, 12) == (page_head - 1 + value.size()) / page_bytes + 1;
}

std::optional<std::string> why_unusable(std::string_view file, Looked looked) {
  try {
    Walk(file, looked).all();
    return std::nullopt;
  } catch (const Wrong& wrong) {
    return wrong.what;
  }
}

std::optional<std::string> why_unusable(const std::filesystem::path& file, Looked looked) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    return std::string("it cannot be read: ") + std::strerror(error);
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const at = size == 0 ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  if (at == MAP_FAILED)
    return size == 0 ? "it is empty: cut off" : std::string("it cannot be read: ") + std::strerror(errno);
  const auto why = why_unusable({static_cast<const char*>(at), size}, looked);
  ::munmap(at, size);
  return why;
}

}  // namespace weir::broker
