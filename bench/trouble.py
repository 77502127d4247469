"""The rows of trouble: what one service's trouble costs another, and what more than it can do costs a service.

The services are copies of tests/services/sick, whose board (a file that every worker has mapped) says from here
how long a run takes, from one moment to the next."""
import mmap
import os
import pathlib
import shutil
import statistics
import struct

from stand import Process, Stack, key_values, note, output, wait_for, wrk

TOP = pathlib.Path(__file__).resolve().parent.parent
SLEEP_MS, RUNS = 8, 28  # where they stand on the board: see sick.h
BOARD_BYTES = 4 << 20   # as large as a board, and more

PLACES, RUN_MS = 4, 20  # of the service that is asked for too much
CAPACITY = PLACES * 1000 // RUN_MS
QUICK_MS, FACTOR = 2, 500


class Board:
    def __init__(self, path):
        path.write_bytes(b"")
        os.truncate(path, BOARD_BYTES)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), BOARD_BYTES)

    def sleep(self, ms):
        struct.pack_into("=I", self.map, SLEEP_MS, ms)

    def runs(self):
        return struct.unpack_from("=I", self.map, RUNS)[0]


class Sick:
    """A Pirn of its own that runs nothing but sick services: settings by name."""

    def __init__(self, build, work, services):
        self.work, boards = work, work / "boards"
        boards.mkdir(parents=True)
        output(build / "bin" / "pirn", "build", TOP / "tests/services/sick", "--include", TOP / "include",
               "--out", work / "sick")
        self.boards = {}
        for name, settings in services.items():
            folder = work / "services" / name
            folder.mkdir(parents=True)
            shutil.copy(work / "sick" / "sick.so", folder)
            (folder / "service.yaml").write_text(
                f"service: {name}\nhandler: sick.so\nenv: {{ BOARD: {name} }}\n"
                f"events: [ http: {{ method: POST, path: /{name} }} ]\n{settings}")
            self.boards[name] = Board(boards / name)
        # Stack waits for hello, which says that all are there.
        shutil.copytree(build / "services" / "hello", work / "services" / "hello")
        os.environ["SICK_BOARDS"] = str(boards)
        self.stack = Stack(build / "bin", work, "--services", work / "services")
        del os.environ["SICK_BOARDS"]

    def stop(self):
        self.stack.stop()


def load(build, url, phases, *more, method="POST"):
    """Rows of figures: by phase, by second, and the sums."""
    text = output(build / "bench" / "openloop", url, "--method", method, "--each",
                  "--phases", ",".join(f"{rate}:{seconds}" for rate, seconds in phases), *more)
    rows = [key_values("\n".join(line.split())) for line in text.splitlines()]
    return ([r for r in rows if "phase" in r], [r for r in rows if "second" in r], rows[-1])


