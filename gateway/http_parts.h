/* What the files of http share, and nobody else: http.c is the listener and its turns in the
 * loop, http_conn.c the connections, their stages and deadlines, http_serve.c reads requests from
 * them, http_head.c what a head says, http_record.c what is kept of a request, http_answer.c
 * makes answers and sends them, and http_room.c is what all this holds, and who goes when it is
 * too much. http_wire.h is the syntax, which knows nothing of these.
 */
#ifndef GATEWAY_HTTP_PARTS_H
#define GATEWAY_HTTP_PARTS_H

#include "gateway/http.h"
#include "gateway/http_wire.h"

/* The first six are timed, each by its own list. */
enum gw_stage {
	GW_STAGE_HEAD, /* a request is expected for the first time, or a part of its head is there */
	GW_STAGE_BODY,
	GW_STAGE_SEND, /* a part of the answer is not with the kernel yet */
	GW_STAGE_IDLE, /* between two requests */
	GW_STAGE_FRESH, /* when draining: nothing has ever come from it */
	GW_STAGE_LINGER, /* answered for the last time: what still comes is thrown away */
	GW_STAGE__TIMED,
	GW_STAGE_WAIT = GW_STAGE__TIMED, /* somebody works on the answer */
	GW_STAGE_CUT                     /* closed, and about to be freed */
};

/* What a connection holds, in bytes. */
enum gw_hold {
	GW_HOLD_INPUT,  /* that came and was not used yet */
	GW_HOLD_HEAD,   /* the request's */
	GW_HOLD_BODY,   /* the request's */
	GW_HOLD_ANSWER, /* not sent yet */
	GW_HOLD__N
};

struct gw_record;

struct gw_conn {
	struct gw_http *http;
	struct gw_record *record;    /* the request on it, or NULL */
	struct gw_conn *prev, *next; /* of its stage's list; next also on the free list */
	struct gw_conn *next_due;    /* of http->due, or http->dead */
	uint64_t since_ms, due_ms;   /* in its stage */
	enum gw_stage stage;
	int fd;
	bool readable; /* there may be something in the kernel: no EAGAIN since the last sign */
	bool ended;    /* the client's end: it shows only to who reads on */
	bool heard;    /* something has come, ever */
	bool due;      /* on http->due: there is something to do for it in the next turn */
	bool left;     /* does not count among the live ones any more */
	bool thrown;   /* LINGER: something came since its time started */
	unsigned extensions;     /* SEND, LINGER: how often the stage's time may start anew */
	struct base_buf in;      /* what came and was not used yet, from in_at on */
	size_t in_at;
	struct gw_wire_find find; /* in the head that begins there */
	size_t holds[GW_HOLD__N], held; /* held is their sum; 0 once it is cut */
	uint8_t addr[GW_ADDR_SIZE];
	char addr_text[GW_ADDR_TEXT];
};

struct gw_record {
	struct gw_request pub;         /* first: a request is its record */
	struct gw_record *prev, *next; /* all that are under way; next also on the free list */
	struct gw_conn *conn;
	struct base_buf head; /* as it came */
	struct gw_header *headers;
	size_t headers_room;
	uint64_t content_length; /* 0 when there is none */
	uint64_t received;       /* bytes of body, thrown away ones too */
	struct gw_chunks chunks;
	bool chunked;
	bool http_1_0;
	bool whole;   /* its body, or none, has come */
	bool discard; /* answered: what still comes of the body is thrown away */
	bool answered;
	bool close;   /* after the answer */
	struct base_buf out;      /* the answer: its head, and its body if that was copied */
	struct base_block *block; /* a body that was not, or NULL: */
	struct gw_slice body;
	size_t sent; /* of both together */
	max_align_t user[];
};

struct gw_list {
	struct gw_conn *first, *last;
};

#define GW_READ_BYTES (64u * 1024)

