#include "tests/fault/effects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/ulid.h"

#define LETTERS "pirn:{0}:dead:"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "effects: %s\n", what);
	abort();
}

/* command and name make the command. */
static uint64_t number(struct harness_redis *redis, const char *command, const char *name)
{
	char *text = harness_redis_command(redis, "%s%s", command, name);
	uint64_t value = strtoull(text, NULL, 10);

	if (strcmp(text, "(nil)") != 0 && text[strspn(text, "0123456789")] != '\0')
		die(text);
	free(text);
	return value;
}

static void add(struct effects *e, unsigned serial, unsigned times)
{
	if (serial >= e->n) {
		size_t n = (size_t)serial * 2 + 1024;

		e->of = realloc(e->of, n * sizeof *e->of);
		if (!e->of)
			die("out of memory");
		memset(e->of + e->n, 0, (n - e->n) * sizeof *e->of);
		e->n = n;
	}
	e->of[serial] = times;
	e->sum += times;
	e->distinct++;
}

/* The reply has a field and its value in turn, a line each. */
void effects_read_of(struct harness_redis *redis, const char *service, struct effects *out)
{
	char *text = harness_redis_command(redis, "HGETALL pirn:{0}:state:%s:effects", service);
	char total[96];
	char *rest = NULL;
	const char *field = strtok_r(text, "\n", &rest);

	*out = (struct effects){ 0 };
	while (field) {
		const char *times = strtok_r(NULL, "\n", &rest);
		unsigned serial;

		if (!times || sscanf(field, "e%u", &serial) != 1)
			die("a field of the effects is not an event's");
		add(out, serial, (unsigned)strtoul(times, NULL, 10));
		field = strtok_r(NULL, "\n", &rest);
	}
	free(text);
	(void)snprintf(total, sizeof total, "%.63s:total", service);
	out->total = number(redis, "GET pirn:{0}:state:", total);
}

void effects_read(struct harness_redis *redis, struct effects *out)
{
	effects_read_of(redis, EFFECTS_SERVICE, out);
}

void effects_free(struct effects *e)
{
	free(e->of);
	*e = (struct effects){ 0 };
}

unsigned effects_of(const struct effects *e, unsigned serial)
{
	return serial < e->n ? e->of[serial] : 0;
}

uint64_t effects_backlog(struct harness_redis *redis)
{
	char *text = harness_redis_command(redis, "HKEYS pirn:{0}:journals");
	char *rest = NULL;
	uint64_t sum = 0;

	for (char *name = strtok_r(text, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
		if (name[strspn(name, "0123456789")] != '\0')
			die(name);
		sum += number(redis, "XLEN pirn:{0}:journal:", name);
	}
	free(text);
	return sum;
}

/* The field is the id's 16 bytes, which harness_redis_command could not say. */
bool effects_is_dead(struct harness_redis *redis, const char *id)
{
	const char *path = strstr(harness_redis_url(redis), "://") + 3;
	redisContext *c = redisConnectUnix(path);
	redisReply *reply = NULL;
	uint8_t bytes[BASE_ULID_SIZE];
	bool dead;

	if (!base_ulid_parse(id, bytes))
		die("an id that is none");
	if (c && !c->err)
		reply = redisCommand(
			c, "HEXISTS " LETTERS EFFECTS_SERVICE " %b", bytes, sizeof bytes);
	if (!reply)
		die("Redis does not answer");
	dead = reply->integer == 1;
	freeReplyObject(reply);
	redisFree(c);
	return dead;
}

unsigned effects_dead(struct harness_redis *redis)
{
	return effects_dead_of(redis, EFFECTS_SERVICE);
}

unsigned effects_dead_of(struct harness_redis *redis, const char *service)
{
	return (unsigned)number(redis, "HLEN " LETTERS, service);
}

struct run *effects_runs(const char *path, size_t *n)
{
	FILE *file = fopen(path, "re");
	struct run *runs = NULL;
	size_t room = 0;
	char line[160];

	for (*n = 0; file && fgets(line, sizeof line, file); (*n)++) {
		struct run *r;
		long pid;

		if (*n == room) {
			room = room ? room * 2 : 4096;
			runs = realloc(runs, room * sizeof *runs);
			if (!runs)
				die("out of memory");
		}
		r = &runs[*n];
		if (sscanf(line, "%c %23s %u %ld %d", &r->what, r->name, &r->attempt, &pid,
			    &r->err) != 5)
			die("a line of the runs cannot be read");
		r->pid = (pid_t)pid;
	}
	if (file)
		fclose(file);
	return runs;
}
