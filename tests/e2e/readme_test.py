#!/usr/bin/python3
"""What the README types works as typed."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deployment import BUILD, ROOT, WEIR, main

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_deployment_file_is_good():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bakery.yaml").write_text(blocks("yaml")[0])
        shutil.copy(next(BUILD.glob("tests/**/bakery.so")), folder)
        result = subprocess.run([WEIR, "check", "bakery.yaml"], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


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


def test_a_plugin_in_a_project_of_its_own_builds_and_loads():
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "bakery.cpp").write_text(blocks("cpp")[0])
        for name in ("bakery.proto", "payments.hpp"):
            shutil.copy(ROOT / "tests/unit/readme" / name, project)
        (project / "CMakeLists.txt").write_text(blocks("cmake")[0])
        (project / "weir").symlink_to(ROOT)
        (project / "bakery.yaml").write_text(blocks("yaml")[0].replace("./bakery.so", "./build/bakery.so"))
        # A plugin and its host are one compiler's, and have the same sanitizers, or none.
        host = dict(re.findall(r"^(WEIR_SANITIZE|CMAKE_CXX_COMPILER):\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE))
        for command in (["cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                         *(f"-D{name}={value}" for name, value in host.items())],
                        ["ninja", "-C", "build", "bakery"], [WEIR, "check", "bakery.yaml"]):
            result = subprocess.run(command, cwd=project, capture_output=True, text=True)
            assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


if __name__ == "__main__":
    main(globals())
