"""A trial that takes far longer than the broker lets a message be unacknowledged.

RabbitMQ closes channels whose oldest message was held for `--timeout` seconds; that it really does
is shown by a plain consumer. A worker then runs one trial of `--trial` seconds: it must be recorded
once, under its first lease, and the worker's consumer must take the next unit.
"""

import threading
import time
from urllib.parse import urlsplit

from load.amqp import Connection
from stack import TASKS, Stack, note, say, sleeping

QUEUE = "trialmill.work.default.v1"


def arguments(parser):
    parser.add_argument("--timeout", type=float, default=60, help="seconds, of the broker")
    parser.add_argument("--tick", type=float, default=5, help="seconds between the broker's looks")
    parser.add_argument("--trial", type=float, default=300, help="seconds, of the trial")
    parser.add_argument("--ack-early", type=int, nargs="*", default=[30, 300],
                        help="TRIALMILL_ACK_EARLY_SECONDS, one run for each")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one slot")
    parser.add_argument("--logs", help="keep the logs in this folder")


def consumers(stack):
    """Consumers of the work queue by their tags."""
    found = stack.management("GET", "/api/consumers")
    return sorted(c["consumer_tag"] for c in found if c["queue"]["name"] == QUEUE)


def one_run(stack, args, ack_early):
    workers = [stack.worker(TRIALMILL_ACK_EARLY_SECONDS=str(ack_early))
               for _ in range(args.workers)]
    stack.until(lambda: len(consumers(stack)) == args.workers, "every slot consumes")
    before = consumers(stack)
    restarted = "the consumer ended"
    restarts = stack.log_lines(restarted)
    body = sleeping(1, args.trial, trial_timeout=args.trial + 300)
    began = time.monotonic()
    task = stack.request("POST", TASKS, body)["task_id"]
    fewest = args.workers
    while stack.status(task)["status"] not in ("completed", "failed"):
        fewest = min(fewest, len(consumers(stack)))
        time.sleep(1)
        if time.monotonic() - began > args.trial + 120:
            raise RuntimeError("the trial does not end")
    wall = time.monotonic() - began
    trials, token, crashes = stack.rows(
        "select (select count(*) from trials r where r.task_id = u.task_id), lease_token, crashes"
        f" from units u where task_id = '{task}'")[0]
    stack.until(lambda: consumers(stack) == before, "the same consumers are there", patience=60)
    # The slot that was busy takes the next unit, too: as many at once as there are slots.
    began = time.monotonic()
    next_tasks = [stack.request("POST", TASKS, sleeping(1, 2, seed=n))["task_id"]
                  for n in range(args.workers)]
    for next_task in next_tasks:
        stack.ended(next_task)
    owners = stack.rows("select count(distinct owner), max(lease_token) from units where task_id in ("
                        + ", ".join(f"'{t}'" for t in next_tasks) + ")")[0]
    say(what="run", ack_early_s=ack_early, broker_timeout_s=args.timeout, trial_s=args.trial,
        wall_s=round(wall, 1), recorded_trials=int(trials), lease_token=int(token),
        crashes=int(crashes), fewest_consumers=fewest, consumers_afterwards=len(before),
        consumer_restarts=stack.log_lines(restarted) - restarts,
        next_units_s=round(time.monotonic() - began, 1), next_units_lease_token=owners[1])
    for worker in workers:
        worker.terminate()
        worker.wait()


def run(args):
    ms = (int(args.timeout * 1000), int(args.tick * 1000))
    stack = Stack("bench-ack-timeout", rabbitmq="[{rabbit, [{consumer_timeout, %d},"
                  " {channel_tick_interval, %d}]}].\n" % ms, env={"TRIALMILL_LOG": "info"})
    try:
        stack.machine("ack-timeout")
        held = []

        def hold():
            connection = Connection(urlsplit(stack.env["AMQP_URL"]).port)
            held.append(connection.hold_a_message("bench.held", args.timeout * 3))
            connection.close()

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        for number, ack_early in enumerate(args.ack_early):
            one_run(stack, args, ack_early)
            if number == 0:
                note("the plain consumer")
                holder.join()
                seconds, code, text = held[0] or (None, None, "it was not closed")
                say(what="plain_consumer", closed_after_s=seconds, code=code, text=text)
        silent, seconds = stack.verify()
        say(what="verify", silent=silent, seconds=seconds)
    finally:
        stack.close(args.logs)
