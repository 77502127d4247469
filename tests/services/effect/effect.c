/* Leaves one effect for each event, to be counted afterwards; for tests of faults. The
 * body is the event's name, and words that say how the run goes:
 *
 *   e17 sleep=20 fail=2 die plain
 *
 *   sleep=MS  between its two operations, so that a fault finds it half done
 *   fail=N    the first N runs fail, after both operations
 *   die       the run kills its worker, after both operations
 *   plain     no operation at all
 *   fate      the run ends with the status that the manifest's env FATE says, after both operations
 *
 * With EMIT in the manifest's env each run sends an event of that type, too, with the name alone
 * for its data.
 *
 * The effect is "total" plus one, and the field with the event's name in "effects" plus
 * one: two operations, so that replaying only one of them shows. Each run writes its
 * beginning and its end to the file named by EFFECT_RUNS, which outlives every process:
 *
 *   + e17 2 1234          begins: attempt 2, process 1234
 *   - e17 2 1234 0        ends, with this code of enum pirn_err
 */
#include <pirn/service.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int runs = -1;

struct job {
	char name[64];
	unsigned sleep_ms, fail;
	bool die, plain, fate;
};

static unsigned word(const char *body, const char *name)
{
	const char *at = strstr(body, name);

	return at ? (unsigned)strtoul(at + strlen(name), NULL, 10) : 0;
}

static struct job read_job(const struct pirn_request *req)
{
	const char *body = pirn_request_body(req, NULL);
	struct job job = { .sleep_ms = word(body, " sleep="), .fail = word(body, " fail=") };

	snprintf(job.name, sizeof job.name, "%.*s", (int)strcspn(body, " "), body);
	job.die = strstr(body, " die") != NULL;
	job.plain = strstr(body, " plain") != NULL;
	job.fate = strstr(body, " fate") != NULL;
	return job;
}

/* One write with O_APPEND: lines of all processes stand in the order in which they came. */
static void note(const struct pirn_request *req, const struct job *job, char what, int err)
{
	char line[160];
	int size = snprintf(line, sizeof line, "%c %s %u %ld %d\n", what, job->name,
		pirn_request_attempt(req), (long)getpid(), err);

	if (runs >= 0 && write(runs, line, (size_t)size) != size)
		pirn_log(PIRN_ERROR, "the run was not noted");
}

static void rest(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static int leave(struct pirn_request *req, const struct job *job)
{
	int err = job->plain ? PIRN_OK : pirn_counter_add(req, "total", 1, NULL);

	rest(job->sleep_ms);
	if (!err && !job->plain)
		err = pirn_hash_add(req, "effects", job->name, 1, NULL);
	return err;
}

static int emit(struct pirn_request *req, const struct job *job)
{
	struct pirn_emitted event = { .type = pirn_env("EMIT"),
		.subject = job->name,
		.content_type = "text/plain",
		.data = job->name,
		.size = strlen(job->name) };

	return event.type ? pirn_emit(req, &event) : PIRN_OK;
}

static int effect(struct pirn_request *req, struct pirn_response *res)
{
	struct job job = read_job(req);
	const char *fate = job.fate ? pirn_env("FATE") : NULL;
	int err;

	note(req, &job, '+', 0);
	err = leave(req, &job);
	if (!err)
		err = emit(req, &job);
	if (job.die)
		raise(SIGKILL);
	if (!err && pirn_request_attempt(req) <= job.fail)
		err = PIRN_ERR_FAILED;
	if (!err && fate)
		err = pirn_respond_problem(res, (unsigned)atoi(fate), NULL, "as it was to be");
	note(req, &job, '-', err);
	return err;
}

static int open_runs(void)
{
	const char *path = getenv("EFFECT_RUNS");

	if (path)
		runs = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return path && runs < 0;
}

PIRN_SERVICE(.handler = effect, .init = open_runs);
