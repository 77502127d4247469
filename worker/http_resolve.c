#include "worker/http_resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_FUNCTION     HASH_FNV
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"

#define FRESH_US   5000000u  /* after this it is looked up anew … */
#define STALE_US   65000000u /* … and until this used meanwhile */
#define HOSTS_MAX  1024u
#define STACK_SIZE ((size_t)256 * 1024)

struct wrk_host {
	UT_hash_handle hh;
	char *name;
	struct wrk_addresses found;
	uint64_t found_us;    /* 0: nothing is known */
	bool asking;          /* a thread is on its way */
	struct wrk_lookup *waiting;
};

/* What a thread works on. It has nothing of the resolver's but the mailbox. */
struct job {
	struct job *next;
	struct mailbox *mailbox;
	char *name;
	struct wrk_addresses found;
	int error; /* getaddrinfo's */
};

/* Outlives the resolver as long as a thread knows it. */
struct mailbox {
	pthread_mutex_t lock;
	unsigned refs;
	uv_async_t *wake; /* NULL: the resolver is gone */
	struct job *done;
};

struct wrk_resolver {
	uv_async_t wake; /* first */
	struct mailbox *mailbox;
	struct wrk_host *hosts;
};

/* ---- the mailbox --------------------------------------------------------------- */

static void job_free(struct job *job)
{
	free(job->name);
	free(job);
}

