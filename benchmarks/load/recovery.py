"""How long it takes until work goes on after something died, at the leases of production (30 s).

  kills    kill -9 of a worker in the middle of units: until each of its units is claimed again, by
           the database's times; with free slots, and (kills-busy) with every slot busy
  broker   restart of RabbitMQ: from its port being open until every slot consumes again
  wipes    the queue deleted, purged, and the broker's disk wiped: until all waiting units are
           published again; for the disk from the port being open
  rolling  SIGTERM of every worker, one after the other, under load
"""

import random
import signal
import socket
import subprocess
import threading
import time
from urllib.parse import urlsplit

from stack import TASKS, Stack, note, say, search, sleeping, spread

QUEUE = "/api/queues/%2F/trialmill.work.default.v1"
PARTS = ("kills", "kills-busy", "broker", "wipes", "rolling")


def arguments(parser):
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], metavar="PART",
                        help="which: " + ", ".join(PARTS) + "; all when none is named")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5, help="of the broker")
    parser.add_argument("--wipes", type=int, default=3, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5, help="of rolling restarts")
    parser.add_argument("--seed", type=int, default=1, help="of the times of kills")
    parser.add_argument("--logs", help="keep the logs in this folder")


class Fleet:
    """Workers that are replaced as they go."""

    def __init__(self, stack, size, slots):
        self.stack, self.slots = stack, slots
        self.workers = [self.start() for _ in range(size)]
        stack.live_workers(size)

    def start(self):
        return self.stack.worker(TRIALMILL_SLOTS=str(self.slots))

    def id_of(self, worker):
        """Its id in the database, once it is there."""
        def found():
            return self.stack.psql(
                f"select id from workers where name like '%:{worker.pid}' and left_at is null"
                " order by started_at desc limit 1")
        return self.stack.until(found, "the worker announces itself")

    def end(self):
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait()


def kills(stack, args, busy):
    chance = random.Random(args.seed)
    fleet = Fleet(stack, 4, 2)
    # Eight slots: four units at a time leave room, two searches of eight keep every slot busy.
    parallelism = 8 if busy else 4
    tasks = [stack.request("POST", TASKS, sleeping(
        100_000, 1.5, parallelism=parallelism, task_name="killed"))["task_id"]
        for _ in range(2 if busy else 1)]
    open_losses, times, lost = {}, [], 0
    lock, over, faults = threading.Lock(), threading.Event(), []

    def look():
        """Which lost units were claimed again, a few times a second."""
        try:
            while not over.is_set():
                with lock:
                    waiting = dict(open_losses)
                if waiting:
                    keys = ", ".join(f"('{t}'::uuid, {n})" for t, n in waiting)
                    for task, number, token, at in stack.rows(
                            "select task_id, number, lease_token,"
                            " extract(epoch from lease_until) - 30 from units"
                            f" where (task_id, number) in ({keys}) and state = 'leased'"):
                        before, since = waiting[task, int(number)]
                        if int(token) > before:
                            with lock:
                                times.append(float(at) - since)
                                del open_losses[task, int(number)]
                time.sleep(0.1)
        except Exception as fault:
            faults.append(fault)

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    done = 0
    while done < args.kills:
        time.sleep(chance.uniform(6, 14))
        worker = fleet.workers.pop(chance.randrange(len(fleet.workers)))
        owner = fleet.id_of(worker)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        # What it held when it died: its writes are over, and nobody can have taken it yet.
        units = stack.rows(
            "select task_id, number, lease_token, extract(epoch from clock_timestamp())"
            f" from units where state = 'leased' and owner = '{owner}'")
        fleet.workers.append(fleet.start())
        if not units:
            continue
        done += 1
        lost += len(units)
        with lock:
            for task, number, token, at in units:
                open_losses[task, int(number)] = (int(token), float(at))
        note(f"kill {done}: {len(units)} units, {len(times)} of {lost} back")
    try:
        stack.until(lambda: not open_losses or faults, "every lost unit is claimed again",
                    patience=180)
    finally:
        over.set()
        looker.join()
    if faults:
        raise faults[0]
    failed = sum(stack.status(task)["failed_trials"] for task in tasks)
    for task in tasks:
        stack.request("POST", f"{TASKS}/{task}/cancel")
    fleet.end()
    say(what="kills_busy" if busy else "kills", kills=done, units_lost=lost, failed_trials=failed,
        claimed_again_s=spread(times))


def port_opens(stack):
    """When the broker's port takes connections again after it did not."""
    port = urlsplit(stack.env["AMQP_URL"]).port

    def is_open():
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(("127.0.0.1", port)) == 0
    stack.until(lambda: not is_open(), "the broker's port closes", every=0.01)
    stack.until(is_open, "the broker's port opens", every=0.01)
    return time.monotonic()


def consuming(stack):
    """Consumers of the work queue; none while the management API is away."""
    try:
        found = stack.management("GET", "/api/consumers")
    except OSError:
        return 0
    return sum(c["queue"]["name"].startswith("trialmill.work.") for c in found)


