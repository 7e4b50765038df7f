"""C text becomes a shared library: made by the compiler at hand, kept in the user's cache folder.

A cached file is called KEY-DIGEST.so: KEY says what it was made from, on what machine and by whom; DIGEST what it must
hold, so that a damaged one is never loaded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tinygrad_bn.errors import NativeError
from tinygrad_bn.files import replacing
from tinygrad_bn.locks import new_lock

# NaN and infinity stay what they are and no sum is reordered unseen: left out is what C asks for beyond IEEE 754.
FLAGS: tuple[str, ...] = (
    "-O3",
    "-march=native",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",  # understands `#pragma omp simd reduction(...)`, needs no library
)
KEPT = 200  # files in the cache folder
_HEADERS = Path(__file__).parent
_SUFFIX = ".dll" if sys.platform == "win32" else ".so"
_SHARED = ("-shared",) if sys.platform == "win32" else ("-shared", "-fPIC", "-fvisibility=hidden")
_MATHS = () if sys.platform == "win32" else ("-lm",)
_SECONDS = 120  # after which a compiler hangs: the first run of one just installed builds its own libraries
_UNUSABLE = (OSError, RuntimeError)  # a folder that is read-only, full, or forbids programs; a user without a home
_compiling = new_lock(sys.modules[__name__], "_compiling")


def compiled(source: str, *, flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """The shared library of a C source, which may include the headers of this folder.

    The compiler is $CC, or else cc, gcc or clang on the PATH, or that of the package ziglang: the first that can. The
    library is kept in $TINYGRAD_BN_CACHE/native, or else in the user's cache folder, for every later process; where
    that cannot be written to, it is made anew.

    Raises:
        NativeError: there is no C compiler, or none that compiles the source.
    """
    failures = []
    for command in _commands():
        try:
            return _library(command, source, tuple(flags))
        except (NativeError, OSError) as error:
            failures.append(f"{' '.join(command)}: {error}")
    tried = "".join(f"\n  {failure}" for failure in failures) or " nothing, for there is none"
    raise NativeError(
        "a native program needs a working C compiler: $CC, cc, gcc or clang on the PATH, or "
        f"pip install 'tinygrad_bn[native]'. Tried:{tried}"
    )


def cache_folder() -> Path:
    """Where the libraries are kept: $TINYGRAD_BN_CACHE/native, or else tinygrad_bn/native in the user's cache."""
    own = os.environ.get("TINYGRAD_BN_CACHE")
    if own:
        return Path(own).expanduser() / "native"
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "tinygrad_bn" / "native"


def _commands() -> Iterator[tuple[str, ...]]:
    """The compilers that may be there, the preferred one first and none twice."""
    asked = os.environ.get("CC", "").strip()
    if asked:
        yield (asked,) if shutil.which(asked) else tuple(asked.split())
    seen = {asked and os.path.realpath(shutil.which(asked) or asked)}
    for name in ("cc", "gcc", "clang"):
        place = shutil.which(name)
        if place and os.path.realpath(place) not in seen:
            seen.add(os.path.realpath(place))
            yield (place,)
    if importlib.util.find_spec("ziglang"):
        yield (sys.executable, "-m", "ziglang", "cc")


def _library(command: tuple[str, ...], source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library as this compiler makes it: the cached one, or a new one."""
    key = _key(source, flags, command, _version(command))
    with _compiling:
        cached = _cached(key)
        if cached is not None:
            return cached
        with tempfile.TemporaryDirectory(prefix="tinygrad_bn-", ignore_cleanup_errors=True) as scratch:
            made = _made(command, source, flags, Path(scratch))
            with suppress(*_UNUSABLE):
                return ctypes.CDLL(str(_kept(made, key)))
            return ctypes.CDLL(str(made))


def _key(source: str, flags: tuple[str, ...], command: tuple[str, ...], version: str) -> str:
    """What distinguishes one library from another, in 32 characters."""
    headers = [path.read_text(encoding="utf-8") for path in sorted(_HEADERS.glob("*.h"))]
    parts = (source, *headers, *flags, *command[1:], version, _machine())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """What the compiler says that it is.

    Raises:
        NativeError: it cannot be run.
    """
    return _run((*command, "--version"), dict(os.environ))


@functools.cache
def _machine() -> str:
    """The processor, as far as `-march=native` may tell it from others, and what its programs look like."""
    words = [platform.system(), platform.machine(), platform.processor(), str(sys.maxsize)]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        telling = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU ", "isa", "cpu")
        words += [line for line in first.splitlines() if line.startswith(telling) and "MHz" not in line]
    if sys.platform == "darwin":
        with suppress(NativeError):
            words.append(_run(("sysctl", "-n", "machdep.cpu.brand_string"), dict(os.environ)))
    return "\n".join(words)


def _cached(key: str) -> ctypes.CDLL | None:
    """The library of that key from the cache folder; a damaged one is removed."""
    with suppress(*_UNUSABLE):
        for path in sorted(cache_folder().glob(f"{key}-*{_SUFFIX}")):
            with suppress(OSError):  # removed by another process; or made for a system that is no longer this one
                if path.stem == f"{key}-{_digest(path)}":
                    library = ctypes.CDLL(str(path))
                    with suppress(OSError):
                        os.utime(path)
                    return library
                path.unlink()
    return None


def _made(command: tuple[str, ...], source: str, flags: tuple[str, ...], folder: Path) -> Path:
    """The library, compiled in that folder; for the machine in general where the compiler does not know this one.

    Raises:
        NativeError: the compiler refuses.
    """
    text, library = folder / "program.c", folder / f"program{_SUFFIX}"
    text.write_text(source, encoding="utf-8")
    environment = dict(os.environ, LC_ALL="C")
    shared = _SHARED
    if "ziglang" in command:
        environment.setdefault("ZIG_GLOBAL_CACHE_DIR", str(_zig_folder(folder)))
        if sys.platform == "linux":  # the C library is loaded already; to build its own costs seven seconds, once
            shared = (*shared, "-nostdlib")
    rest = (*shared, f"-I{_HEADERS}", str(text), "-o", str(library), *_MATHS)
    try:
        _run((*command, *flags, *rest), environment)
    except NativeError as error:
        if "-march=native" not in flags or "march" not in str(error):
            raise
        _run((*command, *(flag for flag in flags if flag != "-march=native"), *rest), environment)
    return library


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """What a program prints.

    Raises:
        NativeError: it is missing, fails or hangs.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NativeError(f"not done after {_SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise NativeError(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").splitlines()[:8]
        raise NativeError("\n    ".join([f"failed with status {done.returncode}", *said]))
    return done.stdout.decode(errors="replace")


def _zig_folder(otherwise: Path) -> Path:
    """Where zig may keep what it builds for itself: in the cache folder, if that can be written to."""
    with suppress(*_UNUSABLE):
        folder = cache_folder() / "zig"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    return otherwise


def _kept(made: Path, key: str) -> Path:
    """A copy in the cache folder, out of which the least recently used give way.

    Raises:
        OSError: it cannot be written.
    """
    path = cache_folder() / f"{key}-{_digest(made)}{_SUFFIX}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():  # another process may have been faster, and have it in use
        with replacing(path) as part:
            shutil.copyfile(made, part)
    _tidy(path.parent)
    return path


def _tidy(folder: Path) -> None:
    """Removes the least recently used files beyond `KEPT`, while others may be doing the same."""
    used = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            used.append((path.stat().st_mtime, path))
    for _, path in sorted(used, reverse=True)[KEPT:]:
        with suppress(OSError):
            path.unlink()
