"""What the benches stand on: processes that end with the run, Pirn and its peers, and the one way to
measure each."""
import os, pathlib, re, shutil, signal, socket, subprocess, sys, time
import urllib.request


def note(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(fact, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fact():
            return
        time.sleep(0.05)
    sys.exit(f"bench: gave up waiting for {what}")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as r:
            return r.status == 200
    except OSError:
        return False


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def resident_kb(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


def share_kb(pid):
    """PSS: what is shared counts in parts."""
    return int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))


def output(*command, env=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, timeout=300)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Process:
    """A child in its own process group, ended with the run. In our own session, though: Linux shares the
    processors out among sessions first (sched_autogroup), and a server that is one session would be held
    to the share of one load generator, while a peer of two sessions would get twice that."""

    alive = []

    def __init__(self, *command, env=None, cwd=None, log=None):
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        self.child = subprocess.Popen([str(c) for c in command], env=env, cwd=cwd, process_group=0,
                                      stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        Process.alive.append(self)

    def stop(self, sig=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(sig)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        if self in Process.alive:
            Process.alive.remove(self)


class Stack:
    """pirn up, on ports and data of its own."""

    def __init__(self, bin_dir, work, *flags):
        self.http, self.admin = free_port(), free_port()
        self.data = work / "data"
        self.url = f"http://127.0.0.1:{self.http}"
        env = dict(os.environ, PIRN_ACCESS_LOG="no", PIRN_LOG_LEVEL="warn")
        self.process = Process(bin_dir / "pirn", "up", "--http", f"127.0.0.1:{self.http}", "--admin",
                               f"127.0.0.1:{self.admin}", "--data", self.data, *flags, env=env, log=work / "pirn.log")
        wait_for(lambda: answers(self.url + "/hello"), "pirn up")
        self.broker = f"ipc://{self.data}/run/broker-1.sock"
        self.redis = self.data / "run" / "redis.sock"

    def pids(self):
        """Every process of Pirn itself, by name; Redis is not ours."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = int(entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
                if self.process.child.pid not in (parent, int(entry.name)):
                    continue
                name = entry.joinpath("comm").read_text().strip()
            except (OSError, ProcessLookupError):
                continue
            if name.startswith("pirn"):
                found[int(entry.name)] = name
        return found

    def stop(self):
        self.process.stop()


# ---- one measurement each ---------------------------------------------------


def wrk(url, connections, seconds, method=None, work=None, headers=None):
    command = ["wrk", "-t1" if connections < 2 else "-t2", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if method:
        script = work / "post.lua"
        script.write_text(f'wrk.method = "{method[0]}"\nwrk.body = \'{method[1]}\'\n' + "".join(
            f'wrk.headers["{k}"] = "{v}"\n' for k, v in {"Content-Type": "application/json", **(headers or {})}.items()))
        command += ["-s", str(script)]
    text = output(*command, url)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", text)
    if bad:
        sys.exit(f"bench: wrk {url}: {bad.group(0)}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    quantile = {q: float(v) * unit[u] for q, v, u in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)", text, re.M)}
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "p50": quantile["50"], "p99": quantile["99"]}


def key_values(text):
    return {k: float(v) for k, v in re.findall(r"^(\w+)=([\d.]+)$", text, re.M)}


def nginx_proxy(work, port, upstream):
    """nginx as it proxies with keep-alive: as many workers as cores, access log off, as Pirn's is."""
    conf = work / "nginx.conf"
    conf.write_text(f"""daemon off; worker_processes auto; pid {work}/nginx.pid; error_log {work}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {work}/n1; proxy_temp_path {work}/n2; fastcgi_temp_path {work}/n3;
    uwsgi_temp_path {work}/n4; scgi_temp_path {work}/n5;
    upstream hello {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://hello; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
""")
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    return Process(binary, "-e", work / "nginx.log", "-p", work, "-c", conf, log=work / "nginx.out")
