/* What the files of http share, and nobody else: http.c is the daemon and the life of a
 * request, http_record.c what is kept of one, http_conn.c the connections and their
 * deadlines, http_park.c who is suspended and who watches them, http_room.c what they hold and who goes
 * when it is too much, http_head.c reads and checks a head, http_answer.c makes answers, and
 * http_refusal.c those that libmicrohttpd gives by itself.
 */
#ifndef GATEWAY_HTTP_PARTS_H
#define GATEWAY_HTTP_PARTS_H

#include <microhttpd.h>

#include "gateway/http.h"

/* The first five are timed, each by its own list. */
enum gw_stage {
	GW_STAGE_HEAD, /* a request is expected or on its way */
	GW_STAGE_BODY,
	GW_STAGE_SEND,
	GW_STAGE_IDLE,
	GW_STAGE_FRESH, /* when draining: nothing has ever come from it */
	GW_STAGE__TIMED,
	GW_STAGE_WAIT = GW_STAGE__TIMED, /* suspended: somebody works on the answer */
	GW_STAGE_CUT                     /* shut down; libmicrohttpd has not noticed yet */
};

#define GW_REST_MS 1000u /* an idle connection that long */

struct gw_record;

struct gw_conn {
	struct gw_http *http;
	struct gw_record *record;    /* the request on it, or NULL */
	struct gw_conn *prev, *next; /* of its stage's list; next also on the free list */
	struct MHD_Connection *mhd;
	struct gw_conn *park_prev, *park_next; /* while it is parked */
	uint64_t due_ms;
	enum gw_stage stage;
	unsigned extensions; /* SEND: how often a long answer may start its time anew */
	int fd;
	bool parked;
	bool watched;   /* by our epoll set */
	bool came;      /* something did while it was not parked, or with what was read, and may not be read yet */
	bool unwatched; /* by libmicrohttpd: its last request was suspended */
	bool just_idle; /* since the daemon's run that is under way, or has just ended */
	size_t held;    /* bytes; 0 once it is cut */
	uint64_t since_ms;   /* in its stage */
	uint8_t *from, *to;  /* whole pages of its pool; from == to: not known */
	uint8_t addr[GW_ADDR_SIZE];
	char addr_text[GW_ADDR_TEXT];
};

struct gw_record {
	struct gw_request pub;         /* first: a request is its record */
	struct gw_record *prev, *next; /* all that are under way; next also on the free list */
	struct gw_record *wait_prev, *wait_next; /* while it waits */
	struct gw_conn *conn;
	struct MHD_Connection *mhd;
	struct MHD_Response *response; /* made, and not queued yet */
	struct base_buf target;
	struct gw_header *headers;
	size_t headers_room;
	uint64_t content_length; /* 0 when there is none */
	uint64_t received;       /* bytes of body, thrown away ones too */
	size_t held;             /* of payload: what conn->held has of it */
	bool chunked;
	bool http_1_0;
	bool begun;   /* the head was there */
	bool discard; /* what still comes of the body is thrown away */
	bool answered;
	bool waits; /* for its answer, and is not suspended yet */
	bool suspended;
	bool close; /* after the answer */
	max_align_t user[];
};

struct gw_list {
	struct gw_conn *first, *last;
};

struct gw_http {
	struct net_loop *loop;
	struct gw_http_conf conf;
	struct gw_http_events events;
	char address[300];
	struct MHD_Daemon *daemon;
	int park_fd;
	uv_poll_t poll, park_poll;
	uv_timer_t timer;
	unsigned open_handles; /* of libuv: the last one's end frees us */
	uint64_t timer_due_ms; /* 0: not running */
	struct net_hook *run_hook, *flush_hook;
	bool ready; /* MHD_run has something to do */
	bool last; /* answers say that they are their connections' last */
	bool draining;
	bool ending; /* nobody is there any more who could answer */
	struct gw_list stages[GW_STAGE__TIMED];
	uint32_t stage_ms[GW_STAGE__TIMED];
	size_t n_connections, n_requests;
	size_t n_live; /* connections that are not cut */
	struct gw_conn *awake; /* the first IDLE one that has its pool: all before it have given theirs back */
	struct gw_conn *parked; /* in the order of since_ms */
	size_t n_parked;
	uint64_t parkings;
	struct gw_record *waiting; /* since the daemon's run that is under way, or has just ended */
	uint64_t held, max_held; /* bytes, see http_room.c */
	size_t pool_bytes;       /* of a connection */
	uint64_t n_cut, n_evicted;
	struct gw_conn *free_conns;
	struct gw_record *free_records, *records;
	size_t n_free_records;
};

