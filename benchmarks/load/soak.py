"""Resident memory of the API and the workers under steady load.

Searches of several samplers, watched and listed by clients, deleted some time after their end;
VmRSS every ten seconds, and its slope by least squares over the last three quarters.
"""

import itertools
import os
import threading
import time
import urllib.request

from load.pages import Reader
from stack import TASKS, Client, Stack, rss_mb, say, search, sleeping

EVERY = 10


def arguments(parser):
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of two slots")
    parser.add_argument("--tasks-per-second", type=float, default=2)
    parser.add_argument("--watchers", type=int, default=10)
    parser.add_argument("--kept", type=int, default=200, help="ended tasks that are not deleted")
    parser.add_argument("--logs", help="keep the logs in this folder")


def requests():
    """Searches in turns, every one another."""
    for number in itertools.count():
        name = {"task_name": f"soak {number}", "seed": number}
        yield search(5_000, **name)
        yield search(100, **{**name, "optimization_method": "tpe"})
        yield search(1, **name)
        yield search(200, **{**name, "optimization_method": "sobol"})
        yield sleeping(10, 0.02, **name)


class Load(threading.Thread):
    """Submits at a steady rate and deletes the oldest ended tasks above a number."""

    def __init__(self, stack, rate, kept):
        super().__init__(daemon=True)
        self.client, self.rate, self.kept = Client(stack.port), rate, kept
        self.over, self.fault = threading.Event(), None
        self.submitted, self.deleted, self.newest = 0, 0, None

    def run(self):
        try:
            self.work()
        except Exception as fault:
            self.fault = fault

    def work(self):
        mine, began = [], time.monotonic()
        for body in requests():
            status, content, _ = self.client.ask("POST", TASKS, body)
            if status != 201:
                raise RuntimeError(f"answered {status}: {content[:300]!r}")
            self.newest = content.split(b'"task_id":"')[1][:36].decode()
            mine.append(self.newest)
            self.submitted += 1
            while len(mine) > self.kept:
                status, content, _ = self.client.ask("DELETE", f"{TASKS}/{mine[0]}")
                if status == 409:
                    break
                mine.pop(0)
                self.deleted += 1
            due = began + self.submitted / self.rate
            if self.over.wait(max(0, due - time.monotonic())):
                return


def watch(stack, load):
    """One client that watches one task after the other to its end."""
    while not load.over.is_set():
        task = load.newest
        if task is None or load.over.wait(0.2):
            continue
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{stack.port}{TASKS}/{task}/events", timeout=60) as stream:
                for _ in stream:
                    pass
        except OSError:
            pass


def slope_per_hour(seconds, megabytes):
    """Least squares, MB per hour."""
    n = len(seconds)
    mean_x, mean_y = sum(seconds) / n, sum(megabytes) / n
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(seconds, megabytes))
    return over / sum((x - mean_x) ** 2 for x in seconds) * 3600


def run(args):
    stack = Stack("bench-soak", env={"TRIALMILL_SLOTS": "2"})
    try:
        stack.machine("soak")
        workers = [stack.worker() for _ in range(args.workers)]
        stack.live_workers(args.workers)
        load = Load(stack, args.tasks_per_second, args.kept)
        load.start()
        for _ in range(args.watchers):
            threading.Thread(target=watch, args=(stack, load), daemon=True).start()
        reader = Reader(stack, {
            "list": TASKS, "workers": "/api/v1/workers", "samplers": "/api/v1/samplers",
            "newest": lambda: f"{TASKS}/{load.newest}" if load.newest else TASKS}, 0.25)
        reader.start()
        watched = {"api": stack.api} | {f"worker_{n}": w for n, w in enumerate(workers)}
        times, memory = [], {name: [] for name in watched}
        began = time.monotonic()
        while time.monotonic() - began < args.minutes * 60:
            time.sleep(EVERY)
            if load.fault:
                raise load.fault
            times.append(time.monotonic() - began)
            for name, child in watched.items():
                memory[name].append(rss_mb(child))
        load.over.set()
        load.join()
        pages = reader.end()
        alive = stack.psql("select count(*) from tasks where completed_at is null")
        say(what="load", minutes=args.minutes, submitted=load.submitted, deleted=load.deleted,
            alive_at_the_end=int(alive),
            trials=int(stack.psql("select coalesce(sum(completed), 0) from tasks")),
            load=[round(x, 2) for x in os.getloadavg()])
        say(what="pages_ms", **pages)
        last = len(times) // 4
        for name, series in memory.items():
            quarter = max(1, len(series) // 4)
            means = [round(sum(series[i * quarter:(i + 1) * quarter]) / quarter, 1)
                     for i in range(4)]
            say(what="memory", process=name, samples=len(series), first_mb=series[0],
                last_mb=series[-1], most_mb=max(series), mean_mb_by_quarter=means,
                slope_mb_per_hour=round(slope_per_hour(times[last:], series[last:]), 2))
        silent, seconds = stack.verify()
        say(what="verify", silent=silent, seconds=seconds)
    finally:
        stack.close(args.logs)
