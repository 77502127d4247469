/* The gateway: what one process has, and how a request finds its way through it.
 *
 * Two listeners run in one loop. serve.c receives what both say; it knows the paths that
 * are always there and looks the others up in the routes (the users' listener only),
 * and opens and closes each request's entry in the figures and in the access log.
 * invoke.c turns a request into a call or, by event.c, an event, and the reply into an
 * answer. api/ has a file for each resource.
 *
 * The routes are swapped when the registry changes, between two requests: what a request
 * needs of its service is copied into its errand when its head is there, and nothing
 * points into a table afterwards.
 */
#ifndef GATEWAY_GW_H
#define GATEWAY_GW_H

#include "base/rand.h"
#include "base/ulid.h"
#include "client/engine.h"
#include "gateway/access.h"
#include "gateway/forwarded.h"
#include "gateway/http.h"
#include "gateway/metrics.h"
#include "gateway/prom.h"
#include "gateway/route.h"
#include "gateway/target.h"
#include "gateway/trace.h"

#define GW_DEFAULT_TIMEOUT_MS 30000u       /* of a service that does not say */
#define GW_CALL_MOST_MS       3600000u     /* what a call's Pirn-Timeout may be: as long as a manifest's timeout */
#define GW_SEGMENT_ROOM       (64u * 1024) /* for decoded targets: more than a head can have */
#define GW_INVOCATIONS        "/v1/invocations/"     /* and an id: where an event is asked for */
#define GW_SHARE               3u /* a service's calls may be so many times the room that is left */
#define GW_REPLAYED           "Idempotency-Replayed" /* true: a key's first request got this answer */

struct gw {
	struct net_loop *loop;
	struct client_engine *engine;
	struct gw_http *users, *admin;
	struct gw_routes *routes; /* never NULL */
	struct gw_metrics metrics;
	struct gw_timers *timers;
	struct gw_sources *sources; /* NULL: switched off */
	struct gw_access *access; /* NULL: no access log */
	struct gw_nets trusted;
	struct base_rand rand;
	struct base_ulid_maker ulids;
	struct base_arena arena; /* while one reply is turned into an answer */
	struct base_arena reading; /* while CloudEvents are read */
	uint32_t event_dedupe_ms;  /* how long their source and id are known, and a stream's entry */
	const char *name;
	uint8_t boot[BASE_ULID_SIZE];
	uint64_t max_response;
	uint32_t max_calls; /* the engine's; 0: not shared out (tests) */
	bool draining;
	bool events;    /* a broker takes events now */
	char *warnings; /* a JSON array: what is wrong with the brokers' Redis; NULL: nothing is */
	bool informed;  /* a broker has said what is served: only then is anything unknown */
	struct gw_target target; /* of the request whose head is being looked at */
	char segment_room[GW_SEGMENT_ROOM];
};

/* What the gateway keeps with a request; gw_request.user. */
struct gw_errand {
	struct gw *gw;
	struct gw_served *served; /* its figures; NULL before the head was there */
	void (*run)(struct gw *gw, struct gw_request *r); /* when all is there */
	enum gw_method method;
	uint32_t timeout_ms;
	bool idempotent;
	bool head_by_get;
	bool keyed;     /* has an Idempotency-Key, a good one */
	bool event;     /* event.c: it is to become one … */
	bool preferred; /* … because it said so */
	bool ack_memory;
	bool has_invocation;
	uint64_t delay_ms, not_before_ms;
	struct gw_slice callback; /* in the request's head; empty: none */
	uint8_t invocation[BASE_ULID_SIZE]; /* what the log says of an accepted event */
	uint8_t trace[GW_TRACE_SIZE];
	char remote[GW_ADDR_TEXT];
};

static inline struct gw_errand *gw_errand_of(const struct gw_request *r)
{
	return r->user;
}

/* One resource that is always there. A segment * of its path stands for any one that is not empty. */
struct gw_resource {
	struct gw_slice path;
	uint32_t allow;
	void (*run)(struct gw *gw, struct gw_request *r);
};

/* serve.c: what the two listeners call; arg is the gw. */
struct gw_http_events gw_users_events(struct gw *gw);
struct gw_http_events gw_admin_events(struct gw *gw);
void gw_serve_registry(
	struct gw *gw, const Pirn__Registry *registry); /* builds and swaps the routes */

/* invoke.c: the head of a request for a service; match NULL for /v1/invoke/{service}. May answer. */
void gw_invoke_head(struct gw *gw, struct gw_request *r, const struct gw_service *s,
	const struct gw_match *match);
/* The errand's trace, continued from the client's or begun, and who the client is. */
void gw_invoke_trace(struct gw *gw, struct gw_request *r);
/* The errand's timeout_ms, from Pirn-Timeout; of_call: of a call that does not say. False: it was answered. */
bool gw_invoke_timeout(struct gw_request *r, uint32_t of_call);

/* Answers a request that the loop has no service for, or cannot serve now. */
void gw_answer_json(struct gw_request *r, unsigned status,
	const struct base_buf *json); /* 503 when json failed */
void gw_answer_with(struct gw_request *r, struct gw_answer *a,
	const struct base_buf *json); /* the same, with more than a status */

void gw_serve_fini(struct gw *gw); /* the routes, and what else a registry brought */

/* Members events and warnings. */
struct gw_json;
void gw_serve_show_events(const struct gw *gw, struct gw_json *j);

/* Cuts r's target into gw->target again: when a resource runs it is another request's. */
void gw_serve_target(struct gw *gw, const struct gw_request *r);
/* "Somebody else cannot answer now": 503, and Retry-After. */
void gw_answer_later(struct gw_request *r, const char *detail);
/* 404; 503 as long as no broker has said what is served. */
void gw_answer_not_found(struct gw *gw, struct gw_request *r, const char *detail);
/* The broker or the engine answered in the service's place: a problem with the reason's status. */
void gw_answer_reason(
	struct gw_request *r, enum _Pirn__Reason reason, unsigned status, uint32_t retry_after_ms);

/* api/ */
void gw_api_invocation(struct gw *gw, struct gw_request *r);
void gw_api_invocations(struct gw *gw, struct gw_request *r);
void gw_api_breakers(struct gw *gw, struct gw_request *r);
void gw_api_breaker(struct gw *gw, struct gw_request *r);
void gw_api_dead(struct gw *gw, struct gw_request *r);
void gw_api_dead_of(struct gw *gw, struct gw_request *r);
void gw_api_dead_letter(struct gw *gw, struct gw_request *r);
void gw_api_dead_redrive(struct gw *gw, struct gw_request *r);
void gw_api_dead_purge(struct gw *gw, struct gw_request *r);
void gw_api_events(struct gw *gw, struct gw_request *r);
void gw_api_healthz(struct gw *gw, struct gw_request *r);
void gw_api_readyz(struct gw *gw, struct gw_request *r);
void gw_api_tail(struct gw *gw, struct gw_request *r);
void gw_api_timers(struct gw *gw, struct gw_request *r);
void gw_api_sources(struct gw *gw, struct gw_request *r);
void gw_api_timer_fire(struct gw *gw, struct gw_request *r);
void gw_api_services(struct gw *gw, struct gw_request *r);
void gw_api_metrics(struct gw *gw, struct gw_request *r);

#endif
