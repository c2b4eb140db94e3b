"""Very many watchers of running tasks on one API process, some of which stop reading.

Lag of an event: from the `at` that the database gave it to its arrival, on one machine's clock.
Watchers that stop reading have small buffers, so that what they do not take is felt at once; those
that wait in the service are counted by the sockets that the process holds.
"""

import json
import os
import selectors
import socket
import threading
import time
from datetime import datetime

from stack import TASKS, Stack, note, rss_mb, say, search, spread


def arguments(parser):
    parser.add_argument("--clients", type=int, default=500, help="watchers that read")
    parser.add_argument("--slow", type=int, default=10, help="watchers that stop reading")
    parser.add_argument("--tasks", type=int, default=5, help="tasks that run at a time")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one slot")
    parser.add_argument("--trial-ms", type=float, default=20, help="time of one trial")
    parser.add_argument("--logs", help="keep the logs in this folder")


class Watchers(threading.Thread):
    """Sockets that read events in one thread."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.over = threading.Event()
        self.lags, self.events, self.bytes, self.closed, self.refused = [], 0, 0, 0, 0
        self.measure = False
        self.lock = threading.Lock()

    def connect(self, task, small=False, after=0):
        sock = socket.socket()
        if small:
            # Small segments and a small window: the sender's buffer stays small too.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", self.port))
        sock.sendall(f"GET {TASKS}/{task}/events HTTP/1.1\r\nhost: localhost\r\n"
                     f"last-event-id: {after}\r\n\r\n".encode())
        return sock

    def add(self, sock):
        sock.setblocking(False)
        with self.lock:
            self.selector.register(sock, selectors.EVENT_READ, bytearray())

    def run(self):
        while not self.over.is_set():
            with self.lock:
                ready = self.selector.select(0)
            if not ready:
                time.sleep(0.002)
            for key, _ in ready:
                self.read(key)

    def read(self, key):
        try:
            chunk = key.fileobj.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        now = time.time()
        if not chunk:
            self.closed += 1
            with self.lock:
                self.selector.unregister(key.fileobj)
            key.fileobj.close()
            return
        self.bytes += len(chunk)
        rest = key.data
        rest += chunk
        *lines, last = rest.split(b"\n")
        key.data[:] = last
        for line in lines:
            if line.startswith(b"HTTP/1.1 ") and b" 200 " not in line:
                self.refused += 1
            if line.startswith(b"data: "):
                self.events += 1
                if self.measure:
                    at = json.loads(line[6:])["at"].replace("Z", "+00:00")
                    self.lags.append((now - datetime.fromisoformat(at).timestamp()) * 1000)


def sockets(child):
    """Sockets that a process holds."""
    folder = f"/proc/{child.pid}/fd"
    count = 0
    for name in os.listdir(folder):
        try:
            count += os.readlink(os.path.join(folder, name)).startswith("socket:")
        except OSError:
            pass
    return count


def cut_off(sock):
    """Whether a stream that was not read for long ends without its last event."""
    received = bytearray()
    sock.settimeout(2)
    try:
        while chunk := sock.recv(65536):
            received += chunk
    except OSError:
        pass
    sock.close()
    return b"event: ended" not in received


def cpu_seconds(child):
    with open(f"/proc/{child.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(args):
    stack = Stack("bench-sse", env={"TRIALMILL_FLUSH_MS": "200"}, statements=True)
    try:
        stack.machine("sse")
        workers = [stack.worker() for _ in range(args.workers)]
        stack.live_workers(args.workers)
        # A history of events, for those who stop reading in the middle of it.
        note("a task with a long history of events")
        busy = stack.worker(TRIALMILL_FLUSH_MS="10", TRIALMILL_UNIT_SECONDS="1")
        space = {"seconds": {"type": "float", "low": 0.008, "high": 0.012},
                 "x": {"type": "float", "low": -5.0, "high": 5.0}}
        old = stack.request("POST", TASKS, search(6_000, "sleep", param_space=space))["task_id"]
        stack.ended(old, every=0.5)
        busy.terminate()
        busy.wait()
        seconds = args.trial_ms / 1000
        space = {"seconds": {"type": "float", "low": seconds, "high": seconds * 1.01},
                 "x": {"type": "float", "low": -5.0, "high": 5.0}}
        tasks = [stack.request("POST", TASKS, search(
            1_000_000, "sleep", param_space=space, parallelism=2))["task_id"]
            for _ in range(args.tasks)]
        time.sleep(5)
        before = sockets(stack.api)
        say(what="before", api_mb=rss_mb(stack.api), sockets=before,
            events_of_history=int(stack.psql(f"select seq from tasks where id = '{old}'")))

        watchers = Watchers(stack.port)
        watchers.start()
        for n in range(args.clients):
            watchers.add(watchers.connect(tasks[n % len(tasks)]))
        slow = [watchers.connect(old, small=True) for _ in range(args.slow)]
        stalled = time.monotonic()
        time.sleep(5)
        connected = sockets(stack.api)
        say(what="connected", api_mb=rss_mb(stack.api), refused=watchers.refused, sockets=connected)
        stack.forget_statements()
        watchers.measure, events, received = True, watchers.events, watchers.bytes
        cpu, began = cpu_seconds(stack.api), time.monotonic()
        memory, dropped, held = [], None, connected
        while time.monotonic() - began < args.seconds:
            time.sleep(2)
            memory.append(rss_mb(stack.api))
            held = sockets(stack.api)
            if dropped is None and held <= connected - args.slow:
                dropped = time.monotonic() - stalled
        watchers.measure = False
        wall = time.monotonic() - began
        recorded = stack.rows("select sum(completed) from tasks")[0][0]
        say(what="watching", clients=args.clients, slow=args.slow, seconds=round(wall),
            events_per_s=round((watchers.events - events) / wall),
            kb_per_s=round((watchers.bytes - received) / wall / 1000),
            lag_ms=spread(watchers.lags), api_cpu=round((cpu_seconds(stack.api) - cpu) / wall, 2),
            closed=watchers.closed, refused=watchers.refused, trials_so_far=int(recorded),
            load=[round(x, 2) for x in os.getloadavg()])
        say(what="memory", api_mb_first=memory[0], api_mb_last=memory[-1], api_mb_most=max(memory),
            sockets=held, slow_dropped_after_s=dropped and round(dropped, 1),
            slow_cut_off=sum(cut_off(sock) for sock in slow))
        say(what="statements", top=stack.statements(5))
        extra = [watchers.connect(tasks[0]) for _ in range(512 - args.clients + 8)]
        for sock in extra:
            watchers.add(sock)
        time.sleep(3)
        say(what="above_the_limit", asked=args.clients + len(extra), refused=watchers.refused)
        watchers.over.set()
        watchers.join()
        for key in list(watchers.selector.get_map().values()):
            key.fileobj.close()
        # The pool of database connections has grown meanwhile, by 16 at most.
        stack.until(lambda: sockets(stack.api) <= before + 20, "the service lets go of its watchers")
        say(what="after", api_mb=rss_mb(stack.api), sockets=sockets(stack.api))
        for task in tasks:
            stack.request("POST", f"{TASKS}/{task}/cancel")
    finally:
        stack.close(args.logs)
