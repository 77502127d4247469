/* Real processes, for tests: started with a log of their own, killed, paused, waited
 * for, asked what they logged. They die with the test program (parent death signal).
 * What goes wrong here ends the test with a sentence.
 */
#ifndef TESTS_HARNESS_PROCESS_H
#define TESTS_HARNESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct harness_process;

/* The path of a program under test: in $PIRN_BIN, or in ../../bin of this test's own place. */
const char *harness_program(const char *name, char *out, size_t room);
/* A path under build/MODE: "services". */
const char *harness_build(const char *path, char *out, size_t room);

/* Starts argv[0] (a path; a bare name is one of Pirn's programs) in folder, stdout and stderr into a
 * log. name is for people. environment: "NAME=value" lines to add, NULL-terminated, or NULL. PIRN_
 * variables of the test's own environment are not handed on. */
struct harness_process *harness_spawn(const char *name, const char *folder, const char *const *argv,
                                      const char *const *environment);
void harness_again(struct harness_process *p); /* the same once more, after it ended */
void harness_free(struct harness_process **p); /* kills what still runs; its log stays until the program ends */

pid_t harness_pid(const struct harness_process *p);
bool harness_is_running(struct harness_process *p);
void harness_kill_hard(struct harness_process *p); /* kill -9; returns when it is dead */
void harness_pause(struct harness_process *p);     /* SIGSTOP; returns when it is stopped */
void harness_resume(struct harness_process *p);    /* SIGCONT */
void harness_signal(struct harness_process *p, int number);

/* Waits until it has ended: its exit status, or 128 + the signal. Fails the test after timeout_ms. */
int harness_wait(struct harness_process *p, unsigned timeout_ms);
/* Runs a program to its end. */
int harness_run(const char *name, const char *folder, const char *const *argv, const char *const *environment,
                struct harness_process **out);

/* All that it wrote; free() it. */
char *harness_output(const struct harness_process *p);
bool harness_wrote(const struct harness_process *p, const char *text);
/* Lines (of --log json) with this id; and with a field that is so, unless key is NULL. */
unsigned harness_log_count(const struct harness_process *p, const char *id, const char *key, const char *value);
bool harness_logged(const struct harness_process *p, const char *id);
/* A field of the last line with this id, as text. False: there is no such line or field. */
bool harness_log_field(const struct harness_process *p, const char *id, const char *key, char *out, size_t room);

/* Descendants of pid that live, zombies left out, and processes whose working directory is folder or below. */
unsigned harness_children(pid_t pid);
unsigned harness_working_in(const char *folder);
/* The pid of the first process with that name whose parent is pid; 0: none. */
pid_t harness_child_named(pid_t parent, const char *name);

/* On 127.0.0.1, for a server that is about to start: no other call gets it, and no connection is given it. */
unsigned harness_free_port(void);

void harness_dump_logs(void); /* the ends of all logs, on stderr */
void harness_end_all(void);

#endif
