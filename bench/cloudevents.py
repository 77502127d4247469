"""The rows of CloudEvents: batches against one by one, and fan-out against one service (Redis syncs each write);
and how long it takes to find out whom an event is for."""
import shutil, statistics, time

from events import Fabric, undone
from stand import free_port, key_values, note, output, wait_for

FAN = 10
BATCH = 100
DATA = "x" * 200
CONNECTIONS = {1: 256, BATCH: 32} # what is best for each

# Each event has an id of its own: none is a duplicate.
SCRIPT = """
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
local n = 0
local seed = os.time() .. "-" .. tostring(os.clock()):gsub("%%.", "")
local function event()
	n = n + 1
	return '{"specversion":"1.0","id":"' .. seed .. "-" .. number .. "-" .. n ..
		'","source":"/bench","type":"%s","data":"%s"}'
end
function request()
	if %d == 1 then
		return wrk.format("POST", nil, { ["Content-Type"] = "application/cloudevents+json" }, event())
	end
	local list = {}
	for i = 1, %d do list[i] = event() end
	return wrk.format("POST", nil, { ["Content-Type"] = "application/cloudevents-batch+json" },
		"[" .. table.concat(list, ",") .. "]")
end
"""


class Crowd(Fabric):
    """With a service that hears bench.one, and ten that hear bench.ten; room for all keys of a run."""

    def __init__(self, build, work):
        self.services, self.http = work / "services", free_port()
        names = {"one": "bench.one", **{f"ten-{i}": "bench.ten" for i in range(FAN)}}
        for name, kind in names.items():
            folder = self.services / name
            folder.mkdir(parents=True)
            shutil.copy(build / "services" / "echo" / "echo.so", folder)
            (folder / "service.yaml").write_text(f"service: {name}\nhandler: echo.so\nconcurrency: 512\nevents:\n"
                                                 f"  - event: {{ type: {kind} }}\n")
        super().__init__(build, work)
        self.start_worker()
        wait_for(lambda: self.figure("workers") == 1, "the worker")

    def start_broker(self):
        self.broker = self.program("broker", "--bind", self.endpoint, "--redis", f"unix://{self.socket}", "--name",
                                   "broker-1", "--dedupe-max", "8g", "--max-events", 8000000, "--max-event-bytes", "4g")

    def start_worker(self):
        self.worker = self.program("worker", "--brokers", self.endpoint, "--redis", f"unix://{self.socket}",
                                   "--services", self.services)

    def program(self, name, *more):
        if name == "gateway":
            more = [f"127.0.0.1:{self.http}" if before == "--http" else word
                    for before, word in zip(("",) + more, more)]
        return super().program(name, *more)

    def wrk(self, size, seconds, kind, connections=None):
        """Events accepted in a second."""
        script = self.work / "events.lua"
        script.write_text(SCRIPT % (kind, DATA, size, size))
        before, start = self.figure("events_accepted_total"), time.monotonic()
        text = output("wrk", "-t2", f"-c{connections or CONNECTIONS[size]}", f"-d{seconds}s", "-s", script,
                      f"http://127.0.0.1:{self.http}/v1/events")
        if "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"bench: CloudEvents: {text}")
        return (self.figure("events_accepted_total") - before) / (time.monotonic() - start)

    def deliveries(self, kind, seconds):
        """Deliveries done in a second, from the first event until the last has ended."""
        before, start = self.figure("events_done_total"), time.monotonic()
        self.wrk(BATCH, seconds, kind)
        wait_for(lambda: undone(self.admin) == 0, "the end of all events", 120)
        return (self.figure("events_done_total") - before) / (time.monotonic() - start)


class CloudEventRows:
    def cloudevents(self, _):
        work = self.work / "cloudevents"
        work.mkdir()
        crowd, seconds = Crowd(self.build, work), max(1, self.args.seconds // 2)

        def accepted(size, seconds=seconds, connections=None):
            rate = crowd.wrk(size, seconds, "bench.one", connections)
            wait_for(lambda: undone(crowd.admin) == 0, "the end of all events", 120)
            return rate
        accepted(BATCH, 1), accepted(1, 1)
        few = CONNECTIONS[BATCH]
        a, b, c = (statistics.median(r) for r in self.rounds(lambda: accepted(BATCH), lambda: accepted(1),
                                                             lambda: accepted(1, connections=few)))
        self.row(f"CloudEvents by HTTP, batches of {BATCH}: against one by one", a, b, a / b, ">= 4", a / b >= 4, "/s")
        note(f"one by one, by as many connections as the batches ({few}): {c:,.0f}/s; the batches are {a / c:.2f} times that")
        crowd.deliveries("bench.ten", 1)
        a, b = (statistics.median(r) for r in self.rounds(lambda: crowd.deliveries("bench.ten", 1),
                                                          lambda: crowd.deliveries("bench.one", 2)))
        self.row(f"deliveries of events for {FAN} services: against one service", a, b, a / b, ">= 0.5", a / b >= 0.5, "/s")
        crowd.stop()

    def matching(self, _):
        """Each kind of pattern by itself, in the broker's core alone; no peer."""
        program = self.build / "bench" / "subscribe"
        results, = self.rounds(lambda: key_values(output(program, "--seconds", 0.2)))
        for kind in (key[:-len("_ns")] for key in results[0] if key.endswith("_ns")):
            ns = statistics.median(float(result[kind + "_ns"]) for result in results)
            if kind == "letters":
                note(f"matching, the worst case: {ns / 1000:.1f} us an event")
            else:
                self.row(f"matching with 1,000 subscriptions: {kind}", ns / 1000, None, None, "< 2 us", ns < 2000, "us")