static inline struct gw_record *gw_record_of(const struct gw_request *r)
{
	return (struct gw_record *)(void *)r;
}

/* http_conn.c */
void gw_conn_notify(void *arg, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode code);
void gw_conn_stage(struct gw_conn *c, enum gw_stage stage); /* starts the stage's time anew */
void gw_conn_cut(struct gw_conn *c);                        /* shuts the socket down; no answer */
void gw_conn_cut_with(struct gw_conn *c, struct gw_record *r, unsigned status,
	const char *detail); /* with a problem, by hand */
void gw_conn_expire(struct gw_http *h, uint64_t now_ms);
/* Who is idle goes after idle_ms, who has never said a word after fresh_ms. */
void gw_conn_hurry(struct gw_http *h, uint32_t idle_ms, uint32_t fresh_ms);
bool gw_conn_received(const struct gw_conn *c, uint64_t *bytes); /* so far; false: nobody knows */
bool gw_conn_is_silent(const struct gw_conn *c);                 /* has never sent anything */
uint64_t gw_conn_due(const struct gw_http *h); /* the next deadline; UINT64_MAX: none */
void gw_conn_fini(struct gw_http *h);

/* http_park.c. wake: before a run of the daemon, those on whose sockets something came. settle: after each
 * run; who began to wait for an answer in it is suspended, who became idle in it is parked. leave: back to
 * libmicrohttpd; one that is not parked stays as it is. */
BASE_MUSTUSE enum base_err gw_park_init(struct gw_http *h);
void gw_park_fini(struct gw_http *h);
void gw_park_wait(struct gw_record *r);      /* it will be suspended … */
void gw_park_wait_over(struct gw_record *r); /* … or not */
void gw_park_wake(struct gw_http *h);
void gw_park_settle(struct gw_http *h);
void gw_park_leave(struct gw_conn *c);
void gw_park_forget(struct gw_conn *c); /* its socket is about to be closed */
void gw_park_expire(struct gw_http *h, uint64_t now_ms);
uint64_t gw_park_due(const struct gw_http *h); /* UINT64_MAX: nobody is parked */
void gw_park_end(struct gw_http *h);           /* all leave */

/* http_room.c. hold: the connection has so much more; keep: not more than that any more. */
void gw_room_hold(struct gw_conn *c, size_t bytes);
void gw_room_keep(struct gw_conn *c, size_t bytes);
/* The first request's target lies in the connection's pool: so it is known where that is. */
void gw_room_find(struct gw_conn *c, const char *target);
/* awake gives its pool back, as far as it can. Never while the daemon runs. */
void gw_room_rest(struct gw_http *h);
/* Makes others go until all that is held fits; false: it does not, and nobody is left but those who
 * wait for services, and the one that is spared. */
bool gw_room_fits(struct gw_http *h, const struct gw_conn *spared);
void gw_room_settle(struct gw_http *h); /* after a run of the daemon: the idle ones rest before anybody goes */
void gw_room_enter(struct gw_conn *c); /* a new connection: another one goes, or it does itself */
void gw_room_leave(struct gw_conn *c); /* it is cut, or has ended without */
/* A request came, or more of it, and libmicrohttpd has not read it yet. */
bool gw_conn_has_bytes(const struct gw_conn *c);

/* http_record.c; open: NULL without memory. target is copied. Close calls on_done, and r is gone. */
struct gw_record *gw_record_open(struct gw_conn *c, struct MHD_Connection *mhd, const char *target);
void gw_record_close(struct gw_record *r);
void gw_record_drop(struct gw_record *r); /* the request's payload: it is answered */
void gw_record_fini(struct gw_http *h); /* all are closed */

/* http_head.c; read sets everything in r->pub that comes from the head. False: it was refused, and answered. */
bool gw_head_read(struct gw_record *r, const char *method, const char *version);
void gw_head_ids(struct gw_request *q); /* the client's X-Request-Id, if there is a decent one */

/* http_answer.c; queues r->response. */
enum MHD_Result gw_answer_queue(struct gw_record *r);

/* http_refusal.c; one run of the daemon, in which problems take the place of its own HTML. */
void gw_refusal_run(struct gw_http *h);

#endif
