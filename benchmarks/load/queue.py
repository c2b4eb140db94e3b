"""Accepts very many tasks over HTTP while no worker lives, then lets workers take them.

Submission latency at the beginning and at the end, pages of the list, what the database spent its
time on, how fast workers drain a short and the long queue, and whether messages were waiting for
them whenever one was looked for.
"""

import os
import threading
import time

from load.pages import Reader, latencies
from stack import TASKS, Client, Stack, note, rss_mb, say, search, spread

PRIORITIES = ("normal", "high", "normal", "low")


def arguments(parser):
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=3, help="trials of each task")
    parser.add_argument("--clients", type=int, default=4, help="threads that submit")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one slot")
    parser.add_argument("--drain-seconds", type=float, default=60)
    parser.add_argument("--pages", type=int, default=100, help="requests of each kind of page")
    parser.add_argument("--logs", help="keep the logs in this folder")


def submit_all(stack, tasks, trials, clients):
    """Submits from several threads; (second at which it ended, milliseconds) of each task."""
    numbers = iter(range(tasks))
    lock, done, faults = threading.Lock(), [], []
    began = time.perf_counter()

    def one():
        client = Client(stack.port)
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                body = search(trials, task_name=f"queued {number}", seed=number,
                              priority=PRIORITIES[number % 4])
                status, content, ms = client.ask("POST", TASKS, body)
                if status != 201:
                    raise RuntimeError(f"answered {status}: {content[:300]!r}")
                done.append((time.perf_counter() - began, ms))
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return sorted(done)


def drain(stack, seconds):
    """Tasks that end per second over `seconds` (or until none is left), and how often the broker
    had a message ready when it was asked."""
    ended = "select count(*) from tasks where completed_at is not null"
    first, began = int(stack.psql(ended)), time.monotonic()
    looked = ready = 0
    while time.monotonic() - began < seconds:
        time.sleep(0.5)
        queue = stack.management("GET", "/api/queues/%2F/trialmill.work.default.v1")
        looked += 1
        ready += queue.get("messages_ready", 0) > 0
        if stack.psql("select not exists (select from tasks where completed_at is null)") == "t":
            break
    wall = time.monotonic() - began
    tasks = int(stack.psql(ended)) - first
    return {"seconds": round(wall, 1), "tasks": tasks, "tasks_per_s": round(tasks / wall, 1),
            "looks": looked, "looks_with_messages_ready": ready}


def run(args):
    stack = Stack("bench-queue", statements=True)
    workers = []
    try:
        stack.machine("queue")
        say(what="start", api_mb=rss_mb(stack.api))

        # A short queue first, to compare the drain of the long one with.
        short = max(200, args.tasks // 50)
        submit_all(stack, short, args.trials, args.clients)
        workers = [stack.worker() for _ in range(args.workers)]
        stack.live_workers(args.workers)
        say(what="drain_short_queue", queued=short, workers=args.workers,
            **drain(stack, args.drain_seconds))
        for worker in workers:
            worker.terminate()
            worker.wait()

        stack.forget_statements()
        reader = Reader(stack, {"list": TASKS, "list_queued": f"{TASKS}?status=queued"}, 0.5)
        reader.start()
        began = time.perf_counter()
        done = submit_all(stack, args.tasks, args.trials, args.clients)
        wall = time.perf_counter() - began
        part = max(1, len(done) // 20)
        ms = [ms for _, ms in done]
        say(what="submit", tasks=len(done), clients=args.clients, wall_s=round(wall, 1),
            tasks_per_s=round(len(done) / wall, 1), first_5_percent_ms=spread(ms[:part]),
            middle_5_percent_ms=spread(ms[len(ms) // 2:][:part]),
            last_5_percent_ms=spread(ms[-part:]),
            rate_by_tenth=[round(len(done) / 10 / (done[len(done) * (i + 1) // 10 - 1][0]
                           - (done[len(done) * i // 10 - 1][0] if i else 0)), 1)
                           for i in range(10)],
            api_mb=rss_mb(stack.api))
        say(what="pages_while_submitting_ms", **reader.end())
        say(what="statements_while_submitting", top=stack.statements())

        stack.forget_statements()
        queued = [row[0] for row in stack.rows(
            "select id from tasks where state = 'queued' order by id")]
        middle, last = queued[len(queued) // 2], queued[-1]
        pages = {
            "first": TASKS, "largest": f"{TASKS}?limit=1000", "middle": f"{TASKS}?cursor={middle}",
            "all_kinds": "/api/v1/tasks", "queued": f"{TASKS}?status=queued",
            "completed": f"{TASKS}?status=completed", "strategy": f"{TASKS}?strategy_name=sphere",
            "no_strategy": f"{TASKS}?strategy_name=sleep", "name": f"{TASKS}?name=queued%207",
            "task": f"{TASKS}/{last}", "status": f"{TASKS}/{last}/status",
            "trials": f"{TASKS}/{last}/trials", "explain": f"{TASKS}/{last}/explain",
            "workers": "/api/v1/workers"}
        for name, figures in latencies(stack, pages, args.pages).items():
            say(what="page_ms", page=name, queued_tasks=len(queued), **figures)
        say(what="statements_of_pages", top=stack.statements(4))
        time.sleep(10)
        stack.forget_statements()
        time.sleep(20)
        say(what="statements_idle_20s", top=stack.statements(4))

        stack.forget_statements()
        note("workers start")
        workers = [stack.worker() for _ in range(args.workers)]
        stack.live_workers(args.workers)
        reader = Reader(stack, {"list": TASKS, "list_queued": f"{TASKS}?status=queued"}, 0.5)
        reader.start()
        client = Client(stack.port)
        before = len(queued)
        submitted = []

        def submit_slowly(over):
            while not over.wait(0.2):
                submitted.append(client.ask("POST", TASKS, search(1, priority="low"))[2])

        over = threading.Event()
        also = threading.Thread(target=submit_slowly, args=(over,), daemon=True)
        also.start()
        say(what="drain_long_queue", queued=before, workers=args.workers,
            **drain(stack, args.drain_seconds))
        over.set()
        also.join()
        say(what="submit_while_draining_ms", **spread(submitted))
        say(what="pages_while_draining_ms", **reader.end())
        say(what="statements_while_draining", top=stack.statements())
        say(what="end", api_mb=rss_mb(stack.api), worker_mb=[rss_mb(w) for w in workers],
            load=round(os.getloadavg()[0], 2))
        silent, seconds = stack.verify()
        say(what="verify", silent=silent, seconds=seconds)
    finally:
        stack.close(args.logs)
