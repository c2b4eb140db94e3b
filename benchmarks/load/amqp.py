"""Just enough AMQP 0-9-1 to hold a message and be closed for it: no client library is needed."""

import socket
import struct
import time

METHOD, HEADER, BODY, HEARTBEAT, END = 1, 2, 3, 8, b"\xce"


def short_text(text):
    return bytes([len(text)]) + text.encode()


def long_bytes(content):
    return struct.pack(">I", len(content)) + content


class Connection:
    """One connection with one channel; guest's password, virtual host /."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.rest = b""
        self.sock.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect(10, 10)
        self.method(0, 10, 11, struct.pack(">I", 0) + short_text("PLAIN")
                    + long_bytes(b"\0guest\0guest") + short_text("en_US"))
        self.expect(10, 30)
        self.method(0, 10, 31, struct.pack(">HIH", 16, 131_072, 0))
        self.method(0, 10, 40, short_text("/") + short_text("") + b"\0")
        self.expect(10, 41)
        self.method(1, 20, 10, short_text(""))
        self.expect(20, 11)

    def frame(self, kind, channel, payload):
        self.sock.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + END)

    def method(self, channel, of, number, arguments):
        self.frame(METHOD, channel, struct.pack(">HH", of, number) + arguments)

    def read(self):
        """The next frame that is no heartbeat: kind, payload."""
        while True:
            while len(self.rest) < 7 or len(self.rest) < 8 + struct.unpack(
                    ">I", self.rest[3:7])[0]:
                chunk = self.sock.recv(65536)
                if not chunk:
                    raise RuntimeError("the broker closed the connection")
                self.rest += chunk
            kind, _, size = struct.unpack(">BHI", self.rest[:7])
            payload, self.rest = self.rest[7:7 + size], self.rest[8 + size:]
            if kind != HEARTBEAT:
                return kind, payload

    def expect(self, of, number):
        """Reads until a method comes; its arguments. Another close of channel or connection ends
        the benchmark."""
        while True:
            kind, payload = self.read()
            if kind != METHOD:
                continue
            found = struct.unpack(">HH", payload[:4])
            if found == (of, number):
                return payload[4:]
            if found in ((10, 50), (20, 40)):
                raise RuntimeError(f"closed: {closed(payload[4:])}")

    def hold_a_message(self, queue, seconds):
        """Publishes a message, takes it, keeps it, and waits until the channel is closed for that:
        seconds of waiting, reply code and text; None when `seconds` pass without it."""
        self.method(1, 50, 10, struct.pack(">H", 0) + short_text(queue)
                    + b"\x02" + struct.pack(">I", 0))
        self.expect(50, 11)
        self.method(1, 60, 40, struct.pack(">H", 0) + short_text("") + short_text(queue) + b"\0")
        self.frame(HEADER, 1, struct.pack(">HHQH", 60, 0, 1, 0))
        self.frame(BODY, 1, b"x")
        self.method(1, 60, 20, struct.pack(">H", 0) + short_text(queue) + short_text("holder")
                    + b"\0" + struct.pack(">I", 0))
        self.expect(60, 60)
        began = time.monotonic()
        self.sock.settimeout(seconds)
        try:
            arguments = self.expect(20, 40)
        except TimeoutError:
            return None
        code, text = closed(arguments)
        return round(time.monotonic() - began, 1), code, text

    def close(self):
        self.sock.close()


def closed(arguments):
    code = struct.unpack(">H", arguments[:2])[0]
    return code, arguments[3:3 + arguments[2]].decode(errors="replace")