class TroubleRows:
    def isolation(self, _):
        """Two services in the same workers. Both are asked all the while, and one of them becomes 500 × slower: far
        beyond what its places can do, so that its queue is full, too."""
        work = self.work / "isolation"
        work.mkdir()
        sick = Sick(self.build, work, {"steady": "", "moody": ""})
        seconds = max(4, self.args.seconds)
        for board in sick.boards.values():
            board.sleep(QUICK_MS)

        def others(moody_ms):
            sick.boards["moody"].sleep(moody_ms)
            moody = self.background(sick, "moody", 200, seconds + 3)
            phases, _, _ = load(self.build, sick.stack.url + "/steady", [(500, 1), (500, seconds)])
            moody.child.wait()
            sick.boards["moody"].sleep(QUICK_MS)
            if phases[1]["refused"] or phases[1]["failed"]:
                note(f"isolation: {phases[1]['refused']:.0f} refused, {phases[1]['failed']:.0f} failed")
            return phases[1]["done_p99_us"]
        others(QUICK_MS)
        before, during = self.rounds(lambda: others(QUICK_MS), lambda: others(QUICK_MS * FACTOR))
        note("isolation: before " + " ".join(f"{v:.0f}" for v in before) + ", during " +
             " ".join(f"{v:.0f}" for v in during) + " us")
        a, b = statistics.median(during), statistics.median(before)
        self.row(f"one of two services becomes {FACTOR} x slower: p99 of the other", a, b, a / b, "<= 1.2", a / b <= 1.2, "us")
        sick.stop()

    def background(self, sick, service, rate, seconds):
        return Process(self.build / "bench" / "openloop", sick.stack.url + "/" + service, "--method", "POST",
                       "--phases", f"{rate}:{seconds}")

    def overload(self, _):
        """A service with 4 places and runs of 20 ms: 200 a second. First 60 % of that, then for 30 s three times as
        much as it can do, from clients that come back when they are told to, twice at most; then 60 % again."""
        work = self.work / "overload"
        work.mkdir()
        sick = Sick(self.build, work, {"narrow": f"concurrency_total: {PLACES}\n"})
        sick.boards["narrow"].sleep(RUN_MS)
        calm, long, quiet = int(CAPACITY * 0.6), 30, 15
        phases, seconds, sums = load(self.build, sick.stack.url + "/narrow",
                                     [(calm, 5), (calm, 10), (3 * CAPACITY, long), (calm, quiet)], "--retries", 2)
        _, before, during, after = phases
        for name, p in (("before", before), ("during", during), ("after", after)):
            note(f"overload, {name}: done {p['done']:.0f}, refused {p['refused']:.0f}, failed {p['failed']:.0f}, p50 "
                 f"{p['done_p50_us'] / 1000:.1f} ms, p99 {p['done_p99_us'] / 1000:.1f} ms; "
                 f"refusals p50 {p['refused_p50_us'] / 1000:.2f} ms, p99 {p['refused_p99_us'] / 1000:.2f} ms")
        note(f"overload: {sums['retried']:.0f} retried, {sums['unanswered']:.0f} unanswered, "
             f"{sick.boards['narrow'].runs()} runs")
        goodput = during["done"] / long
        self.row("3 x what a service can do, for 30 s: goodput against its places' best", goodput, CAPACITY,
                 goodput / CAPACITY, ">= 0.9", goodput / CAPACITY >= 0.9, "/s")
        a, b = during["done_p99_us"], before["done_p99_us"]
        self.row("the same: p99 of admitted calls against calm", a, b, a / b, "<= 2", a / b <= 2, "us")
        ms = during["refused_p99_us"] / 1000
        self.row("the same: p99 of refusals", ms, None, None, "< 10 ms", ms < 10, "ms")
        self.row("the same: answered by anything else", during["failed"], None, None, "= 0", during["failed"] == 0, "")
        start = 15 + long
        note("overload: each second after it: " + "; ".join(
            f"{s['done']:.0f} done, {s['refused']:.0f} refused, p99 {s['done_p99_us'] / 1000:.0f} ms"
            for s in seconds if s["second"] >= start))
        bad = [s["second"] - start + 1 for s in seconds
               if s["second"] >= start and (s["refused"] or s["failed"] or s["done_p99_us"] > 1.5 * b)]
        normal = max(bad, default=0)
        self.row("after it: until calm again (no refusal, p99 within 1.5 x)", normal, None, None, "<= 10 s", normal <= 10, "s")
        sick.stop()

    def hostile(self, stack):
        """Hello at a steady rate, with and without 500 clients that send a byte now and then and 10,000 idle ones."""
        seconds = max(4, self.args.seconds)

        def calm():
            phases, _, _ = load(self.build, stack.url + "/hello", [(500, 1), (1000, seconds)], method="GET")
            if phases[1]["refused"] or phases[1]["failed"]:
                note(f"hostile: {phases[1]['refused']:.0f} refused, {phases[1]['failed']:.0f} failed")
            return phases[1]["done_p99_us"]

        def crowded():
            log = self.work / "hostile.txt"
            log.unlink(missing_ok=True)
            crowd = Process(self.build / "bench" / "hostile", "--slow", "500", "--idle", "10000", "--seconds", "0",
                            stack.url + "/hello", log=log)
            wait_for(lambda: "ready" in log.read_text(), "the crowd", 90)
            try:
                return calm()
            finally:
                crowd.stop()
        calm()
        before, during = self.rounds(calm, crowded)
        note("hostile: without " + " ".join(f"{v:.0f}" for v in before) + ", with " +
             " ".join(f"{v:.0f}" for v in during) + " us")
        a, b = statistics.median(during), statistics.median(before)
        self.row("500 slow and 10,000 idle connections: p99 of the others", a, b, a / b, "<= 1.5", a / b <= 1.5, "us")

    def breaker(self, stack):
        """What a closed breaker takes of a call, whose cost is the time between two at 64 connections."""
        pair, rate = self.rounds(
            lambda: key_values(output(self.build / "bench" / "core", "--seconds", "1"))["breaker_ns"],
            lambda: wrk(stack.url + "/hello", 64, self.args.seconds)["rate"])
        a, b = statistics.median(pair), 1e9 / statistics.median(rate)
        self.row("a closed breaker: of a call's time", a, b, 100 * a / b, "< 1 %", a / b < 0.01, "ns")
