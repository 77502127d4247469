#include "tests/fault/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/harness/wait.h"

struct record {
	int fd;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "record: %s: %s\n", what, strerror(errno));
	abort();
}

struct record *record_open(const char *path)
{
	struct record *r = malloc(sizeof *r);

	if (!r)
		die("memory");
	r->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (r->fd < 0)
		die(path);
	return r;
}

void record_close(struct record **r)
{
	if (*r)
		close((*r)->fd);
	free(*r);
	*r = NULL;
}

/* One write, so that lines of several threads do not mix. */
static void line(struct record *r, const char *what, unsigned serial, const char *word)
{
	char text[128];
	int size = snprintf(
		text, sizeof text, "%s e%u %s %" PRIu64 "\n", what, serial, word, harness_now_ms());

	if (write(r->fd, text, (size_t)size) != size)
		die("write");
}

void record_sent(struct record *r, unsigned serial, const char *way, bool keyed)
{
	char word[32];

	(void)snprintf(word, sizeof word, "%s %s", way, keyed ? "key" : "-");
	line(r, "sent", serial, word);
}

void record_accepted(struct record *r, unsigned serial, const char *id)
{
	line(r, "accepted", serial, id);
}

void record_refused(struct record *r, unsigned serial, unsigned status)
{
	char word[16];

	(void)snprintf(word, sizeof word, "%u", status);
	line(r, "refused", serial, word);
}

void record_unknown(struct record *r, unsigned serial)
{
	line(r, "unknown", serial, "-");
}

/* ---- reading ------------------------------------------------------------------------ */

struct reading {
	struct recorded *events;
	size_t n, room;
};

static struct recorded *at(struct reading *all, unsigned serial)
{
	while (serial >= all->room) {
		size_t room = all->room ? all->room * 2 : 1024;

		all->events = realloc(all->events, room * sizeof *all->events);
		if (!all->events)
			die("memory");
		memset(all->events + all->room, 0, (room - all->room) * sizeof *all->events);
		all->room = room;
	}
	if (serial >= all->n)
		all->n = serial + 1;
	return &all->events[serial];
}

static void read_sent(struct recorded *e, const char *rest)
{
	char key[8] = "";
	uint64_t now = 0;

	if (sscanf(rest, "%*s %7s %" SCNu64, key, &now) != 2)
		die("a line of the record cannot be read");
	if (e->fate == RECORD_NONE)
		*e = (struct recorded){ .fate = RECORD_SENT, .sent_ms = now };
	e->keyed = strcmp(key, "key") == 0;
}

/* A promise stays one; what was in doubt stays so, whatever is said of a later attempt but a promise. */
static void read_fate(struct recorded *e, enum record_fate fate, const char *rest)
{
	char word[32] = "";
	uint64_t now = 0;

	if (sscanf(rest, "%31s %" SCNu64, word, &now) != 2)
		die("a line of the record cannot be read");
	e->in_doubt |= fate == RECORD_UNKNOWN;
	if (e->in_doubt && fate == RECORD_REFUSED)
		fate = RECORD_UNKNOWN;
	if (e->fate == RECORD_ACCEPTED)
		return;
	e->fate = fate;
	e->decided_ms = now;
	if (fate == RECORD_ACCEPTED)
		(void)snprintf(e->id, sizeof e->id, "%.26s", word);
}

static void read_line(struct reading *all, const char *text)
{
	static const struct {
		const char *word;
		enum record_fate fate;
	} fates[] = { { "accepted", RECORD_ACCEPTED }, { "refused", RECORD_REFUSED },
		{ "unknown", RECORD_UNKNOWN } };
	char what[16];
	unsigned serial;
	int used = 0;

	if (sscanf(text, "%15s e%u %n", what, &serial, &used) != 2 || !used)
		die("a line of the record cannot be read");
	if (strcmp(what, "sent") == 0)
		read_sent(at(all, serial), text + used);
	for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++)
		if (strcmp(what, fates[i].word) == 0)
			read_fate(at(all, serial), fates[i].fate, text + used);
}

struct recorded *record_read(const char *path, size_t *n)
{
	struct reading all = { 0 };
	FILE *file = fopen(path, "re");
	char text[256];

	if (!file)
		die(path);
	while (fgets(text, sizeof text, file))
		read_line(&all, text);
	fclose(file);
	*n = all.n;
	return all.events;
}
