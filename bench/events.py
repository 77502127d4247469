"""The rows of durable events. Redis syncs each write (appendfsync always) in all of them."""
import os, re, signal, statistics, time
import urllib.request

from stand import (Process, free_port, key_values, listens, nginx_proxy, note, output, resident_kb, share_kb, wait_for,
                   wrk, answers)

BYTES = 200
WINDOW, SMALL_WINDOW = 4096, 512
POST = ("POST", "x" * BYTES)
ASYNC = {"Prefer": "respond-async"}
BACKLOG = 1000000


def client_events(build, broker, *more, window=WINDOW):
    return key_values(output(build / "bench" / "client_events", "--brokers", broker, "--bytes", BYTES,
                             "--in-flight", window, *more))


def metrics(admin):
    """name → value, added up over services and instances."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as r:
        text = r.read().decode()
    found = {}
    for name, value in re.findall(r"^(pirn_\w+)(?:\{[^\n]*\})? (\S+)$", text, re.M):
        found[name] = found.get(name, 0) + float(value)
    return found


def undone(admin):
    now = metrics(admin)
    return sum(now.get(f"pirn_broker_events_{state}", 1) for state in ("ready", "running", "waiting", "ending"))


def sync_p50(folder, size, seconds):
    """Median time of fdatasync after an append of `size` bytes, as Redis makes it."""
    path, times = folder / "sync-probe", []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(fd, b"x" * size)
        start = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    path.unlink()
    return statistics.median(times)


def redis_info(socket, section, name):
    text = output("redis-cli", "-s", socket, "info", section)
    return int(re.search(rf"^{name}:(\d+)", text, re.M).group(1))


class Fabric:
    """Pirn's programs one by one, so that one of them can be away."""

    def __init__(self, build, work):
        self.build, self.work, self.admin = build, work, free_port()
        self.socket, self.endpoint = work / "redis.sock", f"ipc://{work}/broker.sock"
        self.shared = ["--log-level", "warn"]
        self.redis = self.broker = self.worker = self.gateway = None
        self.start_redis()
        self.start_broker()
        self.gateway = self.program("gateway", "--brokers", self.endpoint, "--http", f"127.0.0.1:{free_port()}",
                                    "--admin", f"127.0.0.1:{self.admin}")
        wait_for(lambda: answers(f"http://127.0.0.1:{self.admin}/readyz"), "the gateway")

    def program(self, name, *more):
        return Process(self.build / "bin" / f"pirn-{name}", *more, *self.shared, log=self.work / f"{name}.log")

    def start_redis(self):
        self.redis = Process("redis-server", "--port", 0, "--unixsocket", self.socket, "--dir", self.work, "--save", "",
                             "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "256mb",
                             log=self.work / "redis.log")

    def start_broker(self):
        self.broker = self.program("broker", "--bind", self.endpoint, "--redis", f"unix://{self.socket}", "--name", "broker-1")

    def start_worker(self):
        self.worker = self.program("worker", "--brokers", self.endpoint, "--redis", f"unix://{self.socket}",
                                   "--services", self.build / "services")

    def figure(self, name):
        try:
            return metrics(self.admin).get(f"pirn_broker_{name}", 0)
        except OSError:
            return 0

    def left(self):
        """Entries in all journals."""
        names = output("redis-cli", "-s", self.socket, "keys", "pirn:{0}:journal:*").split()
        return sum(int(output("redis-cli", "-s", self.socket, "xlen", name)) for name in names)

    def restart(self, sig, everything):
        """Seconds from the signal until the first event of the backlog is done. A worker is there."""
        start = time.monotonic()
        gone = [self.broker] + ([self.redis] if everything else [])
        for process in gone:
            process.stop(sig)
        if everything:
            self.start_redis()
        self.start_broker()
        self.start_worker()
        wait_for(lambda: self.figure("events_done_total") > 0, "the first dispatch")
        took = time.monotonic() - start
        # As before: a backlog, and nobody who works on it.
        self.worker.stop(signal.SIGTERM)
        return took

    def stop(self):
        for process in (self.worker, self.gateway, self.broker, self.redis):
            process.stop(signal.SIGKILL)


