/* A private redis-server for tests: its own directory under $TMPDIR, a unix socket
 * and, when asked, a free TCP port on loopback; append-only file, fsync always, no
 * eviction, as Pirn wants it in earnest. Everything here either works or ends the
 * test with a sentence on stderr, so that tests need not look at results.
 *
 * The server dies with the test (parent death signal), its directory goes with
 * harness_redis_stop. After a kill the data is still there for the next start.
 * Nothing sleeps for a fixed time: each function returns when its fact holds.
 */
#ifndef TESTS_HARNESS_REDIS_H
#define TESTS_HARNESS_REDIS_H

#include <stdbool.h>
#include <sys/types.h>

struct harness_redis;

/* options: more arguments for redis-server ("--requirepass", "pw"), NULL-terminated, or NULL.
 * Returns when it answers PING (or refuses it for want of a password). */
struct harness_redis *harness_redis_start(bool tcp, const char *const *options);
/* The same with lines "NAME=value" in its environment (LD_PRELOAD); borrowed until it is stopped, or NULL. */
struct harness_redis *harness_redis_start_in(const char *const *environment, bool tcp, const char *const *options);
void harness_redis_stop(struct harness_redis **r); /* ends it, removes its directory; takes NULL */

const char *harness_redis_url(const struct harness_redis *r);  /* unix:///… */
const char *harness_redis_tcp(const struct harness_redis *r);  /* redis://127.0.0.1:PORT; only with tcp */
const char *harness_redis_dir(const struct harness_redis *r);
unsigned harness_redis_port(const struct harness_redis *r);
pid_t harness_redis_pid(const struct harness_redis *r);        /* 0 while it is killed */

bool harness_redis_is_running(struct harness_redis *r); /* false: it was killed, or has ended by itself */
void harness_redis_kill(struct harness_redis *r);    /* kill -9; returns when it is dead */
void harness_redis_restart(struct harness_redis *r); /* after a kill: same data, socket and port */
void harness_redis_spawn(struct harness_redis *r);   /* the same, but returns at once: it may still be loading */
void harness_redis_pause(struct harness_redis *r);   /* SIGSTOP; returns when it is stopped */
void harness_redis_resume(struct harness_redis *r);  /* SIGCONT */

/* One command over a connection of its own, words split at spaces; the reply as text: "5", "OK",
 * "(nil)", "ERR …", an array's elements joined by newlines. free() it. Logs in by itself when
 * --requirepass was given. */
char *harness_redis_command(struct harness_redis *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, compared. */
bool harness_redis_says(struct harness_redis *r, const char *expected, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Sends a command, whatever becomes of it and of the server. */
void harness_redis_try(struct harness_redis *r, const char *command);

#endif