def while_running(command, look):
    """Runs a verb of scripts/services beside a look at what it does."""
    done = []
    thread = threading.Thread(target=lambda: done.append(command()), daemon=True)
    thread.start()
    found = look()
    thread.join()
    if not done:
        raise RuntimeError("scripts/services failed")
    return found


def broker(stack, args):
    fleet = Fleet(stack, 4, 4)
    task = stack.request("POST", TASKS, sleeping(1_000_000, 0.5, task_name="restart"))["task_id"]
    stack.until(lambda: consuming(stack) == 16, "every slot consumes")
    times = []
    for number in range(args.restarts):
        opened = while_running(lambda: stack.services("restart", "rabbitmq"),
                               lambda: port_opens(stack))
        stack.until(lambda: consuming(stack) == 16, "every slot consumes again")
        times.append(time.monotonic() - opened)
        note(f"restart {number + 1}: {times[-1]:.1f} s")
        time.sleep(3)
    failed = stack.status(task)["failed_trials"]
    stack.request("POST", f"{TASKS}/{task}/cancel")
    fleet.end()
    say(what="broker_restarts", restarts=len(times), slots=16, failed_trials=failed,
        consumers_back_s=spread(times))


def wipes(stack, args):
    """Long trials keep every slot busy, so that published units wait in the queue."""
    fleet = Fleet(stack, 2, 2)
    for kind in ("queue_deleted", "queue_purged", "disk_wiped"):
        times = []
        for number in range(args.wipes):
            task = stack.request("POST", TASKS, sleeping(
                1_000, 600, parallelism=20, trial_timeout=1000, task_name=kind))["task_id"]
            waiting = ("select count(*) from units where task_id = '%s' and state = 'queued'"
                       " and publishes > 0 and publish_at > now()" % task)
            stack.until(lambda: int(stack.psql(waiting)) == 8, "units wait in the queue")
            # A unit that is confirmed is due again a minute later: what is due more than a minute
            # after the wipe was published after it.
            wiped = stack.psql("select clock_timestamp()")
            began = time.monotonic()
            if kind == "queue_deleted":
                stack.management("DELETE", QUEUE)
            elif kind == "queue_purged":
                stack.management("DELETE", f"{QUEUE}/contents")
            else:
                began = while_running(lambda: stack.services("wipe", "rabbitmq"),
                                      lambda: port_opens(stack))
            again = (f"{waiting} and publish_at > timestamptz '{wiped}' + interval '60 s'")
            stack.until(lambda: int(stack.psql(again)) == 8, "all units are published again",
                        every=0.05, patience=300)
            times.append(time.monotonic() - began)
            note(f"{kind} {number + 1}: {times[-1]:.1f} s")
            stack.request("POST", f"{TASKS}/{task}/cancel")
            stack.until(lambda: stack.status(task)["status"] == "cancelled", "it is cancelled")
        say(what=kind, times=len(times), published_again_s=spread(times))
    fleet.end()


def rolling(stack, args):
    fleet = Fleet(stack, 3, 2)
    tasks = [stack.request("POST", TASKS, body)["task_id"] for body in (
        sleeping(1_000_000, 0.3, task_name="steady"), sleeping(1_000_000, 3, task_name="slow"),
        search(1_000_000, optimization_method="tpe", task_name="quick"))]
    time.sleep(3)
    exits, codes = [], set()
    for number in range(args.rounds):
        for _ in range(len(fleet.workers)):
            worker = fleet.workers.pop(0)
            began = time.monotonic()
            worker.terminate()
            codes.add(worker.wait(60))
            exits.append(time.monotonic() - began)
            fleet.workers.append(fleet.start())
            fleet.id_of(fleet.workers[-1])
            time.sleep(1)
        note(f"round {number + 1}: exits up to {max(exits):.1f} s")
    failed = sum(stack.status(task)["failed_trials"] for task in tasks)
    listed = ", ".join(f"'{task}'" for task in tasks)
    charged = stack.psql(f"select coalesce(sum(crashes), 0) from units where task_id in ({listed})")
    expired = stack.psql("select count(*) from task_events where event->>'type' = 'unit_lost'"
                         f" and task_id in ({listed})")
    for task in tasks:
        stack.request("POST", f"{TASKS}/{task}/cancel")
    fleet.end()
    say(what="rolling_restarts", rounds=args.rounds, workers=3, exits=len(exits),
        exit_codes=sorted(codes), failed_trials=failed, crashes_charged=int(charged),
        leases_expired=int(expired), exit_s=spread(exits))


def run(args):
    stack = Stack("bench-recovery")
    parts = {"kills": lambda: kills(stack, args, False),
             "kills-busy": lambda: kills(stack, args, True),
             "broker": lambda: broker(stack, args), "wipes": lambda: wipes(stack, args),
             "rolling": lambda: rolling(stack, args)}
    try:
        stack.machine("recovery")
        for part in args.parts or PARTS:
            note(part)
            parts[part]()
        silent, seconds = stack.verify()
        say(what="verify", silent=silent, seconds=seconds)
    finally:
        stack.close(args.logs)
