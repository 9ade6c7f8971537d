"""A host that is far away: a TUN device whose packets come back late.

Packets to FAR come out of the device, are held for half a round trip, have their two addresses exchanged, and go in
again. So a connection to FAR reaches this machine's own servers, and their answers take the same way: real TCP at both
ends, with its handshake, its delayed acknowledgements and Nagle's algorithm, which a relay of bytes would hide. An
exchange leaves both checksums right.
"""

import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections import deque

NEAR = "198.18.0.1"  # RFC 2544: addresses for measurements
FAR = "198.18.0.2"

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8916, 0x891C, 0x8914, 0x1, 0x40


class Distance:
    """A round trip of so many seconds to FAR, while it is open. Needs the right to make network devices (root)."""

    def __init__(self, round_trip):
        self.one_way = round_trip / 2
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        answer = fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"bugle%d", IFF_TUN | IFF_NO_PI))
        name = answer[:16]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((SIOCSIFADDR, NEAR), (SIOCSIFNETMASK, "255.255.255.252")):
                told = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, request, told)
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP | IFF_RUNNING))
        self.wake, self.end = os.pipe()
        self.thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        os.close(self.end)
        self.thread.join()
        os.close(self.device)
        os.close(self.wake)

    def _carry(self):
        held = deque()
        while True:
            wait = max(0.0, held[0][0] - time.monotonic()) if held else None
            ready, _, _ = select.select([self.device, self.wake], [], [], wait)
            if self.wake in ready:
                return
            if self.device in ready:
                packet = os.read(self.device, 65536)
                if packet[0] >> 4 == 4:
                    exchanged = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                    held.append((time.monotonic() + self.one_way, exchanged))
            while held and held[0][0] <= time.monotonic():
                os.write(self.device, held.popleft()[1])
