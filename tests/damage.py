"""Files changed behind the back of who wrote them, with their dates kept."""

import os


def flip(path, at=-3):
    """Change one bit, and keep the file's dates."""
    change(path, lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at:][1:])


def edit(path, old, new):
    """Change a table by hand, and keep the file's dates."""
    assert old.encode() in path.read_bytes()
    change(path, lambda content: content.replace(old.encode(), new.encode(), 1))


def change(path, function):
    state = path.stat()
    path.write_bytes(function(path.read_bytes()))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
