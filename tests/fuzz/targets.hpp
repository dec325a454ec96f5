#pragma once

/// The targets. Each takes any bytes and returns; README.md says what each promises meanwhile.

#include <string_view>

namespace weir::fuzz {

void frame(std::string_view bytes);
void broker(std::string_view bytes);
void worker(std::string_view bytes);
void publisher(std::string_view bytes);
void stored(std::string_view bytes);
void deployment(std::string_view bytes);
void lines(std::string_view bytes);
void recorder(std::string_view bytes);

}  // namespace weir::fuzz
