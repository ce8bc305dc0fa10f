"""What a guest boots: a distribution kernel and an initramfs made here.

guests.py calls kernel() and initramfs(). The kernel is Debian's cloud kernel, fetched as a package by apt
(which checks its signature) and unpacked without being installed; User Mode Linux comes with its own. The
initramfs is busybox, iperf3 and ethtool with their libraries, the network modules, and guest_init.sh.
The kernel is kept in a cache that all trees on the machine share, so that only the first run needs the network.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
META_PACKAGE = "linux-image-cloud-amd64"
TOOLS = ["iperf3", "ethtool"]
UML_MODULES = pathlib.Path("/usr/lib/uml/modules")


class ImageError(Exception):
    """A kernel or tool cannot be had; the text says what to do."""


def kernel_cache():
    """Where the kernel is kept: root's for everybody to read, else the user's own."""
    if os.geteuid() == 0:
        return pathlib.Path("/var/cache/weft")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "weft"


def work_directory():
    """Where what this tree makes goes: tests/.cache if we may write there, else the user's cache."""
    own = HERE.parent / ".cache"
    directory = own if os.access(own if own.exists() else own.parent, os.W_OK) else kernel_cache()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def kernel():
    """The path of a bootable vmlinuz, fetched when no cache has one; its modules lie beside it."""
    for directory in [kernel_cache(), pathlib.Path("/var/cache/weft")]:
        found = sorted(directory.glob("kernel/boot/vmlinuz-*"))
        if found:
            return found[-1]
    _fetch_kernel(kernel_cache())
    return sorted(kernel_cache().glob("kernel/boot/vmlinuz-*"))[-1]


def kernel_modules():
    """The directory with the modules of kernel()."""
    release = kernel().name.removeprefix("vmlinuz-")
    return kernel().parent.parent / "lib/modules" / release


def uml_modules():
    """The directory with the modules of the installed User Mode Linux."""
    found = sorted(UML_MODULES.glob("*/modules.dep"))
    if not found:
        raise ImageError("no modules of User Mode Linux; install user-mode-linux")
    return found[-1].parent


def initramfs(modules_directory, modules):
    """An initramfs (newc cpio) with the tools and `modules` (names) in an order that loads; made anew for
    every caller of a test session's start, because it takes less time than to see whether it changed."""
    files = {"init": HERE / "guest_init.sh", "etc/udhcpc/default.script": HERE / "guest_dhcp.sh",
             "bin/busybox": _tool("busybox")}
    for tool in TOOLS:
        files[f"bin/{tool}"] = _tool(tool)
        for library in _libraries(files[f"bin/{tool}"]):
            files[str(library).lstrip("/")] = library
    order = _module_order(modules_directory, modules)
    for path in order:
        files[f"modules/{path.name}"] = path
    listing = "".join(f"/modules/{path.name}\n" for path in order).encode()
    handle, path = tempfile.mkstemp(dir=work_directory(), prefix="initramfs.")
    with os.fdopen(handle, "wb") as stream:
        _write_cpio(stream, files, {"modules/order": listing})
    final = work_directory() / f"initramfs-{modules_directory.name}"
    os.chmod(path, 0o644)
    os.rename(path, final)
    return final


def _fetch_kernel(cache):
    cache.mkdir(parents=True, exist_ok=True)
    text = _apt(["apt-cache", "depends", META_PACKAGE])
    match = re.search(r"Depends: (linux-image-\S+)", text)
    if not match:
        raise ImageError(f"apt knows no {META_PACKAGE}; run 'apt-get update' as root and try again")
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        # As root, apt would drop to a user that cannot write here.
        _apt(["apt-get", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=5", "download",
              match.group(1)], directory)
        package = next(pathlib.Path(directory).glob("*.deb"))
        unpacked = pathlib.Path(directory) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        os.chmod(unpacked, 0o755)
        try:
            os.rename(unpacked, cache / "kernel")
        except OSError:  # somebody else was faster, and theirs is as good
            if not list(cache.glob("kernel/boot/vmlinuz-*")):
                raise


def _apt(command, directory=None):
    done = subprocess.run(command, cwd=directory, text=True, capture_output=True)
    if done.returncode != 0:
        raise ImageError(f"'{' '.join(command)}' failed; run 'apt-get update' as root and try again:\n"
                         + done.stderr)
    return done.stdout


def _tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise ImageError(f"{name} is not installed; './run setup' installs it")
    return pathlib.Path(path).resolve()


def _libraries(program):
    """The shared libraries and the loader of a program, under the names it looks for."""
    text = subprocess.run(["ldd", program], check=True, text=True, capture_output=True).stdout
    return [pathlib.Path(name) for name in re.findall(r"(/\S+) \(0x", text)]


def _module_order(directory, wanted):
    """The files of the wanted modules and of what they depend on, dependencies first. A module that the
    kernel has built in is left out."""
    files = {path.stem.replace("-", "_"): path for path in directory.glob("kernel/**/*.ko")}
    builtin = (directory / "modules.builtin").read_text()
    order = []

    def add(name):
        if name not in files:
            if f"/{name}.ko" not in builtin.replace("-", "_"):
                raise ImageError(f"{directory} has no module {name}")
            return
        for needed in re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes()).group(1).split(b","):
            if needed:
                add(needed.decode().replace("-", "_"))
        if files[name] not in order:
            order.append(files[name])

    for name in wanted:
        add(name)
    return order


def _write_cpio(stream, files, contents):
    """Writes the "newc" format (cpio(5)): files from the disk, contents from memory, and their folders."""
    inode = 0

    def member(name, mode, data):
        nonlocal inode
        inode += 1
        encoded = name.encode() + b"\0"
        fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        stream.write(header + encoded + b"\0" * (-(len(header) + len(encoded)) % 4))
        stream.write(data + b"\0" * (-len(data) % 4))

    folders = {str(parent) for name in [*files, *contents] for parent in pathlib.PurePath(name).parents}
    for folder in sorted((folders | {"dev", "proc", "sys", "tmp", "run", "root"}) - {"."}):
        member(folder, 0o040755, b"")
    for name, path in sorted(files.items()):
        member(name, 0o100755, pathlib.Path(path).read_bytes())
    for name, data in sorted(contents.items()):
        member(name, 0o100644, data)
    member("TRAILER!!!", 0, b"")


if __name__ == "__main__":
    try:
        kernel()
    except ImageError as error:
        raise SystemExit(f"images: {error}") from None