class EventRows:
    def nats(self, stack):
        """Ours: from the first submission until the brokers count as many ends. Theirs: from the first publish
        until the stream is empty again, that is until the server has each acknowledgement. Both have as many events
        undecided at most: 4,096, and 512, where a disk that only one of the two waits for counts for more."""
        port, number = free_port(), 200000
        peers = [Process("nats-server", "-js", "-sd", self.work / "nats", "-a", "127.0.0.1", "-p", port)]
        wait_for(lambda: listens(port), "nats-server")
        program = self.build / "bench" / "nats"
        peers += [Process(program, "worker", port) for _ in range(2)]
        for window in (WINDOW, SMALL_WINDOW):
            def theirs(n=number, window=window):
                return key_values(output(program, "client", port, n, window, BYTES))["events_per_s"]

            def ours(n=number, window=window):
                return client_events(self.build, stack.broker, "--events", n, window=window)["events_per_s"]
            ours(number // 4), theirs(number // 4)
            a, b = (statistics.median(r) for r in self.rounds(ours, theirs))
            self.row(f"durable events 200 B, accepted to settled, {window:,} undecided: against JetStream",
                     a, b, a / b, ">= 3", a / b >= 3, "/s")
        for peer in reversed(peers):
            peer.stop()

    def beanstalk(self, stack):
        port, folder = free_port(), self.work / "beanstalk"
        folder.mkdir()
        peer = Process("beanstalkd", "-l", "127.0.0.1", "-p", port, "-b", folder, "-f0")
        wait_for(lambda: listens(port), "beanstalkd")
        ours = lambda: client_events(self.build, stack.broker, "--events", 100000)["events_per_s"]
        theirs = lambda: key_values(output(self.build / "bench" / "beanstalk", port, 1600, 16, BYTES))["jobs_per_s"]
        a, b = (statistics.median(r) for r in self.rounds(ours, theirs))
        self.row("the same: against beanstalkd -f0, 16 connections", a, b, a / b, ">= 20", a / b >= 20, "/s")
        peer.stop()

    def accept(self, stack):
        peer_port, proxy_port = free_port(), free_port()
        peer = Process(self.build / "bench" / "mhd_hello", str(peer_port))
        proxy = nginx_proxy(self.work, proxy_port, peer_port)
        proxy_url, url = f"http://127.0.0.1:{proxy_port}/hello", stack.url + "/v1/invoke/echo"
        wait_for(lambda: answers(proxy_url), "nginx")

        def ours(seconds=self.args.seconds):
            result = wrk(url, 256, seconds, POST, self.work, ASYNC)["rate"]
            wait_for(lambda: undone(stack.admin) == 0, "the end of all events")
            return result
        theirs = lambda seconds=self.args.seconds: wrk(proxy_url, 256, seconds, POST, self.work)["rate"]
        ours(1), theirs(1)
        a, b = (statistics.median(r) for r in self.rounds(ours, theirs))
        self.row("POST with respond-async, 256 connections: against nginx", a, b, a / b, ">= 0.8", a / b >= 0.8, "/s")
        proxy.stop(signal.SIGQUIT)
        peer.stop()

    def latency(self, stack):
        """What Redis writes for one event is taken from how its file grows: one half of it when it is stored, and
        one when it ends."""
        url, seconds = stack.url + "/v1/invoke/echo", max(1, self.args.seconds // 2)
        size = lambda: redis_info(stack.redis, "persistence", "aof_current_size")
        before, done = size(), metrics(stack.admin)["pirn_broker_events_accepted_total"]
        wrk(url, 1, 1, POST, self.work, ASYNC)
        events = metrics(stack.admin)["pirn_broker_events_accepted_total"] - done
        grown = max(200, int((size() - before) / max(1, events) / 2))
        results = self.rounds(lambda: sync_p50(stack.data, grown, seconds),
                              lambda: wrk(url, 1, seconds, POST, self.work, ASYNC)["p50"])
        sync, p50 = (statistics.median(r) * 1e6 for r in results)
        note(f"fdatasync of {grown} bytes: p50 {sync:.0f} us")
        self.row("POST with respond-async, 1 connection: p50 against fdatasync", p50, sync, p50 / sync,
                 f"< {(sync + 400) / sync:.2f} (400 us more)", p50 < sync + 400, "us")

    def backlog(self, _):
        work = self.work / "backlog"
        work.mkdir()
        fabric = Fabric(self.build, work)
        fabric.start_worker()  # makes the service known, and goes
        output(self.build / "bench" / "client_events", "--brokers", fabric.endpoint, "--events", 1000)
        fabric.worker.stop()
        wait_for(lambda: fabric.figure("workers") == 0, "the worker's end")
        empty = redis_info(fabric.socket, "memory", "used_memory")
        client_events(self.build, fabric.endpoint, "--events", BACKLOG, "--accept-only")
        note(f"backlog: {fabric.figure('events_ready'):,.0f} events, {fabric.figure('entries'):,.0f} entries")
        megabytes = share_kb(fabric.broker.child.pid) / 1024
        note(f"backlog: the broker has {resident_kb(fabric.broker.child.pid) / 1024:.0f} MB resident")
        self.row("1 million events of 200 B wait: PSS of the broker", megabytes, None, None, "< 500 MB", megabytes < 500, "MB")
        each = (redis_info(fabric.socket, "memory", "used_memory") - empty) / BACKLOG
        self.row("the same: Redis's memory for one event", each, None, None, "< 400 B", each < 400, "B")
        for what, sig, everything in (("SIGTERM of the broker", signal.SIGTERM, False),
                                      ("kill -9 of the broker", signal.SIGKILL, False),
                                      ("SIGTERM of it and Redis", signal.SIGTERM, True),
                                      ("kill -9 of it and Redis", signal.SIGKILL, True)):
            before = fabric.left()
            seconds = fabric.restart(sig, everything)
            self.row(f"the same: {what}, until it dispatches", seconds, None, None, "< 5 s", seconds < 5, "s")
            note(f"backlog: {before:,} entries, {fabric.left():,} when the worker was gone again")
        fabric.stop()