struct gw_http {
	struct net_loop *loop;
	struct gw_http_conf conf;
	struct gw_http_events events;
	char address[300];
	int listen_fd; /* -1: closed */
	int epoll_fd;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned open_handles; /* of libuv: the last one's end frees us */
	uint64_t timer_due_ms; /* 0: not running */
	struct net_hook *run_hook, *flush_hook;
	bool ready;  /* there is something to do in this turn */
	bool deaf;   /* out of descriptors or memory: no connections are taken until deaf_ms */
	uint64_t deaf_ms;
	bool last;   /* answers say that they are their connections' last */
	bool draining;
	struct gw_list stages[GW_STAGE__TIMED];
	uint32_t stage_ms[GW_STAGE__TIMED];
	size_t n_connections, n_requests;
	size_t n_live; /* connections that have not left */
	struct gw_conn *due, *due_last; /* in the order they became due */
	struct gw_conn *dead;           /* closed; freed at the turn's end, when nobody looks at them */
	uint64_t held, max_held;        /* bytes, see http_room.c */
	uint64_t n_cut, n_evicted;
	struct gw_conn *free_conns;
	struct gw_record *free_records, *records;
	size_t n_free_records;
	int64_t date_s; /* the second that date is of */
	char date[64];
	char scratch[GW_READ_BYTES]; /* what is read passes through here; seldom does any stay */
};

static inline struct gw_record *gw_record_of(const struct gw_request *r)
{
	return (struct gw_record *)(void *)r;
}

/* What came and was not used yet. */
static inline struct gw_slice gw_conn_input(const struct gw_conn *c)
{
	return (struct gw_slice){ (const char *)c->in.data + c->in_at, c->in.size - c->in_at };
}

/* http_conn.c */
void gw_conn_accept(struct gw_http *h); /* all that wait, or as many as a turn takes */
void gw_conn_stage(struct gw_conn *c, enum gw_stage stage); /* starts the stage's time anew */
void gw_conn_due(struct gw_conn *c); /* gw_serve looks at it in the next turn */
void gw_conn_cut(struct gw_conn *c); /* closes it; no answer */
/* With a problem, instead of what it asks or asked for; the answer goes out in the next turn. */
void gw_conn_refuse(struct gw_conn *c, const struct gw_problem *p);
void gw_conn_close(struct gw_conn *c); /* after an answer: so that the client gets all of it */
void gw_conn_drop_input(struct gw_conn *c);
bool gw_conn_has_bytes(const struct gw_conn *c); /* that came, and were not read: a system call */
void gw_conn_throw(struct gw_conn *c); /* LINGER: reads what came, and forgets it */
void gw_conn_expire(struct gw_http *h, uint64_t now_ms);
/* Who is idle goes after idle_ms, who has never said a word after fresh_ms. */
void gw_conn_hurry(struct gw_http *h, uint32_t idle_ms, uint32_t fresh_ms);
uint64_t gw_conn_next_due(const struct gw_http *h); /* the next deadline; UINT64_MAX: none */
void gw_conn_reap(struct gw_http *h);               /* frees the dead; on_done for their requests */
void gw_conn_fini(struct gw_http *h);               /* cuts all, and frees them */

/* http_serve.c; what can be done for a connection now: sends its answer, reads on. */
void gw_serve(struct gw_conn *c);

/* http_room.c. The connection holds so much of one kind now. */
void gw_room_set(struct gw_conn *c, enum gw_hold kind, size_t bytes);
/* Makes others go until all that is held fits; false: it does not, and nobody is left but those who
 * wait for services, and the one that is spared. */
bool gw_room_fits(struct gw_http *h, const struct gw_conn *spared);
/* The same for one more connection. */
bool gw_room_for_another(struct gw_http *h, const struct gw_conn *spared);
void gw_room_enter(struct gw_conn *c); /* a new connection: another one goes, or it does itself */
void gw_room_leave(struct gw_conn *c); /* it does not count any more, and holds nothing */

/* http_record.c; NULL without memory. head is copied, and may be empty. */
struct gw_record *gw_record_open(struct gw_conn *c, struct gw_slice head);
void gw_record_close(struct gw_record *r); /* calls on_done, and r is gone */
void gw_record_drop(struct gw_record *r); /* the request's payload: it is answered */
void gw_record_fini(struct gw_http *h);   /* all are closed */

/* http_head.c; sets everything in r->pub that comes from the head. False: it was refused, and
 * answered. */
bool gw_head_read(struct gw_record *r);
/* A record of a head that will never be whole; in is what came of it. Its first line is known, if
 * that is whole. NULL without memory. */
struct gw_record *gw_head_open_half(struct gw_conn *c, struct gw_slice in);

/* http_answer.c; sends what the socket takes. True: all of it, or the connection is lost and cut. */
bool gw_answer_send(struct gw_record *r);
void gw_answer_continue(struct gw_conn *c); /* 100 */
/* At once, and without a record: for want of memory. */
void gw_answer_bare(struct gw_conn *c, const struct gw_problem *p);

#endif
