#!/usr/bin/python3
"""Each planted fault of tests/simulation/mutants still has its place: no change moves it out of reach unseen."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "simulation/mutants"))
import checks
import faults
import sources


def why_not(name):
    try:
        faults.planted(faults.read(faults.HERE / f"{name}.fault"))
        return None
    except faults.Unfit as why:
        return f"{name}: {why}"


def test_each_planted_fault_has_its_place():
    names = faults.names()
    assert len(names) >= 96, f"only {len(names)} faults in {faults.HERE}"
    unfit = [why for why in map(why_not, names) if why]
    assert not unfit, "\n  ".join(["mend these .fault files (tests/simulation/README.md says how):", *unfit])


SOURCE = """
namespace weir::core {
constexpr int most = 3;  // a constant
struct Apply {
  Apply(int a) : a_{a}, b_(f(a)) { go(a_ < 1); }
  void operator()(const Put& put) const noexcept { go("}"); }
  std::vector<int> all_{};
};
auto Apply::all() -> std::map<int, int> {
  const auto one = [&](int i) { return i; };
  return {{1, one(2)}};
}
}  // namespace weir::core
"""


def test_functions_and_constants_are_found_by_name():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "apply.cpp"
        path.write_text(SOURCE)
        found = [(one.name.removeprefix("weir::core::"), one.line, one.body[-1].text) for one in sources.definitions_of(path)]
    assert found == [("most", 3, ";"), ("Apply::Apply", 5, "}"), ("Apply::operator()", 6, "}"), ("Apply::all", 9, "}")], found


if __name__ == "__main__":
    checks.run(globals())
