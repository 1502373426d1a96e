"""Each way in which a plugin can fail, installed as a distribution beside real commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from distributions import HEAD, HOOK, command, entries, write_distribution

from samplerhub.answer import Question
from samplerhub.elsewhere import PROGRAM, Elsewhere

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
    "no-answer": ("import json; json.dumps = lambda *a, **k: '{}'\n" + FINE, "changes what is not its own"),
    "no-words": (
        "class X:\n    def __repr__(self): raise RuntimeError\n" + HOOK + "return [X()]",
        "<X> where an Entry",
    ),
    "no-text": ("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E", "fails on import: E"),
    "endless-text": ("raise ValueError('a\\n\\x1b[31mb' + 'x' * 100_000)", "fails on import: ValueError: a bxxx"),
    "patches": ("import pluggy; pluggy.PluginManager.register = lambda *a, **k: None\n" + FINE, "no function"),
    "closes": ("import sys, os; sys.stdout.close(); os.close(1); os.close(2); raise ValueError('shut')", "shut"),
}
"""Plugins with something wrong, each with what is said of it."""
HARMLESS = {
    "prints": ("print('spoils the output')\n" + FINE, "prints on import: 'spoils the output'"),
    "writes": ("import os; os.write(1, b'spoils'); os.write(2, b'it')\n" + FINE, "prints on import: 'spoilsit'"),
    "twin": (entries("'sampler', 'deis', 'samplerhub_samplers.deis:DEIS', 'T.'"), "too: write twin:deis"),
    "replaces": ("import io, sys; sys.stdout = sys.stderr = io.StringIO()\n" + FINE, None),
    "filters": ("import warnings; warnings.simplefilter('error')\n" + FINE, None),
    "forks": ("import os; os.fork()\n" + FINE, None),
    "forgets": ("import sys; sys.path.clear(); sys.setrecursionlimit(60)\n" + FINE, None),
    "limits": ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n" + FINE, None),
    "asks": ("from samplerhub.registry import Registry\nRegistry.discover().plugins\n" + FINE, None),
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
    assert all(len(str(record["error"])) < 350 and "\x1b" not in str(record["error"]) for record in known.values())

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
@pytest.mark.parametrize("forever", ["while True: pass", "sum(range(10**15))"])
def test_a_plugin_that_never_ends_is_not_waited_for_at_the_end(forever: str, tmp_path: Path) -> None:
    """The sum lets no other thread of its process run."""
    write_distribution(tmp_path, "endless", f"import os; open({str(tmp_path / 'id')!r}, 'w').write(str(os.getpid()))\n"
                                            f"{forever}")  # fmt: skip
    done = command(tmp_path, *UNRELATED)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    process = int((tmp_path / "id").read_text())
    try:
        deadline = time.monotonic() + 5
        while lives(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not lives(process)
    finally:
        if lives(process):
            os.kill(process, signal.SIGKILL)
    unasked = command(tmp_path, "--version")
    assert (unasked.returncode, unasked.stderr) == (0, "")


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for a process in /proc")
def test_a_plugin_that_forks_answers_for_nobody_else_and_leaves_nothing(tmp_path: Path) -> None:
    source = f"import os; os.fork(); open({str(tmp_path / 'ids')!r}, 'a').write(str(os.getpid()) + ' ')\n"
    for name, before in {"a-forks": source, "b-fine": "", "c-fine": ""}.items():
        write_distribution(
            tmp_path, name, before + entries(f"'grid', 'of-{name}', 'samplerhub_grids.edm:EDMGrid', 'F.'")
        )
    known = records(tmp_path)
    for name in ("a-forks", "b-fine", "c-fine"):
        assert (known[name]["error"], known[name]["components"]) == (None, [{"role": "grid", "name": f"of-{name}"}])
    assert not [number for number in (tmp_path / "ids").read_text().split() if lives(int(number))]


def test_a_plugin_that_asks_for_plugins_starts_no_process(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    write_distribution(
        tmp_path, "asks", f"import os; open({str(ids)!r}, 'a').write('1')\n"
        "from samplerhub.registry import Registry\n"
        "if os.path.getsize(" + repr(str(ids)) + ") < 9: Registry.discover({}).plugins\n" + FINE
    )  # fmt: skip
    assert records(tmp_path)["asks"]["error"] is None
    assert ids.read_text() == "1"


def test_a_plugin_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where whoever asks goes on for days."""
    monkeypatch.setattr("samplerhub.elsewhere.PROGRAM", PROGRAM.replace("w.serve", "w.LIMIT = 1; w.serve"))
    write_distribution(tmp_path, "endless", "while True: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    elsewhere = Elsewhere([Question("endless", "endless")])
    (given,) = elsewhere.answers(30)
    assert not elsewhere.pending
    assert "still importing after 1 s" in str(given.error)


def test_a_process_that_cannot_fork_asks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_distribution(tmp_path, "a-crashes", "import os; os._exit(3)")
    write_distribution(tmp_path, "b-fine", "print('odd')\n" + FINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    elsewhere = Elsewhere([Question("a-crashes", "a_crashes"), Question("b-fine", "b_fine")], fork=False)
    crashed, fine = elsewhere.answers(30)
    assert "has ended (code 3)" in str(crashed.error)
    assert ([entry.name for entry in fine.entries], fine.note) == (["fine"], "prints on import: 'odd'")


INFO = b"Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n"
POINT = b"[samplerhub]\nbad = fine\n"
METADATA = {
    "none": (None, POINT, {"bad": None}),
    "no version": (b"Metadata-Version: 2.1\nName: bad\n", POINT, {"bad": None}),
    "not utf-8": (INFO + b"Author: J\xf6rg\n", POINT, {"bad-1.0.dist-info": "its METADATA cannot be read"}),
    "points": (INFO, b"[samplerhub]\nbad = \nworse = a b!\nword\n", dict.fromkeys(["bad", "worse", "word"], "name =")),
    "binary": (INFO, b"\xff\xfe" + POINT, {"bad-1.0.dist-info": "entry_points.txt is no text"}),
    "not ours": (INFO, b"[console_scripts]\nword\n[other]\n= \n", {}),
    "not ours, binary": (INFO, b"\xff\xfe[console_scripts]", {}),
}
"""Folders with metadata that are broken: METADATA, entry_points.txt, and what is said of which plugin."""


@pytest.mark.parametrize("case", METADATA)
def test_broken_metadata_cost_a_line_and_nothing_else(case: str, tmp_path: Path) -> None:
    about, points, said = METADATA[case]
    write_distribution(tmp_path, "fine", FINE)
    folder = tmp_path / "bad-1.0.dist-info"
    folder.mkdir()
    if about is not None:
        (folder / "METADATA").write_bytes(about)
    (folder / "entry_points.txt").write_bytes(points)
    known = {name: record for name, record in records(tmp_path).items() if record["distribution"] != "samplerhub"}
    assert known.keys() == {"fine", *said}
    assert known["fine"]["error"] is None
    for name, message in said.items():
        assert (message or "None") in str(known[name]["error"])
    version = command(tmp_path, "--version")
    assert (version.returncode, version.stderr) == (0, "")


def test_a_distribution_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    """As where pip was ended while it replaced one."""
    write_distribution(tmp_path, "fine", FINE)
    shutil.copytree(tmp_path / "fine-1.0.dist-info", tmp_path / "~ine-1.0.dist-info")
    (tmp_path / "fine.egg-info").mkdir()
    for name in ("METADATA", "entry_points.txt"):
        shutil.copy(
            tmp_path / "fine-1.0.dist-info" / name, tmp_path / "fine.egg-info" / name.replace("METADATA", "PKG-INFO")
        )
    shutil.copytree(tmp_path / "fine-1.0.dist-info", tmp_path / "other_folder-1.0.dist-info")
    began = time.monotonic()
    found = [one for one in json.loads(command(tmp_path, "list", "grid", "--json").stdout) if one["name"] == "fine"]
    assert len(found) == 1
    assert time.monotonic() - began < 5
    twin = tmp_path / "twin-1.0.dist-info"
    shutil.copytree(tmp_path / "fine-1.0.dist-info", twin)
    (twin / "METADATA").write_text("Metadata-Version: 2.1\nName: twin\nVersion: 2.0\n")
    found = [one for one in json.loads(command(tmp_path, "list", "grid", "--json").stdout) if one["name"] == "fine"]
    assert [one["distribution"] for one in found] == ["fine", "twin"]


def test_foreign_text_is_one_line(tmp_path: Path) -> None:
    text = r"[red]F[/]\x1b[31m red\x1b]0;title\x07 \u202e new\nline \ud800" + "x" * 1000
    write_distribution(tmp_path, "fine", entries(f"'grid', 'fine', 'samplerhub_grids.edm:EDMGrid', '{text}'"))
    (found,) = [one for one in json.loads(command(tmp_path, "list", "grid", "--json").stdout) if one["name"] == "fine"]
    assert found["summary"].startswith("[red]F[/] red new line xxx")
    assert len(found["summary"]) <= 300
    assert command(tmp_path, "list", "grid").returncode == 0


GRID = "from samplerhub_grids.edm import EDMGrid\nclass G(EDMGrid):\n    'A grid.'\n"


def test_a_component_that_exits_is_an_error(tmp_path: Path) -> None:
    write_distribution(tmp_path, "exits", entries("'grid', 'exits', 'exiting:G', 'G.'"))
    (tmp_path / "exiting.py").write_text(GRID + "    def __call__(self, *a, **k):\n        raise SystemExit(0)\n")
    done = command(tmp_path, "run", "--grid", "exits", "--target", "gaussian", "--samples", "2", "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: the command was ended by exiting (" in done.stderr
    assert "exiting.py:5)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("strict", ["", "1"])
def test_what_is_printed_past_python_on_import_spoils_no_json(strict: str, tmp_path: Path) -> None:
    write = "import os, sys; os.write(1, b'spoils'); print('it'); sys.__stdout__.write('all')\n"
    write_distribution(tmp_path, "writes", write + entries("'grid', 'writes', 'writing:G', 'G.'"))
    (tmp_path / "writing.py").write_text(write + GRID)
    done = command(tmp_path, "show", "grid", "writes", "--json", SAMPLERHUB_STRICT=strict)
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "writes"


def test_warnings_for_the_user_are_lines(tmp_path: Path) -> None:
    warn = "        for i in range(3): warnings.warn('be\\nware')\n"
    body = "    def __call__(self, *a, **k):\n        import warnings\n" + warn
    write_distribution(tmp_path, "warns", entries("'grid', 'warns', 'warning:G', 'G.'"))
    (tmp_path / "warning.py").write_text(GRID + body + "        return super().__call__(*a, **k)\n")
    done = command(tmp_path, "show", "grid", "warns", "--json")
    assert json.loads(done.stdout)["name"] == "warns"
    assert (done.returncode, done.stderr) == (0, "warning: be ware\n")


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


def test_strict_takes_a_name_that_is_not_there_for_a_failure(tmp_path: Path) -> None:
    done = command(tmp_path, *UNRELATED, SAMPLERHUB_PLUGINS="samplerhub,nobody", SAMPLERHUB_STRICT="1")
    assert (done.returncode, done.stdout) == (2, "")
    message = "error: plugin nobody: named in SAMPLERHUB_PLUGINS, but no plugin of that name is installed\n"
    assert done.stderr == message


@pytest.mark.parametrize("name", ["no-words", "no-text", "endless-text"])
def test_strict_shows_no_traceback(name: str, tmp_path: Path) -> None:
    source, message = WRONG[name]
    write_distribution(tmp_path, name, source)
    done = command(tmp_path, *UNRELATED, SAMPLERHUB_STRICT="1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: plugin {name} of {name} 1.0: ")
    assert message in done.stderr
