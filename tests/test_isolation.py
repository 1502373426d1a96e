"""Each way in which a plugin can fail, installed as a distribution beside real commands."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from distributions import HEAD, HOOK, command, entries, write_distribution

FINE = entries("'grid', 'fine', 'samplerhub_grids.edm:EDMGrid', 'F.'")
WRONG = {
    "import-error": ("import no_such_module", "fails on import: ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def (", "fails on import: SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "fails on import: SystemExit: 3"),
    "exits-at-once": ("import os; os._exit(3)", "ends the process that imports it (code 3)"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ends the process that imports it"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "misspelt": (HEAD + "@hookimpl\ndef samplerhub_entrys(): return []", "unknown hook 'samplerhub_entrys'"),
    "unmarked": ("def samplerhub_entries(): return []", "marked with @hookimpl"),
    "arguments": (HEAD + "@hookimpl\ndef samplerhub_entries(manager): return []", "cannot be registered"),
    "hook-raises": (HOOK + "raise RuntimeError('no luck')", "samplerhub_entries fails: RuntimeError: no luck"),
    "not-a-list": (HOOK + "return 3", "returned int, not a list"),
    "not-entries": (HOOK + "return ['deis']", "'deis' where an Entry is expected"),
    "unknown-role": (HOOK + "return [Entry('samplr', 'x', 'm:C', 'X.')]", "role 'samplr'; did you mean 'sampler'?"),
    "bad-name": (HOOK + "return [Entry('sampler', 'X y', 'm:C', 'X.')]", "'X y'"),
    "bad-target": (HOOK + "return [Entry('sampler', 'x', 'm', 'X.')]", "'m' is not"),
    "not-text": (HOOK + "return [Entry('sampler', 3, 'm:C', 'X.')]", "not a string"),
    "not-names": (HOOK + "return [Entry('sampler', 'x', 'm:C', 'X.', aliases='deis')]", "aliases are a tuple"),
    "not-pairs": (HOOK + "return [Entry('sampler', 'x', 'm:C', 'X.', files=('.pt',))]", "files are a tuple of pairs"),
    "gone": (entries("'sampler', 'gone', 'gone.deep.er:C', 'G.'"), "there is no module 'gone.deep'"),
    "leaves": ("import os; os.closerange(3, 99)", "ends the process that imports it"),
    "closes": ("import sys, os; sys.stdout.close(); os.close(1); os.close(2); raise ValueError('shut')", "shut"),
}
"""Plugins with something wrong, each with what is said of it."""
HARMLESS = {
    "prints": ("print('spoils the output')\n" + FINE, "prints on import: 'spoils the output'"),
    "writes": ("import os; os.write(1, b'spoils'); os.write(2, b'it')\n" + FINE, "prints on import: 'spoilsit'"),
    "twin": (entries("'sampler', 'deis', 'samplerhub_samplers.deis:DEIS', 'T.'"), "too: write twin:deis"),
    "replaces": ("import io, sys; sys.stdout = sys.stderr = io.StringIO()\n" + FINE, None),
    "filters": ("import warnings; warnings.simplefilter('error')\n" + FINE, None),
    "threads": ("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()\n" + FINE, None),
    "reads": ("import sys; sys.stdin.read()\n" + FINE, None),
}
"""Plugins that do what a plugin should not, each with the note that it gets."""
SLOW = "import time; time.sleep({})\n" + entries("'sampler', 'slow-one', 'samplerhub_samplers.euler:Euler', 'S.'")
UNRELATED = ("list", "process", "--json")


def records(folder: Path, **environment: str) -> dict[str, dict[str, object]]:
    done = command(folder, "plugins", "--json", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return {record["name"]: record for record in json.loads(done.stdout)}


def lives(process: int) -> bool:
    """Say whether a process is there and still runs something."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def test_whatever_is_wrong_with_plugins_an_unrelated_command_says_the_same(tmp_path: Path) -> None:
    before = command(tmp_path, *UNRELATED)
    assert (before.returncode, before.stderr) == (0, "")
    for name, (source, _) in WRONG.items():
        write_distribution(tmp_path, name, source)
    write_distribution(tmp_path, "newer", FINE, requires=["samplerhub>=99"])
    for name, (source, _) in HARMLESS.items():
        write_distribution(tmp_path, name, source)

    after = command(tmp_path, *UNRELATED)
    assert (after.returncode, after.stdout) == (0, before.stdout)
    (line,) = after.stderr.splitlines()
    assert sorted(line.partition(": ")[2].split(", ")) == sorted(f"{name} 1.0" for name in [*WRONG, "newer"])

    known = records(tmp_path)
    for name, (_, message) in WRONG.items():
        assert (known[name]["distribution"], known[name]["version"]) == (name, "1.0")
        assert message in str(known[name]["error"]), known[name]
    assert "requires samplerhub>=99, but samplerhub 0" in str(known["newer"]["error"])
    for name in HARMLESS:
        assert (known[name]["error"], len(known[name]["components"])) == (None, 1), known[name]  # type: ignore[arg-type]

    missing = command(tmp_path, "show", "sampler", "nothing")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert all(f"{name} 1.0" in missing.stderr for name in WRONG)
    assert missing.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [name for name, (_, note) in HARMLESS.items() if note])
