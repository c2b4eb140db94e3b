"""One study of very many trials: pages of it while it runs and afterwards.

The task, its status and best, pages of its trials at the beginning, the middle and the end, with
and without a filter; then the replay of all its events, a walk over all its trials, `verify`, and
the bytes on disk for a million trials.
"""

import os
import time
import urllib.request

from load.pages import Reader, latencies
from stack import TASKS, Client, Stack, note, rss_mb, say


def arguments(parser):
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one slot")
    parser.add_argument("--method", default="random", help="sampler")
    parser.add_argument("--pages", type=int, default=200, help="requests of each kind of page")
    parser.add_argument("--logs", help="keep the logs in this folder")


def pages_of(task, trials):
    """What a client looks at, by name."""
    path = f"{TASKS}/{task}"
    return {
        "task": path, "status": f"{path}/status", "best": f"{path}/best",
        "explain": f"{path}/explain", "list": TASKS,
        "trials_first": f"{path}/trials", "trials_first_1000": f"{path}/trials?limit=1000",
        "trials_middle": f"{path}/trials?cursor={trials // 2}",
        "trials_last": f"{path}/trials?cursor={trials - 100}",
        "trials_completed_middle": f"{path}/trials?state=completed&cursor={trials // 2}",
        "trials_failed": f"{path}/trials?state=failed",
        "trials_running": f"{path}/trials?state=running",
        "trial": f"{path}/trials/{trials // 2}",
    }


def replay(stack, task, after):
    """All events after a number, as a watcher reads them: how many, their bytes, seconds."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.port}{TASKS}/{task}/events", headers={"last-event-id": str(after)})
    events = size = 0
    began = time.perf_counter()
    first = None
    with urllib.request.urlopen(request, timeout=120) as stream:
        for line in stream:
            size += len(line)
            if line.startswith(b"id:"):
                first = first or time.perf_counter() - began
                events += 1
    return {"after": after, "events": events, "mb": round(size / 1e6, 2),
            "first_ms": round(first * 1000, 1) if first else None,
            "seconds": round(time.perf_counter() - began, 2)}


def run(args):
    stack = Stack("bench-big", statements=True)
    try:
        stack.machine("big")
        workers = [stack.worker() for _ in range(args.workers)]
        stack.live_workers(args.workers)
        stack.forget_statements()
        began = time.perf_counter()
        task = stack.submit(args.trials, optimization_method=args.method)
        pages = pages_of(task, args.trials)
        del pages["trial"], pages["best"]
        stack.until(lambda: stack.status(task)["completed_trials"], "the first trial ends")
        pages["best"] = f"{TASKS}/{task}/best"
        reader = Reader(stack, pages, 0.01)
        reader.start()
        stack.ended(task, every=0.2)
        wall = time.perf_counter() - began
        seen = reader.end()
        say(what="study", method=args.method, trials=args.trials, workers=args.workers,
            wall_s=round(wall, 1), trials_per_s=round(args.trials / wall),
            units=int(stack.psql(f"select count(*) from units where task_id = '{task}'")),
            api_mb=rss_mb(stack.api), worker_mb=[rss_mb(w) for w in workers],
            load=[round(x, 2) for x in os.getloadavg()])
        for name, figures in seen.items():
            say(what="page_while_running_ms", page=name, **figures)
        say(what="statements_while_running", top=stack.statements())

        stack.forget_statements()
        for name, figures in latencies(stack, pages_of(task, args.trials), args.pages).items():
            say(what="page_after_ms", page=name, trials=args.trials, **figures)
        say(what="statements_of_pages", top=stack.statements(4))

        events = int(stack.psql(f"select seq from tasks where id = '{task}'"))
        say(what="event_replay", **replay(stack, task, 0))
        say(what="event_replay", **replay(stack, task, max(0, events - 10)))
        note("walking over all trials")
        client, cursor, walked, began = Client(stack.port), None, 0, time.perf_counter()
        while True:
            after = "" if cursor is None else f"&cursor={cursor}"
            page, _ = client.get(f"{TASKS}/{task}/trials?limit=1000{after}")
            walked += len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        wall = time.perf_counter() - began
        say(what="walk_over_all_trials", trials=walked, seconds=round(wall, 1),
            trials_per_s=round(walked / wall), api_mb=rss_mb(stack.api))
        silent, seconds = stack.verify()
        say(what="verify", silent=silent, seconds=seconds)
        sizes = stack.rows(
            "select relname, pg_total_relation_size(oid) from pg_class"
            " where relname in ('trials', 'task_events', 'units') order by 1")
        say(what="disk_mb", n_trials=args.trials, **{name: round(int(size) / 1e6, 1) for name, size in sizes})
        status, _, ms = Client(stack.port).ask("DELETE", f"{TASKS}/{task}")
        say(what="delete", status=status, seconds=round(ms / 1000, 2))
    finally:
        stack.close(args.logs)