static void mailbox_unref(struct mailbox *m)
{
	bool last;

	pthread_mutex_lock(&m->lock);
	last = --m->refs == 0;
	pthread_mutex_unlock(&m->lock);
	if (!last)
		return;
	while (m->done) {
		struct job *job = m->done;

		m->done = job->next;
		job_free(job);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static void mailbox_put(struct mailbox *m, struct job *job)
{
	pthread_mutex_lock(&m->lock);
	job->next = m->done;
	m->done = job;
	if (m->wake)
		uv_async_send(m->wake);
	pthread_mutex_unlock(&m->lock);
	mailbox_unref(m);
}

/* ---- the thread ------------------------------------------------------------------ */

static void *look_up(void *arg)
{
	struct job *job = arg;
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;

	job->error = getaddrinfo(job->name, NULL, &hints, &list);
	for (const struct addrinfo *at = list; at && job->found.n < WRK_ADDRESSES_MAX; at = at->ai_next)
		if (at->ai_addrlen <= sizeof *job->found.items)
			memcpy(&job->found.items[job->found.n++], at->ai_addr, at->ai_addrlen);
	if (list)
		freeaddrinfo(list);
	mailbox_put(job->mailbox, job);
	return NULL;
}

static bool start_thread(struct job *job)
{
	pthread_attr_t attr;
	pthread_t id;
	bool ok;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	ok = pthread_create(&id, &attr, look_up, job) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

static bool start(struct wrk_resolver *r, struct wrk_host *host)
{
	struct job *job = calloc(1, sizeof *job);

	if (host->asking || !job || !(job->name = strdup(host->name))) {
		free(job);
		return host->asking;
	}
	job->mailbox = r->mailbox;
	pthread_mutex_lock(&r->mailbox->lock);
	r->mailbox->refs++;
	pthread_mutex_unlock(&r->mailbox->lock);
	host->asking = start_thread(job);
	if (!host->asking) {
		mailbox_unref(r->mailbox);
		job_free(job);
	}
	return host->asking;
}

/* ---- hosts ------------------------------------------------------------------------ */

static void host_drop(struct wrk_resolver *r, struct wrk_host *host)
{
	HASH_DEL(r->hosts, host);
	free(host->name);
	free(host);
}

static bool is_usable(const struct wrk_host *host, uint64_t now_us)
{
	return host->found_us > 0 && now_us < host->found_us + STALE_US;
}

/* Callbacks go to names of anybody's choosing: what nobody has used for a while makes room. */
static void make_room(struct wrk_resolver *r)
{
	uint64_t now_us = base_clock_us();
	struct wrk_host *host, *next;

	if (HASH_COUNT(r->hosts) < HOSTS_MAX)
		return;
	HASH_ITER (hh, r->hosts, host, next)
		if (!host->asking && !host->waiting && !is_usable(host, now_us))
			host_drop(r, host);
	HASH_ITER (hh, r->hosts, host, next) { /* in order of arrival */
		if (HASH_COUNT(r->hosts) < HOSTS_MAX)
			return;
		if (!host->asking && !host->waiting)
			host_drop(r, host);
	}
}

static struct wrk_host *host_of(struct wrk_resolver *r, const char *name)
{
	struct wrk_host *host;

	HASH_FIND_STR(r->hosts, name, host);
	if (host)
		return host;
	make_room(r);
	host = calloc(1, sizeof *host);
	if (!host || !(host->name = strdup(name))) {
		free(host);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, r->hosts, host->name, strlen(host->name), host);
	if (!host->hh.tbl) {
		free(host->name);
		free(host);
		return NULL;
	}
	return host;
}

const struct wrk_addresses *wrk_resolver_known(struct wrk_resolver *r, const char *name)
{
	uint64_t now_us = base_clock_us();
	struct wrk_host *host;

	HASH_FIND_STR(r->hosts, name, host);
	if (!host || !is_usable(host, now_us))
		return NULL;
	if (now_us >= host->found_us + FRESH_US)
		(void)start(r, host);
	return &host->found;
}

enum base_err wrk_resolver_ask(struct wrk_resolver *r, const char *name, struct wrk_lookup *l)
{
	struct wrk_host *host = host_of(r, name);

	if (!host || !start(r, host))
		return BASE_NOMEM;
	l->host = host;
	DL_APPEND(host->waiting, l);
	return BASE_OK;
}

void wrk_resolver_forget(struct wrk_lookup *l)
{
	if (!l->host)
		return;
	DL_DELETE(l->host->waiting, l);
	l->host = NULL;
}

void wrk_resolver_doubt(struct wrk_resolver *r, const char *name)
{
	struct wrk_host *host;

	HASH_FIND_STR(r->hosts, name, host);
	if (host)
		host->found_us = 0;
}

/* ---- answers ------------------------------------------------------------------------ */

static const char *fault_of(const struct job *job)
{
	if (job->error == 0)
		return job->found.n > 0 ? NULL : "it has no address";
	return job->error == EAI_SYSTEM ? "the system could not look it up"
					: gai_strerror(job->error);
}

static void hear(struct wrk_resolver *r, const struct job *job)
{
	const char *fault = fault_of(job);
	struct wrk_lookup *l;
	struct wrk_host *host;

	HASH_FIND_STR(r->hosts, job->name, host);
	if (!host)
		return;
	host->asking = false;
	if (!fault) { /* otherwise what was known is good for a while still */
		host->found = job->found;
		host->found_us = base_clock_us();
	}
	while ((l = host->waiting)) {
		wrk_resolver_forget(l);
		l->fn(l, fault ? NULL : &host->found, fault);
	}
}

static void on_wake(uv_async_t *wake)
{
	struct wrk_resolver *r = (struct wrk_resolver *)wake;
	struct job *done;

	pthread_mutex_lock(&r->mailbox->lock);
	done = r->mailbox->done;
	r->mailbox->done = NULL;
	pthread_mutex_unlock(&r->mailbox->lock);
	while (done) {
		struct job *job = done;

		done = job->next;
		hear(r, job);
		job_free(job);
	}
}

/* ---- life ---------------------------------------------------------------------------- */

enum base_err wrk_resolver_new(uv_loop_t *loop, struct wrk_resolver **out)
{
	struct wrk_resolver *r = calloc(1, sizeof *r);
	struct mailbox *m = calloc(1, sizeof *m);

	if (!r || !m || uv_async_init(loop, &r->wake, on_wake) != 0) {
		free(r);
		free(m);
		return BASE_NOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->refs = 1;
	m->wake = &r->wake;
	r->mailbox = m;
	*out = r;
	return BASE_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void wrk_resolver_free(struct wrk_resolver **rp)
{
	struct wrk_resolver *r = *rp;
	struct wrk_host *host, *next;

	if (!r)
		return;
	pthread_mutex_lock(&r->mailbox->lock);
	r->mailbox->wake = NULL;
	pthread_mutex_unlock(&r->mailbox->lock);
	mailbox_unref(r->mailbox);
	HASH_ITER (hh, r->hosts, host, next)
		host_drop(r, host);
	uv_close((uv_handle_t *)&r->wake, on_closed);
	*rp = NULL;
}
