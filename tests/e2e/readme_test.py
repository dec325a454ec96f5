#!/usr/bin/python3
"""What the README types works as typed."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deployment import BUILD, ROOT, WEIR, free_port, main

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_deployment_file_is_good():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bakery.yaml").write_text(blocks("yaml")[0])
        Path(folder, "build").mkdir()
        shutil.copy(next(BUILD.glob("tests/**/bakery.so")), Path(folder, "build"))
        for command in (["check", "bakery.yaml"], ["check", "--load", "bakery.yaml"]):
            result = subprocess.run([WEIR, *command], cwd=folder, capture_output=True, text=True)
            assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def test_every_command_of_the_table_helps():
    commands = re.findall(r"`(weir [a-z][^`]*)`", README[README.index("## Commands"):README.index("## What it promises")])
    assert len(commands) >= 10, commands
    for command in commands:
        words = command.split()[1:]
        ways = [[words[0], way] for way in words[1].split("\\|")] if "\\|" in command and words[0] != "publish" else [[words[0]]]
        for way in ways:
            result = subprocess.run([WEIR, *way, "--help"], capture_output=True, text=True)
            said = f"weir {' '.join(way)} --help: {result.stdout}{result.stderr}"
            if way[0] == "bench":  # drain and backlog are its argument
                continue
            assert result.returncode == 0 and "weir " + way[0] in result.stdout, said


class Project:
    """The README's own project in a folder, configured as the README does it."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        handler, payments, place = blocks("cpp")
        for name, text in {"bakery.cpp": handler, "payments.hpp": payments, "place.cpp": place,
                           "bakery.proto": blocks("proto")[0], "CMakeLists.txt": blocks("cmake")[0],
                           "bakery.yaml": blocks("yaml")[0]}.items():
            (self.folder / name).write_text(text)
        (self.folder / "weir").symlink_to(ROOT)
        # A plugin and its host are one compiler's, and have the same sanitizers, or none.
        host = dict(re.findall(r"^(WEIR_SANITIZE|CMAKE_CXX_COMPILER):\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(),
                               re.MULTILINE))
        self.is_gnu = "clang" not in host.get("CMAKE_CXX_COMPILER", "")
        self.configured = self.run("cmake", "-S", ".", "-B", "build", "-G", "Ninja",
                                   *(f"-D{name}={value}" for name, value in host.items()))
        return self

    def __exit__(self, *error):
        self.temporary.cleanup()

    def run(self, *command, fails=False):
        """What it prints."""
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert (result.returncode != 0) == fails, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout + result.stderr

    def build(self, handler, **how):
        (self.folder / "bakery.cpp").write_text(handler)
        return self.run("ninja", "-C", "build", "bakery", **how)


def test_a_plugin_in_a_project_of_its_own_builds_loads_and_is_told_what_is_wrong_with_it():
    with Project() as project:
        handler = (project.folder / "bakery.cpp").read_text()
        assert "no CMAKE_BUILD_TYPE was given; it is Release" in project.configured, project.configured
        # What it types: the program's place, and the plugin's as the deployment file has it.
        assert "build/weir/bin/weir" in README
        assert "weir/bin/weir:" in project.run("ninja", "-C", "build", "-t", "query", "weir/bin/weir")
        project.build(handler)
        project.run("ninja", "-C", "build", "CMakeFiles/place.dir/place.cpp.o")
        assert "-O3" in (project.folder / "build/build.ninja").read_text()
        project.run(WEIR, "check", "--load", "bakery.yaml")
        # A handler without any co_ keyword, and one that does not await.
        said = project.build(handler + "weir::task<> forgot(weir::Context&, const bakery::OrderPlaced&) {}\n"
                             "weir::task<> alone(weir::Context&, const bakery::OrderPlaced& order) {\n"
                             "  charge(order);\n  co_return;\n}\n", fails=True)
        assert re.search("error: .*(return-type|non-void)", said) and re.search("error: .*(nodiscard|unused-result)", said), said
        if project.is_gnu:
            # In the source, and in what it includes: with file and line, before anything is compiled.
            bad = handler.replace("charge(order)", "charge(bakery::OrderPlaced{order})")
            line = bad[:bad.index("OrderPlaced{order}")].count("\n") + 1
            said = project.build(bad, fails=True)
            assert f"bakery.cpp:{line}: error: `bakery::OrderPlaced{{…}}` is a temporary of this co_await" in said, said
            payments = project.folder / "payments.hpp"
            payments.write_text(payments.read_text() + "weir::task<> all(std::string s) { co_await f(Agg{s, 1}); }\n")
            assert re.search(r"payments.hpp:\d+: error: `Agg\{…\}` is a temporary", project.build(handler, fails=True))


def test_the_program_that_publishes_does_what_its_comments_say():
    source = next(BUILD.glob("tests/**/bakery/place.cpp"))
    assert source.read_text() == blocks("cpp")[2], "the build has another"
    with tempfile.TemporaryDirectory() as folder:
        port = str(free_port())
        yaml = re.sub(r"(?ms)^workers:.*", "", blocks("yaml")[0]).replace("7733", port)
        Path(folder, "bakery.yaml").write_text(yaml)
        with subprocess.Popen([WEIR, "--log-level", "error", "broker", "bakery.yaml"], cwd=folder) as broker:
            try:
                result = subprocess.run([BUILD / "bin/place", f"weir://127.0.0.1:{port}"], capture_output=True, text=True,
                                        timeout=20)
            finally:
                broker.terminate()
        assert result.returncode == 0 and result.stdout == "orders/1.0 is confirmed\n", result


if __name__ == "__main__":
    main(globals())
