/* Libmicrohttpd's own refusals, as problems.
 *
 * What it cannot parse, or has no room for, it refuses before it calls our handler: with
 * the right status, in its own HTML, and with no hook for another text. But it queues
 * that answer by MHD_queue_response, which it calls as any other function that it
 * exports, so that the definition in this file, in the program, comes before its own:
 * there a problem goes out instead of the HTML, has an id, and stands in the access log.
 * doc/decisions/0008-refusals-of-libmicrohttpd.md has the reasons.
 *
 * Where the definition here is not the one that is called (a libmicrohttpd that binds its
 * calls to itself, or one that is linked statically: ours is weak), the HTML is sent.
 * Everything else goes on to libmicrohttpd's own function unchanged: answers of ours, and
 * those of other daemons in the process.
 */
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>

#include "gateway/http_parts.h"

typedef enum MHD_Result queue_fn(struct MHD_Connection *, unsigned, struct MHD_Response *);

static _Thread_local struct gw_http *running; /* whose daemon runs in this thread, or NULL */
static pthread_once_t found = PTHREAD_ONCE_INIT;
static queue_fn *queue_next;

static const struct {
	unsigned status;
	const char *detail;
} details[] = {
	{ 400, "The request line, a header or a chunk cannot be read as HTTP/1.1." },
	{ 413, "The request's body, or the line before a chunk of it, is too large." },
	{ 414, "The request line is too long." },
	{ 431, "The request line and the headers together are too large." },
	{ 501, "The request asks for a part of HTTP that is not understood here." },
	{ 505, "Only HTTP/1.1 and HTTP/1.0 are understood." },
};

static const char *detail_of(unsigned status)
{
	for (size_t i = 0; i < sizeof details / sizeof *details; i++)
		if (details[i].status == status)
			return details[i].detail;
	return "The request cannot be served.";
}

static void find_next(void)
{
	*(void **)&queue_next = dlsym(RTLD_NEXT, "MHD_queue_response");
}

/* The answer goes out by hand, and MHD_NO has libmicrohttpd close the connection: after queueing an
 * answer to a wrong Content-Length, 0.9.75 goes on with the request and sends the head twice. */
static enum MHD_Result refuse(struct gw_conn *c, struct MHD_Connection *mhd, unsigned status)
{
	bool is_new = !c->record; /* the request line could not be read, or was too long */
	struct gw_record *r = is_new ? gw_record_open(c, mhd, "") : c->record;

	gw_conn_cut_with(c, r, status, detail_of(status));
	if (r && is_new) /* libmicrohttpd will not tell its end */
		gw_record_close(r);
	return MHD_NO;
}

/* The connection, if libmicrohttpd refuses by itself what came on it; NULL: the answer is ours. */
static struct gw_conn *refused_conn(struct MHD_Connection *mhd, const struct MHD_Response *response)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct gw_conn *c = info ? info->socket_context : NULL;

	return c && c->record && c->record->response == response ? NULL : c;
}

__attribute__((weak)) enum MHD_Result MHD_queue_response(
	struct MHD_Connection *mhd, unsigned status, struct MHD_Response *response)
{
	struct gw_conn *c = NULL;

	(void)pthread_once(&found, find_next);
	assert(queue_next);
	if (running && status >= 400)
		c = refused_conn(mhd, response);
	return c ? refuse(c, mhd, status) : queue_next(mhd, status, response);
}

void gw_refusal_run(struct gw_http *h)
{
	struct gw_http *before = running;

	running = h;
	(void)MHD_run(h->daemon);
	running = before;
}
