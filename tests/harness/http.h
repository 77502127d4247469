/* HTTP for tests: whole requests by libcurl, raw bytes on a socket, and a load that
 * runs in threads while the test kills things.
 */
#ifndef TESTS_HARNESS_HTTP_H
#define TESTS_HARNESS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harness_answer {
	unsigned status;  /* 0: no answer came; error says why */
	char *body;       /* never NULL; NUL-terminated */
	size_t size;
	char *headers;    /* all lines of the answer's head */
	char error[256];
};

struct harness_call {
	const char *base;           /* http://127.0.0.1:8080 */
	const char *method;         /* NULL: GET, or POST with a body */
	const char *target;
	const void *body;           /* NULL: none */
	size_t size;                /* 0 with a body: strlen */
	const char *const *headers; /* NULL-terminated, or NULL */
	bool chunked;               /* send the body with Transfer-Encoding: chunked */
	unsigned timeout_ms;        /* 0: 30 s */
};

struct harness_answer harness_call(const struct harness_call *call);
struct harness_answer harness_get(const char *base, const char *target);
struct harness_answer harness_post(const char *base, const char *target, const char *body); /* JSON */
void harness_answer_free(struct harness_answer *a);

/* One header's value, without blanks around it; NULL: there is none. Good until the next call. */
const char *harness_answer_header(const struct harness_answer *a, const char *name);

/* The status alone. */
unsigned harness_status(const char *base, const char *method, const char *target, const char *body);

/* The sum of all series of a metric whose name (and labels, where labels is a part of them) match; -1: none. */
double harness_metric(const char *admin, const char *name, const char *labels);

/* ---- raw bytes ---------------------------------------------------------------- */

int harness_raw_connect(const char *base);                          /* base as above; a TCP socket */
void harness_raw_send(int fd, const void *data, size_t size);       /* what the other end no longer takes is dropped */
void harness_raw_text(int fd, const char *text);
/* Everything until the other end closes, or NULL after timeout_ms without its end; free() it. */
char *harness_raw_read(int fd, unsigned timeout_ms);
/* Sends text on a connection of its own; the answer. */
char *harness_raw(const char *base, const char *text);

/* ---- a load --------------------------------------------------------------------- */

struct harness_load;

struct harness_load_counts {
	uint64_t ok;      /* 2xx */
	uint64_t failed;  /* everything else */
	char first[256];  /* what the first failure was */
};

/* threads clients that repeat the call until stopped. The call is borrowed. */
struct harness_load *harness_load_start(const struct harness_call *call, unsigned threads);
uint64_t harness_load_ok(struct harness_load *l); /* so far */
struct harness_load_counts harness_load_stop(struct harness_load **l);

#endif
