#!/usr/bin/env python3
"""Runs the Autobahn WebSocket test suite against the gateway's own frames, behind which an echo stands.

    run.py ECHO DIRECTORY [--cases PATTERN,…]

ECHO is the built example `echo` of the gateway. The suite and its reports live in DIRECTORY. It is written
for CPython 2.7: PYTHON27 names one, else it is looked for where pyenv keeps them and in the PATH.

Passes when all of the cases that apply are OK (or only informational), their ends too. Cases 12 and 13 are of
compression, which the server does not offer.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
APPLICABLE = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
# Of suite 25.10.1: 16, 11, 7, 10, 20, 145, 37, 54 and 1.
APPLICABLE_CASES = 301
GOOD = {"OK", "INFORMATIONAL"}
# The last one that makes environments of 2.7.
VIRTUALENV = "virtualenv==20.21.1"
SUITE_SECONDS = 540


def python27():
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    of_pyenv = sorted(pyenv.glob("versions/2.7.*/bin/python"))
    # Those of pyenv first: what it puts into the PATH runs only where a version of it is chosen.
    candidates = [os.environ.get("PYTHON27"), *map(str, of_pyenv), shutil.which("python2.7")]
    found = next(filter(None, candidates), None)
    if found is None:
        sys.exit("the Autobahn test suite needs CPython 2.7, and there is none: `pyenv install 2.7.18` builds "
                 "one, and PYTHON27 names one that is elsewhere; no other check needs it")
    return found


def suite(directory):
    """The `wstest` of an environment in `directory`, which is made where it is not."""
    environment = directory / "python27"
    wstest = environment / "bin" / "wstest"
    if wstest.exists():
        return wstest
    python = python27()
    maker = directory / "virtualenv"
    for leftover in (environment, maker):
        shutil.rmtree(leftover, ignore_errors=True)
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    for command in (
        [sys.executable, "-m", "venv", maker],
        [maker / "bin" / "python", *pip, VIRTUALENV],
        [maker / "bin" / "virtualenv", "--quiet", "--python", python, environment],
        [environment / "bin" / "python", *pip, "--no-deps", "--requirement", HERE / "requirements.txt"],
    ):
        subprocess.run(command, check=True)
    return wstest


def run(wstest, echo, reports, cases):
    """Lets the suite loose on the echo. Answers with what it found, case by case."""
    reports.mkdir(parents=True, exist_ok=True)
    index = reports / "index.json"
    index.unlink(missing_ok=True)
    with subprocess.Popen([echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        spec = reports / "spec.json"
        spec.write_text(json.dumps({
            "outdir": str(reports), "servers": [{"agent": "parlance", "url": url}],
            "cases": cases, "exclude-cases": [], "exclude-agent-cases": {},
        }))
        with open(reports / "wstest.log", "wb") as log:
            ended = subprocess.run([wstest, "-m", "fuzzingclient", "-s", spec], stdout=log,
                                   stderr=subprocess.STDOUT, timeout=SUITE_SECONDS, check=False)
        server.stdin.close()
        if server.wait() != 0:
            sys.exit(f"the echo ended with {server.returncode}")
    if ended.returncode != 0 or not index.exists():
        sys.exit(f"the suite ended with {ended.returncode}: see {reports / 'wstest.log'}")
    return json.loads(index.read_text())["parlance"]


def verdict(found, all_of_them):
    """Prints what was found. Whether it is good."""
    def order(name):
        return [int(part) for part in name.split(".")]

    behaviors = collections.Counter(case["behavior"] for case in found.values())
    ends = collections.Counter(case["behaviorClose"] for case in found.values())
    seconds = sum(case["duration"] for case in found.values()) / 1000
    print(f"{len(found)} cases in {seconds:.0f} s: {dict(behaviors)}; their ends: {dict(ends)}")
    bad = [name for name in sorted(found, key=order)
           if not {found[name]["behavior"], found[name]["behaviorClose"]} <= GOOD]
    for name in bad:
        case = found[name]
        print(f"  {name}: {case['behavior']}, its end {case['behaviorClose']} with {case['remoteCloseCode']}: "
              f"see {case['reportfile']}")
    if all_of_them and len(found) != APPLICABLE_CASES:
        print(f"  {APPLICABLE_CASES} cases apply, and {len(found)} were run")
        return False
    return bool(found) and not bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("echo", type=pathlib.Path)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--cases", default=",".join(APPLICABLE), help="by comma, such as 6.4.*,10.*")
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    cases = arguments.cases.split(",")
    found = run(suite(directory), arguments.echo.resolve(), directory / "reports", cases)
    sys.exit(0 if verdict(found, all_of_them=cases == APPLICABLE) else 1)


main()
