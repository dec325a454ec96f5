#include "weir/broker/core/core.hpp"
