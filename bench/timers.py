"""The rows of timers: what ten thousand of them cost, and how late they are."""
import os, pathlib, random, re, shutil, sys, time
import urllib.request

from stand import Stack, note, wait_for

TIMERS, OF_A_SERVICE = 10000, 64  # base/manifest.h allows no more in one


def some_timer(chance, i):
    """Nine of ten at a minute of each hour, in a zone; the others every so many seconds."""
    if i % 10:
        return f'- timer: {{ name: t{i}, cron: "{chance.randrange(60)} * * * *", zone: Europe/Berlin }}'
    return f"- timer: {{ name: t{i}, every: {chance.randrange(61, 1000)}s }}"


def lay_services(build, folder):
    """Services of 64 timers each, whose handler is hello's; and hello."""
    chance = random.Random(7)
    shutil.copytree(build / "services" / "hello", folder / "hello")
    for first in range(0, TIMERS, OF_A_SERVICE):
        one = folder / f"s{first}"
        one.mkdir()
        shutil.copy(build / "services" / "hello" / "hello.so", one / "hello.so")
        timers = [some_timer(chance, i) for i in range(first, min(first + OF_A_SERVICE, TIMERS))]
        (one / "service.yaml").write_text(f"service: s{first}\nhandler: hello.so\nevents:\n  " + "\n  ".join(timers) + "\n")


def scrape(admin):
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as r:
        return r.read().decode()


def figure(text, name):
    return sum(float(v) for v in re.findall(rf"^{name}(?:\{{[^\n]*\}})? (\S+)$", text, re.M))


def buckets(text):
    """upper bound in seconds → how many were that early, or earlier"""
    found = re.findall(r'^pirn_timer_lateness_seconds_bucket\{[^\n]*le="([^"]+)"[^\n]*\} (\S+)$', text, re.M)
    return {float(bound): float(count) for bound, count in found}


def quantile(before, after, q):
    """Of what came between two scrapes: the bound of the bucket that holds it."""
    counts = {bound: n - before.get(bound, 0) for bound, n in sorted(after.items())}
    return next(bound for bound, n in counts.items() if n >= q * max(counts.values()))


class TimerRows:
    def timers(self, _):
        work = self.work / "timers"
        services = work / "services"
        services.mkdir(parents=True)
        lay_services(self.build, services)
        stack = Stack(self.build / "bin", work, "--services", services)

        def ticks():
            used = {}
            for pid, name in stack.pids().items():
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                used[name] = used.get(name, 0) + int(fields[11]) + int(fields[12])
            return used

        def begun():
            text = scrape(stack.admin)
            return figure(text, "pirn_timers") == TIMERS and \
                figure(text, "pirn_timer_skipped_total") + figure(text, "pirn_timer_beaten_total") >= TIMERS
        wait_for(begun, "ten thousand timers")
        # Over the turn of a minute, at which a hundred and fifty are due at once; not from just before it.
        time.sleep(max(0, 3 - time.time() % 60))
        before, start, spent = scrape(stack.admin), time.monotonic(), ticks()
        time.sleep(65)
        after, seconds, total = scrape(stack.admin), time.monotonic() - start, ticks()
        share = {name: (total[name] - spent.get(name, 0)) / os.sysconf("SC_CLK_TCK") / seconds * 100 for name in total}
        fired = figure(after, "pirn_timer_fired_total") - figure(before, "pirn_timer_fired_total")
        if fired < 150:
            sys.exit(f"bench: {fired:.0f} timers fired in {seconds:.0f} s, more than 150 are due")
        note(f"timers: {fired:.0f} fired in {seconds:.0f} s; " + ", ".join(f"{name} {v:.2f} %" for name, v in sorted(share.items())))
        cpu, late = sum(share.values()), quantile(buckets(before), buckets(after), 0.99) * 1000
        self.row("10,000 timers: CPU of all of Pirn's processes", cpu, None, None, "< 1 %", cpu < 1, "%")
        self.row("the same: lateness p99, as a bucket's bound", late, None, None, "< 50 ms", late < 50, "ms")
        stack.stop()
