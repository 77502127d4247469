"""A service that is an HTTP endpoint, beside nginx that proxies to the same endpoint."""
import os, shutil, signal, statistics

from stand import Process, Stack, answers, free_port, nginx_proxy, wait_for, wrk


class EndpointRows:
    def endpoint(self, stack):
        """The stack of the other rows rests meanwhile: these services are another's."""
        peer_port, proxy_port = free_port(), free_port()
        peer = Process(self.build / "bench" / "mhd_hello", str(peer_port))
        proxy = nginx_proxy(self.work, proxy_port, peer_port)
        services, place = self.work / "services", self.work / "endpoint"
        place.mkdir()
        shutil.copytree(self.build / "services" / "hello", services / "hello")
        (services / "endpoint").mkdir()
        (services / "endpoint" / "service.yaml").write_text(f"""service: endpoint
handler: http://127.0.0.1:{peer_port}/hello
events:
  - http: {{ method: GET, path: /endpoint }}
concurrency: 256
""")
        os.environ["PIRN_HTTP_ALLOW"] = "127.0.0.1"
        own = Stack(self.build / "bin", place, "--services", services)
        proxy_url, url = f"http://127.0.0.1:{proxy_port}/hello", f"{own.url}/endpoint"
        wait_for(lambda: answers(proxy_url) and answers(url), "nginx and the endpoint")
        for target in (url, proxy_url):
            wrk(target, 64, 1)
        ours, theirs = self.rounds(lambda: wrk(url, 64, self.args.seconds), lambda: wrk(proxy_url, 64, self.args.seconds))
        a, b = (statistics.median(r["rate"] for r in results) for results in (ours, theirs))
        self.row("HTTP endpoint, 64 connections: calls/s against nginx", a, b, a / b, ">= 0.3", a / b >= 0.3, "/s")
        own.stop()
        proxy.stop(signal.SIGQUIT)
        peer.stop()