def test_what_is_odd_is_noted(name: str, tmp_path: Path) -> None:
    source, note = HARMLESS[name]
    write_distribution(tmp_path, name, source)
    assert command(tmp_path, *UNRELATED).stderr == ""
    assert str(note) in str(records(tmp_path)[name]["note"])


def test_all_is_quiet_where_nothing_failed(tmp_path: Path) -> None:
    write_distribution(tmp_path, "fine", FINE, requires=["samplerhub>=0.1", "samplerhub<0.1; extra == 'old'"])
    done = command(tmp_path, "list", "grid", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fine" in done.stdout


def test_a_slow_plugin_keeps_no_other_command_waiting(tmp_path: Path) -> None:
    write_distribution(tmp_path, "a-slow", SLOW.format(10))
    write_distribution(tmp_path, "z-fine", FINE)
    began = time.monotonic()
    done = command(tmp_path, "list", "--json")
    assert time.monotonic() - began < 8
    assert done.returncode == 0
    assert done.stderr == "plugins that failed, see `samplerhub plugins`: a-slow 1.0\n"
    names = {component["name"] for component in json.loads(done.stdout)}
    assert "fine" in names
    assert "slow-one" not in names


def test_a_slow_plugin_is_waited_for_where_it_is_needed(tmp_path: Path) -> None:
    write_distribution(tmp_path, "a-slow", SLOW.format(3))
    done = command(tmp_path, "show", "sampler", "slow-one")
    assert (done.returncode, done.stderr) == (0, "")
    record = records(tmp_path)["a-slow"]
    assert record["error"] is None
    assert 3 <= float(str(record["seconds"])) < 10


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for a process in /proc")
def test_a_plugin_that_never_ends_is_not_waited_for_at_the_end(tmp_path: Path) -> None:
    write_distribution(tmp_path, "endless", f"import os; open({str(tmp_path / 'id')!r}, 'w').write(str(os.getpid()))\n"
                                            "while True: pass")  # fmt: skip
    done = command(tmp_path, *UNRELATED)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    process = int((tmp_path / "id").read_text())
    deadline = time.monotonic() + 5
    while lives(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(process)
    unasked = command(tmp_path, "--version")
    assert (unasked.returncode, unasked.stderr) == (0, "")


def test_the_environment_leaves_plugins_out(tmp_path: Path) -> None:
    write_distribution(tmp_path, "acme-bad", "import no_such_module")
    done = command(tmp_path, *UNRELATED, SAMPLERHUB_DISABLE="Acme_Bad, targets")
    assert (done.returncode, done.stderr) == (0, "")
    known = records(tmp_path, SAMPLERHUB_DISABLE="acme-bad,targets")
    assert [known[name]["note"] for name in ("acme-bad", "targets")] == ["left out by SAMPLERHUB_DISABLE"] * 2
    assert command(tmp_path, "list", "target", "--json", SAMPLERHUB_DISABLE="targets").stdout == "[]\n"

    nobody = command(tmp_path, *UNRELATED, SAMPLERHUB_DISABLE="acme-bad,nobody")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (0, 1)
    assert "nobody" in nobody.stderr


def test_strict_is_an_error_at_once(tmp_path: Path) -> None:
    write_distribution(tmp_path, "acme-bad", "import no_such_module")
    done = command(tmp_path, *UNRELATED, SAMPLERHUB_STRICT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: plugin acme-bad of acme-bad 1.0: fails on import: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )
