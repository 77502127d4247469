/* pirn-gateway: HTTP in front of the brokers.
 *
 * Beginning: a gateway that no broker has told what is served could only answer 503. Its
 * socket listens from the start, but users' connections wait in the backlog until it knows,
 * or for 2 s. So one that takes another's place loses no request.
 *
 * Ending: the first SIGTERM or SIGINT makes /readyz say 503 and every answer its connection's
 * last; after --drain-delay, in which a balancer may notice, no connection is taken any more,
 * and what is under way is finished, for at most --drain. The second one ends at once. The
 * administration's listener stays until the end, so that one can look on; unless it was
 * inherited: then a successor may have it, and it shall not answer for us.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>


#include "base/clock.h"
#include "base/conf.h"
#include "base/conf_parts.h" /* for the log's format, which base_conf keeps to itself */
#include "base/version.h"
#include "gateway/gw.h"
#include "gateway/listen.h"
#include "gateway/source.h"
#include "gateway/timer.h"
#include "net/notify.h"
#include "net/resolve.h"

#define MAX_CONNECTIONS 10000u
#define ADMIN_CONNECTIONS 256u
#define ADMIN_HELD (64u * 1024 * 1024)
#define SPARE_FILES (128u + 2 * GW_HTTP_SPARE_CONNECTIONS) /* descriptors for all that is no client's connection */
#define ARENA_BYTES (1024u * 1024)
#define READING_BYTES (48u * 1024 * 1024) /* of CloudEvents in the largest body there may be */
#define DRAIN_LOOK_MS 20
#define START_MS 2000 /* how long the beginning waits for a broker's word */
#define LOG_FD 2

struct settings {
	char *http, *http_fd, *admin, *admin_fd, *brokers, *name, *trusted_proxies;
	uint64_t max_body, max_response, max_head, max_held;
	uint32_t max_connections, max_calls, event_dedupe_ms;
	uint32_t head_timeout_ms, body_timeout_ms, idle_timeout_ms, drain_ms, drain_delay_ms;
	uint32_t source_claim_ms;
	bool access_log, sources;
};

static const struct base_conf_row rows[] = {
	{ "http", BASE_CONF_ADDRESS, offsetof(struct settings, http), "127.0.0.1:8080", 0, 0, NULL, "where users are served" },
	{ "http-fd", BASE_CONF_STR, offsetof(struct settings, http_fd), NULL, 0, 0, NULL, "the number of an inherited listening socket, used instead of --http" },
	{ "admin", BASE_CONF_ADDRESS, offsetof(struct settings, admin), "127.0.0.1:8081", 0, 0, "off", "HOST:PORT where administration is served, without passwords; off: nowhere" },
	{ "admin-fd", BASE_CONF_STR, offsetof(struct settings, admin_fd), NULL, 0, 0, NULL, "the number of an inherited listening socket, used instead of --admin" },
	{ "brokers", BASE_CONF_STR, offsetof(struct settings, brokers), "tcp://127.0.0.1:7400", 0, 0, NULL, "the brokers' endpoints, comma-separated; a name may stand for several" },
	{ "name", BASE_CONF_STR, offsetof(struct settings, name), NULL, 0, 0, NULL, "this gateway's name in logs and figures (default: the host's name and the process id)" },
	{ "max-body", BASE_CONF_BYTES, offsetof(struct settings, max_body), "1m", 0, 15 * 1024 * 1024, NULL, "the largest request body; a service may ask for less" },
	{ "max-response", BASE_CONF_BYTES, offsetof(struct settings, max_response), "1m", 1, 16 * 1024 * 1024, NULL, "the largest response body" },
	{ "max-head", BASE_CONF_BYTES, offsetof(struct settings, max_head), "32k", 1024, 48 * 1024, NULL, "the largest request line and headers together" },
	{ "max-connections", BASE_CONF_U32, offsetof(struct settings, max_connections), "16384", 1, 1000000, NULL, "users' connections at once, then idle and slow ones make room; fewer when the limit of open files says so" },
	{ "max-held", BASE_CONF_BYTES, offsetof(struct settings, max_held), "768m", 1024 * 1024, 0, NULL, "what users' connections, bodies and answers may hold in memory together; then idle and slow ones make room" },
	{ "max-calls", BASE_CONF_U32, offsetof(struct settings, max_calls), "65536", 1, 10000000, NULL, "calls under way at once" },
	{ "event-dedupe", BASE_CONF_MS, offsetof(struct settings, event_dedupe_ms), "10m", 1000, 86400000, NULL, "how long a CloudEvent is known by its source and id, and the entry of a stream; what comes again meanwhile is not sent on" },
	{ "head-timeout", BASE_CONF_MS, offsetof(struct settings, head_timeout_ms), "10s", 10, 3600000, NULL, "how long a request's head may take to arrive" },
	{ "body-timeout", BASE_CONF_MS, offsetof(struct settings, body_timeout_ms), "30s", 10, 3600000, NULL, "how long a request's body may take to arrive" },
	{ "idle-timeout", BASE_CONF_MS, offsetof(struct settings, idle_timeout_ms), "60s", 10, 86400000, NULL, "how long a connection may be idle, or a response unread" },
	{ "trusted-proxies", BASE_CONF_STR, offsetof(struct settings, trusted_proxies), NULL, 0, 0, NULL, "networks of proxies whose Forwarded or X-Forwarded-For is believed, comma-separated" },
	{ "access-log", BASE_CONF_BOOL, offsetof(struct settings, access_log), "on", 0, 0, NULL, "a log line for each request" },
	{ "sources", BASE_CONF_BOOL, offsetof(struct settings, sources), "on", 0, 0, NULL, "read what services want to know of other Redis servers; some gateway has to" },
	{ "source-claim", BASE_CONF_MS, offsetof(struct settings, source_claim_ms), "15s", 1000, 3600000, NULL, "an entry of a stream that was read and not acknowledged for so long is taken over" },
	{ "drain", BASE_CONF_MS, offsetof(struct settings, drain_ms), "30s", 0, 3600000, NULL, "how long requests under way may take to end after SIGTERM" },
	{ "drain-delay", BASE_CONF_MS, offsetof(struct settings, drain_delay_ms), "0", 0, 3600000, NULL, "how long connections are taken after SIGTERM, while /readyz says 503; for balancers that need time to notice" },
	{ 0 },
};

static char *find_fault(const void *settings, const char **option)
{
	const struct settings *s = settings;
	struct gw_nets nets = { 0 };
	char *why = net_endpoints_fault(s->brokers);
	char wrong[256] = "";

	*option = "--brokers";
	if (why)
		return why;
	*option = "--trusted-proxies";
	if (gw_nets_parse(s->trusted_proxies, &nets, wrong, sizeof wrong) != BASE_OK && wrong[0])
		return strdup(wrong);
	gw_nets_fini(&nets);
	return NULL;
}

static const struct base_conf_program program = {
	.name = "pirn-gateway",
	.synopsis = "[options]",
	.about = "Serves HTTP: turns requests into calls on the brokers, and replies into answers.",
	.rows = rows,
	.fault = find_fault,
};

struct process {
	struct settings settings;
	struct gw gw;
	uv_timer_t start_timer, drain_timer;
	bool has_timers;
	uint64_t drain_end_ms;
	bool hurried, failed;
	bool inherits_admin;
	int http_fd, admin_fd; /* they listen; -1: not yet, or not any more ours */
};

static bool complain(char *why, const char *what)
{
	fprintf(stderr, "pirn-gateway: %s\n", why ? why : what);
	free(why);
	return false;
}

/* Raises the soft limit of open files as far as needed and allowed; returns what fits. */
static uint32_t fit_connections(uint32_t wanted)
{
	struct rlimit limit;
	rlim_t needed = (rlim_t)wanted + ADMIN_CONNECTIONS + SPARE_FILES;
	rlim_t kept = ADMIN_CONNECTIONS + SPARE_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return wanted;
	if (limit.rlim_cur < needed) {
		limit.rlim_cur = needed < limit.rlim_max ? needed : limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		if (getrlimit(RLIMIT_NOFILE, &limit))
			return wanted;
	}
	if (limit.rlim_cur >= needed)
		return wanted;
	return limit.rlim_cur > 2 * kept ? (uint32_t)(limit.rlim_cur - kept)
					 : (uint32_t)(limit.rlim_cur / 2);
}

static enum base_log_format log_format(void)
{
	struct base_conf_place place;

	if (!base_conf_find(rows, NULL, "log", &place))
		return BASE_LOG_TEXT;
	return (enum base_log_format)*(const unsigned *)place.field;
}

static bool name_self(struct settings *s)
{
	char host[200] = "gateway";

	if (s->name)
		return true;
	(void)gethostname(host, sizeof host - 1);
	return asprintf(&s->name, "%s-%ld", host, (long)getpid()) >= 0;
}

/* ---- ending ---------------------------------------------------------------------- */

/* Who is left is lost: the end of the engine answers 503 to those who wait, the others are cut. */
static void on_drain_look(uv_timer_t *timer)
{
	struct process *p = timer->data;
	struct gw *gw = &p->gw;
	size_t left = gw_http_connections(gw->users) + (gw->sources ? gw_sources_open(gw->sources) : 0);

	if (left > 0 && net_loop_now_ms(gw->loop) < p->drain_end_ms)
		return;
	base_log(left ? BASE_WARN : BASE_INFO, "gateway_drained", LOG_U64("cut", left),
		LOG_U64("requests", gw_http_requests(gw->users)));
	net_loop_stop(gw->loop);
}

static void on_delay_over(uv_timer_t *timer)
{
	struct process *p = timer->data;
	struct gw *gw = &p->gw;

	p->drain_end_ms = net_loop_now_ms(gw->loop) + p->settings.drain_ms;
	gw_http_drain(gw->users);
	if (p->inherits_admin)
		gw_http_drain(gw->admin);
	(void)uv_timer_start(&p->drain_timer, on_drain_look, 0, DRAIN_LOOK_MS);
}

static void begin_drain(struct process *p)
{
	struct gw *gw = &p->gw;

	base_log(BASE_INFO, "gateway_draining", LOG_U64("requests", gw_http_requests(gw->users)));
	gw_http_say_last(gw->users);
	if (p->settings.drain_delay_ms == 0)
		on_delay_over(&p->drain_timer);
	else
		(void)uv_timer_start(
			&p->drain_timer, on_delay_over, p->settings.drain_delay_ms, 0);
}

static void on_terminate(void *arg, unsigned times)
{
	struct process *p = arg;
	struct gw *gw = &p->gw;

	gw->draining = true;
	if (times == 1)
		net_notify_stopping();
	if (times == 1 && gw->users) {
		begin_drain(p);
		return;
	}
	p->hurried = times > 1;
	net_loop_stop(gw->loop);
}

/* ---- starting -------------------------------------------------------------------- */

static bool start_gw(struct process *p)
{
	struct gw *gw = &p->gw;
	uint64_t seed;

	base_rand_system(&seed, sizeof seed);
	base_rand_init(&gw->rand, seed);
	base_ulid_make(&gw->ulids, &gw->rand, base_clock_unix_ms(), gw->boot);
	base_arena_init(&gw->arena, ARENA_BYTES / 16, ARENA_BYTES);
	base_arena_init(&gw->reading, ARENA_BYTES / 16, READING_BYTES);
	net_loop_give_way();
	gw_metrics_init(&gw->metrics);
	gw->name = p->settings.name;
	gw->max_response = p->settings.max_response;
	gw->max_calls = p->settings.max_calls;
	gw->event_dedupe_ms = p->settings.event_dedupe_ms;
	if (gw_routes_new(&(const Pirn__Registry)PIRN__REGISTRY__INIT, &gw->routes) != BASE_OK ||
		net_loop_new(&gw->loop) != BASE_OK ||
		net_loop_on_terminate(gw->loop, on_terminate, p) != BASE_OK)
		return complain(NULL, "cannot set up the event loop");
	if (uv_timer_init(net_loop_uv(gw->loop), &p->start_timer) ||
		uv_timer_init(net_loop_uv(gw->loop), &p->drain_timer))
		return complain(NULL, "cannot set up the event loop");
	p->start_timer.data = p->drain_timer.data = p;
	p->has_timers = true;
	gw->timers = gw_timers_new(gw);
	if (p->settings.sources)
		gw->sources = gw_sources_new(gw,
			&(struct gw_sources_conf){ .claim_ms = p->settings.source_claim_ms,
				.max_body = p->settings.max_body });
	return (gw->timers && (gw->sources || !p->settings.sources)) || complain(NULL, "out of memory");
}

static bool start_listener(struct process *p, bool admin)
{
	const struct settings *s = &p->settings;
	struct gw *gw = &p->gw;
	struct gw_http_conf conf = {
		.address = admin ? s->admin : s->http,
		.listen_fd = admin ? p->admin_fd : p->http_fd,
		.max_head = s->max_head,
		.max_body = s->max_body,
		.max_held = admin ? ADMIN_HELD : s->max_held,
		.max_connections = admin ? ADMIN_CONNECTIONS : fit_connections(s->max_connections),
		.head_ms = s->head_timeout_ms,
		.body_ms = s->body_timeout_ms,
		.idle_ms = s->idle_timeout_ms,
		.user_bytes = sizeof(struct gw_errand),
		.rand = &gw->rand,
		.ulids = &gw->ulids,
	};
	struct gw_http_events events = admin ? gw_admin_events(gw) : gw_users_events(gw);
	char *why = NULL;

	if (!admin && conf.max_connections < s->max_connections)
		base_log(BASE_WARN, "connections_limited", LOG_U64("wanted", s->max_connections),
		         LOG_U64("limit", conf.max_connections));
	*(admin ? &p->admin_fd : &p->http_fd) = -1; /* gw_http's, whatever comes of it */
	if (gw_http_new(gw->loop, &conf, &events, admin ? &gw->admin : &gw->users, &why) == BASE_OK)
		return true;
	return complain(why, "cannot start the HTTP server");
}

/* A port in use shall be known at once, though nothing is taken from it yet. */
static bool open_port(const char *address, int *fd)
{
	char *why = NULL;

	if (*fd >= 0 || gw_listen_open(address, fd, &why) == BASE_OK)
		return true;
	return complain(why, "cannot listen");
}

static void take_users(struct process *p)
{
	struct gw *gw = &p->gw;

	if (gw->users || gw->draining || p->failed)
		return;
	(void)uv_timer_stop(&p->start_timer);
	if (!start_listener(p, false)) {
		p->failed = true;
		net_loop_stop(gw->loop);
		return;
	}
	base_log(BASE_INFO, "gateway_ready", LOG_STR("http", gw_http_address(gw->users)),
		LOG_STR("admin", gw->admin ? gw_http_address(gw->admin) : NULL),
		LOG_STR("name", gw->name), LOG_STR("version", PIRN_VERSION));
	net_notify_ready();
}

static void on_start_over(uv_timer_t *timer)
{
	take_users(timer->data);
}

static void on_registry(void *arg, const Pirn__Registry *registry)
{
	struct process *p = arg;

	gw_serve_registry(&p->gw, registry);
	if (p->gw.informed)
		take_users(p);
}

static bool start_engine(struct process *p)
{
	struct client_engine_conf conf = { .brokers = p->settings.brokers, .name = p->settings.name,
		.max_calls = p->settings.max_calls };
	struct client_engine_events events = { on_registry, p };
	char *why = NULL;

	if (client_engine_new(p->gw.loop, &conf, &events, &p->gw.engine, &why) == BASE_OK)
		return true;
	return complain(why, "cannot set up the links to the brokers");
}

