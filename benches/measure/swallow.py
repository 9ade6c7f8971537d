"""Room for fifty times a file in the memory of one machine: what arrived is compared with the source, and forgotten.

The blocks of a file that are equal to the source's become a hole. Its length stays, so that whoever writes it finds nothing
odd; only who reads it does.
"""

import ctypes
import os
import threading
import time
from pathlib import Path

BLOCK = 4 << 20
KEEP_SIZE, PUNCH_HOLE = 1, 2
PAUSE = 0.05

fallocate = ctypes.CDLL(None, use_errno=True).fallocate
fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Swallow:
    """Compares and forgets the files below a directory while it is open."""

    def __init__(self, source, root):
        self.source, self.root = os.open(source, os.O_RDONLY), Path(root)
        self.length = os.fstat(self.source).st_size
        self.files = {}  # inode: [descriptor, bytes that were equal]
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        for descriptor, _ in self.files.values():
            os.close(descriptor)
        os.close(self.source)

    def missing(self, count):
        """What is wrong with what arrived in so many files, or None. Waits until the last of it was compared."""
        deadline = time.monotonic() + 60
        whole = 0
        while whole < count and time.monotonic() < deadline:
            whole = sum(equal == self.length for _, equal in list(self.files.values()))
            time.sleep(PAUSE)
        return None if whole == count else f"{whole} of {count} files are whole"

    def _run(self):
        while not self.is_over.is_set():
            self._look()
            for file in self.files.values():
                self._forget(file)
            time.sleep(PAUSE)

    def _look(self):
        for directory, _, names in os.walk(self.root):
            for name in names:
                try:
                    descriptor = os.open(os.path.join(directory, name), os.O_RDWR)
                except OSError:
                    continue
                inode = os.fstat(descriptor).st_ino
                if inode in self.files:
                    os.close(descriptor)
                else:
                    self.files[inode] = [descriptor, 0]

    def _forget(self, file):
        descriptor, equal = file
        while equal < self.length:
            block = min(BLOCK, self.length - equal)
            arrived = os.pread(descriptor, block, equal)
            # What was not written yet is a hole or beyond the end.
            if len(arrived) < block or arrived != os.pread(self.source, block, equal):
                return
            if fallocate(descriptor, KEEP_SIZE | PUNCH_HOLE, equal, block) != 0:
                raise OSError(ctypes.get_errno(), "cannot punch a hole")
            equal += block
            file[1] = equal
