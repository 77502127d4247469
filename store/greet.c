/* What is said when a connection stands: password, database, name, and which revision
 * of our library it has. All is sent at once; the last answer says "up".
 */
#include "store/redis_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool store_reply_starts(const struct store_reply *reply, const char *code)
{
	return reply->type == STORE_ERROR && strncmp(reply->text, code, strlen(code)) == 0;
}

bool store_redis_greeted(struct store_redis *r, const struct store_reply *reply)
{
	if (reply->type == STORE_UNKNOWN || r->phase < STORE_GREETING)
		return false;
	if (reply->type != STORE_ERROR)
		return true;
	if (store_reply_starts(reply, "LOADING"))
		store_redis_drop(r, "Redis is still loading its data");
	else if (store_reply_starts(reply, "NOAUTH"))
		store_redis_drop(r, "Redis wants a password, and its URL has none");
	else if (store_reply_starts(reply, "WRONGPASS"))
		store_redis_drop(r, "Redis refused the user or the password");
	else if (strstr(reply->text, "unknown command") && strstr(reply->text, "FCALL"))
		store_redis_drop(r,
			"Redis 7.0 or newer is needed, this one has no Functions (%.120s)",
			reply->text);
	else
		store_redis_drop(r, "Redis refused to work with us: %.160s", reply->text);
	return false;
}

static void on_greeting(void *arg, const struct store_reply *reply)
{
	(void)store_redis_greeted(arg, reply);
}

static void become_up(struct store_redis *r)
{
	if (r->phase == STORE_UP)
		return;
	r->phase = STORE_UP;
	r->failures = 0;
	r->told_down = false;
	r->refused_load = false;
	r->why[0] = '\0';
	r->stats.connects++;
	store_redis_plan(r);
	if (r->events.on_up)
		r->events.on_up(r->events.arg);
}

static void on_pong(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (store_redis_greeted(r, reply))
		become_up(r);
}

static void ask_revision(struct store_redis *r);

/* "already exists": another process loaded it first, or it is one without our revision function. */
static void on_loaded(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	r->loading = false;
	if (reply->type == STORE_ERROR && strstr(reply->text, "already exists") &&
		!r->refused_load) {
		r->refused_load = true;
		ask_revision(r);
	} else if (store_redis_greeted(r, reply)) {
		become_up(r);
	}
}

void store_redis_load(struct store_redis *r, bool replace)
{
	struct store_arg args[4] = { STORE_ARG("FUNCTION"), STORE_ARG("LOAD"),
		STORE_ARG("REPLACE") };
	size_t n = replace ? 3 : 2;
	args[n++] = STORE_ARG(r->library);
	r->loading = true;
	store_redis_say(r, on_loaded, args, n);
}

static void on_revision(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (store_reply_starts(reply, "ERR Function not found"))
		store_redis_load(r, r->refused_load);
	else if (!store_redis_greeted(r, reply))
		return;
	else if (reply->type == STORE_INT && reply->integer < r->revision)
		store_redis_load(r, true);
	else
		become_up(r);
}

static void ask_revision(struct store_redis *r)
{
	char function[sizeof r->library_name + 16];
	snprintf(function, sizeof function, "%s_revision", r->library_name);
	store_redis_say(r, on_revision,
		(struct store_arg[]){ STORE_ARG("FCALL_RO"), STORE_ARG(function), STORE_ARG("0") },
		3);
}

void store_redis_greet(struct store_redis *r)
{
	r->phase = STORE_GREETING;
	if (r->url.password) {
		struct store_arg args[3] = { STORE_ARG("AUTH") };
		size_t n = 1;
		if (r->url.user)
			args[n++] = STORE_ARG(r->url.user);
		args[n++] = STORE_ARG(r->url.password);
		store_redis_say(r, on_greeting, args, n);
	}
	if (r->url.db) {
		char db[16];
		snprintf(db, sizeof db, "%u", (unsigned)r->url.db);
		store_redis_say(r, on_greeting,
			(struct store_arg[]){ STORE_ARG("SELECT"), STORE_ARG(db) }, 2);
	}
	if (r->name) /* its answer does not matter: an ACL may forbid it, or the name hold a space */
		store_redis_say(r, NULL,
			(struct store_arg[]){
				STORE_ARG("CLIENT"), STORE_ARG("SETNAME"), STORE_ARG(r->name) },
			3);
	if (r->library)
		ask_revision(r);
	else
		store_redis_say(r, on_pong, &STORE_ARG("PING"), 1);
}

bool store_redis_read_library(struct store_redis *r)
{
	static const char shebang[] = "#!lua name=";
	const char *name = r->library + sizeof shebang - 1;
	const char *line = strstr(r->library, "\nlocal revision = ");
	if (strncmp(r->library, shebang, sizeof shebang - 1) != 0 || !line)
		return false;
	size_t size = strcspn(name, " \n");
	if (size == 0 || size >= sizeof r->library_name)
		return false;
	memcpy(r->library_name, name, size);
	r->revision = strtoll(strchr(line, '=') + 1, NULL, 10);
	return r->revision > 0;
}
