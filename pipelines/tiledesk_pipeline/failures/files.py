"""What the operating system refuses, as sentences with the cause and the cure."""

from __future__ import annotations

import errno

_BY_NUMBER = {
    errno.ENOSPC: "The disk is full. Free some space and run again: nothing was lost.",
    errno.EDQUOT: "The disk quota is used up. Free some space and run again: nothing was lost.",
    errno.EADDRINUSE: "The port is in use. Give another with --port.",
    errno.EMFILE: "The system allows no more open files. Raise the limit (ulimit -n) and run"
    " again.",
    errno.ENFILE: "The system allows no more open files. Close other programs and run again.",
    errno.ENOMEM: "There is not enough memory. Nothing was lost: run again where there is more.",
    errno.EIO: "The disk cannot be read or written (input/output error). Check it, and run again.",
    errno.ESTALE: "A network drive is gone. Mount it and run again.",
}


def explain(error: BaseException) -> str | None:
    """The sentence for an error of the operating system; None if it is none that is known."""
    if isinstance(error, MemoryError):
        return _BY_NUMBER[errno.ENOMEM]
    if "No space left on device" in str(error):
        return _BY_NUMBER[errno.ENOSPC]
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return f"{error.filename} cannot be read or written: {error.strerror}. Check its rights."
    unusable = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ELOOP)
    if error.errno in unusable and error.filename:
        return f"{error.filename} cannot be opened: {error.strerror}."
    return _BY_NUMBER.get(error.errno)