static bool start_access_log(struct process *p)
{
	if (!p->settings.access_log || base_log_level() > BASE_INFO)
		return true;
	if (gw_access_new(p->gw.loop, log_format(), LOG_FD, &p->gw.access) == BASE_OK)
		return true;
	return complain(NULL, "cannot start the access log");
}

/* UNTRUSTED text: the number of a socket that listens, which must not make us wait in accept. */
static bool find_inherited(const char *flag, const char *text, int *out)
{
	uint64_t fd;
	int listens = 0;
	socklen_t size = sizeof listens;

	*out = -1;
	if (!text)
		return true;
	if (!base_conf_u64(text, &fd) || fd > INT_MAX ||
		getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens ||
		fcntl((int)fd, F_SETFL, O_NONBLOCK) || fcntl((int)fd, F_SETFD, FD_CLOEXEC)) {
		fprintf(stderr, "pirn-gateway: %s: %s is not the number of a listening socket\n",
			flag, text);
		return false;
	}
	*out = (int)fd;
	return true;
}

static bool has_admin(const struct process *p)
{
	return p->admin_fd >= 0 || strcmp(p->settings.admin, "off") != 0;
}

static bool start(struct process *p)
{
	char why[256];

	if (!find_inherited("--http-fd", p->settings.http_fd, &p->http_fd) ||
	    !find_inherited("--admin-fd", p->settings.admin_fd, &p->admin_fd))
		return false;
	if (!name_self(&p->settings))
		return complain(NULL, "out of memory");
	if (gw_nets_parse(p->settings.trusted_proxies, &p->gw.trusted, why, sizeof why) !=
		BASE_OK) {
		fprintf(stderr, "pirn-gateway: --trusted-proxies: %s\n", why);
		return false;
	}
	p->inherits_admin = p->admin_fd >= 0;
	/* The engine before the listeners: their last look in FLUSH comes after its replies. */
	if (!start_gw(p) || !start_engine(p) || !start_access_log(p) ||
		!open_port(p->settings.http, &p->http_fd) ||
		(has_admin(p) && !start_listener(p, true)))
		return false;
	return uv_timer_start(&p->start_timer, on_start_over, START_MS, 0) == 0;
}

static void stop(struct process *p)
{
	struct gw *gw = &p->gw;

	gw_timers_free(&gw->timers);
	gw_sources_free(&gw->sources);
	client_engine_free(
		&gw->engine); /* answers what is open; the listeners are still there for it */
	gw_http_free(&gw->users);
	gw_http_free(&gw->admin);
	gw_access_free(&gw->access);
	if (p->http_fd >= 0)
		close(p->http_fd);
	if (p->has_timers) {
		uv_close((uv_handle_t *)&p->start_timer, NULL);
		uv_close((uv_handle_t *)&p->drain_timer, NULL);
	}
	net_loop_free(&gw->loop);
	gw_serve_fini(gw);
	gw_metrics_fini(&gw->metrics);
	gw_nets_fini(&gw->trusted);
	base_arena_fini(&gw->arena);
	base_arena_fini(&gw->reading);
	base_conf_free(&program, &p->settings);
}

static struct process process = { .http_fd = -1, .admin_fd = -1 };

int main(int argc, char **argv)
{
	int n_operands;
	bool started;

	switch (base_conf_read(&program, &process.settings, argc, argv, &n_operands)) {
	case BASE_CONF_RUN:
		break;
	case BASE_CONF_DONE:
		return 0;
	case BASE_CONF_WRONG:
		return 2;
	}
	started = start(&process);
	if (started) {
		net_loop_run(process.gw.loop);
		base_log(BASE_INFO, "gateway_stopped",
			LOG_STR("drained", process.hurried ? "no" : "yes"));
	}
	stop(&process);
	return started && !process.failed ? 0 : 1;
}
