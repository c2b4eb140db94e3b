"""The whole system for a benchmark: servers, API and workers of its own, thrown away afterwards."""

import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Another build can be measured with the same scripts.
BIN = os.environ.get("BENCH_BIN") or os.path.join(ROOT, "target", "release")
TASKS = "/api/v1/optimization/tasks"
# No step of a benchmark may hang for ever: a server or a worker that is not there by then is lost.
PATIENCE = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def say(**fields):
    """One result: a line of JSON."""
    print(json.dumps(fields), flush=True)


def note(text):
    """For whoever waits, not part of the results."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def percentile(values, share):
    """The smallest value that is at least as large as `share` of them (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def spread(values, digits=1):
    """Count, median, 99th percentile and largest."""
    if not values:
        return {"n": 0}
    return {"n": len(values), "p50": round(statistics.median(values), digits),
            "p99": round(percentile(values, 0.99), digits), "max": round(max(values), digits)}


def fsync_ms(path):
    """Median time of an 8 kB write and fdatasync, in milliseconds."""
    name = os.path.join(path, "fsync-probe")
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    times = []
    for _ in range(100):
        began = time.perf_counter()
        os.pwrite(fd, b"x" * 8192, 0)
        os.fdatasync(fd)
        times.append(time.perf_counter() - began)
    os.close(fd)
    os.unlink(name)
    return round(statistics.median(times) * 1000, 3)


def rss_mb(child):
    """Resident memory of a process, in MB."""
    with open(f"/proc/{child.pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"process {child.pid} has ended")


class Client:
    """One kept connection to the API, for latencies without connecting."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, method, path, body=None):
        """The answer's status, its bytes, and milliseconds from the request to the last of them."""
        data = None if body is None else json.dumps(body).encode()
        began = time.perf_counter()
        self.connection.request(method, path, data, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, content, (time.perf_counter() - began) * 1000

    def get(self, path):
        """The answer's document and its milliseconds; ends the benchmark on any other status."""
        status, content, ms = self.ask("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path} answered {status}: {content[:300]!r}")
        return json.loads(content), ms


class Stack:
    """PostgreSQL (fsync on), RabbitMQ, one API, and the workers that are asked for."""

    def __init__(self, name, env=None, rabbitmq=None, statements=False):
        """Starts the servers and the API. `rabbitmq`: its advanced.config;
        `statements`: PostgreSQL counts the time of every statement (pg_stat_statements)."""
        self.dir = os.path.join(ROOT, ".services", name)
        os.makedirs(self.dir, exist_ok=True)
        self.children = []
        self.logs = os.path.join(self.dir, "logs")
        os.makedirs(self.logs, exist_ok=True)
        self.services_env = {
            k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "AMQP_URL")}
        self.services_env["TRIALMILL_SERVICES_DIR"] = self.dir
        if rabbitmq:
            conf = os.path.join(self.dir, "advanced.config")
            with open(conf, "w") as file:
                file.write(rabbitmq)
            self.services_env["TRIALMILL_SERVICES_RABBITMQ_ADVANCED"] = conf
        self.services("start")
        self.env = dict(os.environ)
        for line in self.services("env").splitlines():
            key, value = line.removeprefix("export ").split("=", 1)
            self.env[key] = value.strip("'\"")
        self.port = free_port()
        self.env["TRIALMILL_LISTEN"] = f"127.0.0.1:{self.port}"
        self.env["TRIALMILL_LOG"] = "warn"
        self.env["TRIALMILL_RATE_PER_SECOND"] = "0"  # one address here sends what many would
        self.env["TRIALMILL_SLOTS"] = "1"
        self.env.update(env or {})
        if statements:
            self.psql("alter system set shared_preload_libraries = 'pg_stat_statements'")
            self.services("restart", "pg")
            self.psql("create extension if not exists pg_stat_statements")
        subprocess.run([f"{BIN}/trialmill", "migrate"], env=self.env, check=True,
                       stdout=sys.stderr)
        self.api = self.spawn("trialmill-api")
        self.wait_for("/healthz")

    def services(self, *verbs):
        out = subprocess.run(
            [os.path.join(ROOT, "scripts", "services"), *verbs], env=self.services_env,
            check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        return out.stdout

    def spawn(self, name, **env):
        """Starts a program; what it says goes to a file of its own."""
        number = len(self.children)
        env = dict(self.env, TRIALMILL_STATUS_FILE=os.path.join(self.dir, f"status.{number}"), **env)
        with open(os.path.join(self.logs, f"{name}.{number}.log"), "w") as log:
            child = subprocess.Popen([f"{BIN}/{name}"], env=env, stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log)
        self.children.append(child)
        return child

    def worker(self, **env):
        return self.spawn("trialmill-worker", **env)

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, method=method,
            headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def client(self):
        return Client(self.port)

    def until(self, condition, what, every=0.1, patience=PATIENCE):
        """Waits for a condition and returns what it gave; ends the benchmark when it never comes."""
        deadline = time.monotonic() + patience
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {patience} s")
            time.sleep(every)

    def wait_for(self, path):
        def answers():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5):
                    return True
            except urllib.error.HTTPError:
                raise
            except OSError:
                return False
        self.until(answers, f"{path} answers")

    def psql(self, sql):
        out = subprocess.run(["psql", "-XAtq", self.env["DATABASE_URL"], "-c", sql], check=True,
                             stdout=subprocess.PIPE, text=True)
        return out.stdout.strip()

    def rows(self, sql):
        """Rows of text columns."""
        out = self.psql(sql)
        return [line.split("|") for line in out.splitlines()]

    def submit(self, n_trials, **fields):
        return self.request("POST", TASKS, search(n_trials, **fields))["task_id"]

    def status(self, task):
        return self.request("GET", f"{TASKS}/{task}/status")

    def ended(self, task, every=0.02, patience=3600):
        def over():
            status = self.status(task)
            if status["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"the task ended as {status}")
            return status if status["status"] == "completed" else None
        return self.until(over, f"task {task} ends", every, patience)

    def counters(self):
        """Commits of the database and syncs of its log so far."""
        return [int(x) for x in self.psql(
            "select xact_commit || ' ' || (select wal_sync from pg_stat_wal)"
            " from pg_stat_database where datname = current_database()").split()]

    def live_workers(self, wanted):
        def live():
            workers = self.request("GET", "/api/v1/workers")["items"]
            return sum(w["live"] for w in workers) >= wanted
        self.until(live, f"{wanted} workers are live")

    def management(self, method, path):
        """The answer of RabbitMQ's management API (None for an empty one)."""
        address = self.env["TRIALMILL_RABBITMQ_MANAGEMENT_URL"]
        scheme, rest = address.split("://", 1)
        login, host = rest.split("@", 1)
        user, password = login.split(":", 1)
        request = urllib.request.Request(f"{scheme}://{host}{path}", method=method)
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, f"{scheme}://{host}", user, password, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        with opener.open(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def statements(self, most=8):
        """The statements that took most of the database's time since the last reset."""
        rows = self.rows(
            "select calls, round(mean_exec_time::numeric, 2), round(max_exec_time::numeric, 1),"
            " round(total_exec_time::numeric / 1000, 1),"
            " left(regexp_replace(query, '\\s+', ' ', 'g'), 90)"
            " from pg_stat_statements where query not like '%pg_stat%'"
            f" order by total_exec_time desc limit {most}")
        return [{"calls": int(r[0]), "mean_ms": float(r[1]), "max_ms": float(r[2]),
                 "total_s": float(r[3]), "query": "|".join(r[4:])} for r in rows]

    def forget_statements(self):
        self.psql("select pg_stat_statements_reset()")

    def machine(self, what):
        """The line that every run of figures begins with."""
        binary = os.path.getmtime(f"{BIN}/trialmill-api")
        say(what="machine", of=what, cores=os.cpu_count(), fsync_ms=fsync_ms(self.dir),
            load=[round(x, 2) for x in os.getloadavg()], date=time.strftime("%Y-%m-%d"),
            postgresql=self.psql("show server_version").split()[0],
            rabbitmq=self.management("GET", "/api/overview")["rabbitmq_version"],
            built=time.strftime("%Y-%m-%d %H:%M", time.localtime(binary)))

    def verify(self):
        """Whether `trialmill verify` finds nothing, and its seconds."""
        began = time.perf_counter()
        silent = subprocess.run([f"{BIN}/trialmill", "verify"], env=self.env,
                                stdout=sys.stderr).returncode == 0
        return silent, round(time.perf_counter() - began, 2)

    def log_lines(self, text):
        """How many lines of the programs' logs contain the text."""
        found = 0
        for name in os.listdir(self.logs):
            with open(os.path.join(self.logs, name), errors="replace") as log:
                found += sum(text in line for line in log)
        return found

    def close(self, keep_logs=None):
        """Ends everything and throws it away; `keep_logs`: a folder for the logs."""
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(45)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.services("stop")
        if keep_logs:
            shutil.copytree(self.logs, keep_logs, dirs_exist_ok=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def search(n_trials, strategy="sphere", **fields):
    """The request of a search with a test function; `fields` replace or add."""
    space = {f"x{i}": {"type": "float", "low": -5.0, "high": 5.0} for i in range(5)}
    return {
        "task_name": "bench", "strategy_name": strategy, "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31", "param_space": space,
        "objective_config": {"objective_metric": "value"},
        "optimization_method": "random", "n_trials": n_trials, "seed": 1, **fields}


def sleeping(n_trials, seconds, **fields):
    """The request of a search whose trials take `seconds` each."""
    space = {"seconds": {"type": "float", "low": seconds, "high": seconds + 1e-6},
             "x": {"type": "float", "low": -5.0, "high": 5.0}}
    return search(n_trials, "sleep", param_space=space, **fields)
