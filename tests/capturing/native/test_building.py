import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tinygrad_bn.capturing.native import building
from tinygrad_bn.capturing.native.building import cache_folder, compiled
from tinygrad_bn.errors import NativeError

SEVEN = '__attribute__((visibility("default"))) int number(void) { return 7; }\n'
EXPORTED = '#include "runtime.h"\nEXPORT int number(void) { return %d; }\n'


def _has_compiler():
    try:
        return bool(compiled(SEVEN))
    except NativeError:
        return False


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_BN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "native"


@pytest.fixture
def compiler(cache):
    if not _has_compiler():
        pytest.skip("there is no C compiler")
    for path in libraries(cache):
        path.unlink()


@pytest.fixture
def runs(monkeypatch):
    """What is run from here on, except to ask for a version."""
    commands = []
    run = building._run

    def noting(command, environment):
        if "--version" not in command:
            commands.append(command)
        return run(command, environment)

    monkeypatch.setattr(building, "_run", noting)
    return commands


def libraries(folder):
    return sorted(path for path in folder.glob("*") if path.is_file())


@pytest.mark.usefixtures("compiler")
def test_a_source_is_compiled_once(cache, runs):
    assert compiled(SEVEN).number() == 7
    kept = libraries(cache)
    assert len(runs) == len(kept) == 1
    assert compiled(SEVEN).number() == 7
    assert len(runs) == 1 and libraries(cache) == kept


@pytest.mark.usefixtures("compiler")
def test_another_source_other_flags_and_another_header_are_compiled_anew(cache, monkeypatch, tmp_path, runs):
    for header in building._HEADERS.glob("*.h"):
        (tmp_path / header.name).write_bytes(header.read_bytes())
    monkeypatch.setattr(building, "_HEADERS", tmp_path)
    assert compiled(EXPORTED % 1).number() == 1
    assert compiled(EXPORTED % 2).number() == 2
    assert compiled(EXPORTED % 2, flags=("-O0", "-Dnumber=renamed")).renamed() == 2
    assert len(libraries(cache)) == 3
    with open(tmp_path / "runtime.h", "a") as header:
        header.write("#define number other_name\n")
    assert compiled(EXPORTED % 2).other_name() == 2
    assert len(runs) == len(libraries(cache)) == 4


@pytest.mark.usefixtures("compiler")
def test_processes_that_compile_the_same_at_once_all_get_it(cache):
    task = f"from tinygrad_bn.capturing.native.building import compiled; print(compiled({SEVEN!r}).number())"
    root = Path(building.__file__).parents[3]
    processes = [subprocess.Popen([sys.executable, "-c", task], stdout=subprocess.PIPE, cwd=root) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].split() for process in processes] == [[b"7"], [b"7"]]
    assert len({path.stem.split("-")[0] for path in libraries(cache)}) == 1


@pytest.mark.usefixtures("compiler")
def test_threads_that_compile_the_same_at_once_compile_it_once(runs):
    numbers = []
    threads = [threading.Thread(target=lambda: numbers.append(compiled(SEVEN).number())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == [7] * 4 and len(runs) == 1


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("damage", [b"", b"not a library", None], ids=["empty", "overwritten", "cut short"])
def test_a_damaged_file_is_replaced(cache, damage, runs):
    source = SEVEN + f"/* {damage} */"  # a library that is loaded is not read again
    assert compiled(source).number() == 7
    (path,) = libraries(cache)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert compiled(source).number() == 7
    assert len(runs) == 2
    assert all(building._digest(path) == path.stem.split("-")[1] for path in libraries(cache))


@pytest.mark.usefixtures("compiler")
def test_a_file_that_is_whole_but_no_library_is_made_anew(cache, monkeypatch):
    compiled(SEVEN)
    (path,) = libraries(cache)
    path.write_bytes(b"of another system")
    path.rename(path.with_stem(f"{path.stem.split('-')[0]}-{building._digest(path)}"))
    assert compiled(SEVEN).number() == 7


@pytest.mark.usefixtures("compiler")
def test_a_cache_folder_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_BN_CACHE", str(tmp_path / "file"))
    assert compiled(SEVEN).number() == 7
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_cache_folder_is_done_without(cache, monkeypatch, code):
    def refusing(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(building.shutil, "copyfile", refusing)
    assert compiled(SEVEN).number() == 7
    assert libraries(cache) == []


@pytest.mark.usefixtures("compiler")
def test_a_user_without_a_home_is_served(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(building, "cache_folder", homeless)
    assert compiled(SEVEN).number() == 7


@pytest.mark.usefixtures("compiler")
def test_the_least_recently_used_files_give_way(cache, monkeypatch):
    monkeypatch.setattr(building, "KEPT", 2)
    sources = [SEVEN + f"/* {i} */" for i in range(3)]
    for age, source in enumerate(sources[:2]):
        compiled(source)
        (new,) = [path for path in libraries(cache) if path.stat().st_mtime > 1000]
        os.utime(new, (age, age))
    compiled(sources[0])  # the older of the two, and now the newer
    kept = max(libraries(cache), key=lambda path: path.stat().st_mtime)
    compiled(sources[2])
    assert len(libraries(cache)) == 2 and kept in libraries(cache)


@pytest.mark.usefixtures("compiler")
def test_a_compiler_that_does_not_know_this_machine_compiles_for_any(monkeypatch, runs):
    asked, run = [], building._run

    def old(command, environment):
        asked.append("-march=native" in command)
        if asked[-1]:
            raise NativeError("error: bad value ('native') for '-march=' switch")
        return run(command, environment)

    monkeypatch.setattr(building, "_run", old)
    building._version.cache_clear()
    assert compiled(SEVEN).number() == 7
    assert asked[-2:] == [True, False]


@pytest.mark.usefixtures("compiler")
def test_what_the_compiler_says_against_a_source_is_told(cache):
    with pytest.raises(NativeError, match=r"(?s)failed with status.*program\.c.*no_such_type"):
        compiled("no_such_type x;")
    assert libraries(cache) == []


def test_without_a_compiler_it_is_said_what_was_tried(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NativeError, match=r"a working C compiler.*tinygrad_bn\[native\].*there is none"):
        compiled(SEVEN)
    monkeypatch.setenv("CC", "nonsense --with=flags")
    with pytest.raises(NativeError, match=r"nonsense --with=flags: .*nonsense"):
        compiled(SEVEN)


@pytest.mark.usefixtures("compiler")
def test_a_compiler_that_was_asked_for_in_vain_gives_way_to_the_next(monkeypatch):
    monkeypatch.setenv("CC", "nonsense")
    assert compiled(SEVEN).number() == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.usefixtures("compiler")
def test_a_process_that_is_forked_while_a_thread_compiles_can_compile(tmp_path):
    with building._compiling:
        child = os.fork()
        if not child:
            signal.alarm(30)
            os._exit(compiled(SEVEN).number())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_compiler_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(building, "_SECONDS", 0.2)
    with pytest.raises(NativeError, match=r"not done after 0\.2 s"):
        building._run((sys.executable, "-c", "import time; time.sleep(20)"), dict(os.environ))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="those keep caches elsewhere")
def test_the_users_cache_folder_is_taken_if_no_other_is_named(monkeypatch):
    assert cache_folder() == Path(os.environ["TINYGRAD_BN_CACHE"]) / "native"
    monkeypatch.delenv("TINYGRAD_BN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/tinygrad_bn/native")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_folder() == Path("/home/user/.cache/tinygrad_bn/native")
