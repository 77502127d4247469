#include "store/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 107 /* sockaddr_un's */
#define DB_MAX         65535

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent-decodes in place; false for a broken escape or a NUL. */
static bool decode(char *text)
{
	char *to = text;
	for (const char *from = text; *from; from++) {
		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		int high = hex(from[1]);
		int low = high < 0 ? -1 : hex(from[2]);
		if (low < 0 || high + low == 0)
			return false;
		*to++ = (char)(high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return true;
}

/* Decimal digits up to max, the whole text; an empty one is wrong. */
static bool number(const char *text, uint32_t max, uint32_t *out)
{
	uint32_t value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (uint32_t)(*text - '0');
		if (value > max)
			return false;
	}
	*out = value;
	return true;
}

/* Cuts "user:password@" off the front of rest. */
static const char *take_login(char **rest, struct store_url *url)
{
	char *end = strrchr(*rest, '@');
	if (!end)
		return NULL;
	*end = '\0';
	char *user = *rest;
	char *password = strchr(user, ':');
	*rest = end + 1;
	if (!password)
		return "it names a user without a password (redis://user:password@host)";
	*password++ = '\0';
	if (!decode(user) || !decode(password))
		return "its user or password holds a broken %-escape";
	url->password = strdup(password);
	url->user = *user ? strdup(user) : NULL;
	if (*user && !url->user) { /* without either there was no memory: see store_url_parse */
		free(url->password);
		url->password = NULL;
	}
	return NULL;
}

static const char *take_tcp(char *rest, struct store_url *url)
{
	char *db = strchr(rest, '/');
	if (db)
		*db++ = '\0';
	if (db && *db && !number(db, DB_MAX, &url->db))
		return "its database is no number";
	char *host = rest;
	char *port;
	if (*host == '[') {
		char *end = strchr(host++, ']');
		if (!end || (end[1] && end[1] != ':'))
			return "its [IPv6 address] is not closed";
		*end = '\0';
		port = end[1] ? end + 2 : NULL;
	} else {
		port = strchr(host, ':');
		if (port)
			*port++ = '\0';
	}
	uint32_t value = 6379;
	if (!*host)
		return "it names no host";
	if (port && (!number(port, 65535, &value) || value == 0))
		return "its port is not between 1 and 65535";
	url->port = (uint16_t)value;
	url->host = strdup(host);
	return NULL;
}

static const char *take_path(char *rest, struct store_url *url)
{
	char *query = strchr(rest, '?');
	if (query)
		*query++ = '\0';
	if (query && (strncmp(query, "db=", 3) != 0 || !number(query + 3, DB_MAX, &url->db)))
		return "after the path only ?db=NUMBER may follow";
	if (*rest != '/')
		return "its path is not absolute (unix:///run/redis.sock)";
	if (strlen(rest) > PATH_MAX_BYTES)
		return "its path is longer than a unix socket's may be (107 bytes)";
	url->local = true;
	url->host = strdup(rest);
	return NULL;
}

static char *show(const struct store_url *url)
{
	char *text = NULL;
	char db[16] = "";
	if (url->db)
		snprintf(db, sizeof db, url->local ? "?db=%u" : "/%u", (unsigned)url->db);
	bool v6 = strchr(url->host, ':') != NULL;
	int n = url->local ? asprintf(&text, "%s%s", url->host, db)
			   : asprintf(&text, "%s%s%s:%u%s", v6 ? "[" : "", url->host, v6 ? "]" : "",
				     (unsigned)url->port, db);
	return n < 0 ? NULL : text;
}

static const char *parse(char *rest, struct store_url *url)
{
	bool local = strncmp(rest, "unix://", 7) == 0;
	if (!local && strncmp(rest, "rediss://", 9) == 0)
		return "TLS (rediss://) is not supported";
	if (!local && strncmp(rest, "redis://", 8) != 0)
		return "it must begin with redis:// or unix://";
	rest += local ? 7 : 8;
	const char *wrong = take_login(&rest, url);
	if (wrong)
		return wrong;
	return local ? take_path(rest, url) : take_tcp(rest, url);
}

enum base_err store_url_parse(const char *text, struct store_url *out, char **why)
{
	struct store_url url = { 0 };
	enum base_err err = BASE_NOMEM;
	const char *wrong = "it is empty";
	char *copy = strdup(text ? text : "");
	*why = NULL;
	if (!copy)
		goto fail;
	wrong = *copy ? parse(copy, &url) : wrong;
	if (wrong) {
		err = BASE_CONFIG;
		if (asprintf(why, "the URL of Redis is wrong: %s", wrong) < 0)
			*why = NULL;
		goto fail;
	}
	bool login = strchr(text, '@') != NULL;
	if (!url.host || (login && !url.password) || !(url.shown = show(&url)))
		goto fail;
	explicit_bzero(copy, strlen(text));
	free(copy);
	*out = url;
	return BASE_OK;
fail:
	free(copy);
	store_url_fini(&url);
	return err;
}

void store_url_fini(struct store_url *url)
{
	if (url->password)
		explicit_bzero(url->password, strlen(url->password));
	free(url->host);
	free(url->user);
	free(url->password);
	free(url->shown);
	*url = (struct store_url){ 0 };
}

char *store_url_fault(const char *text)
{
	struct store_url url;
	char *why = NULL;

	if (store_url_parse(text, &url, &why) == BASE_OK)
		store_url_fini(&url);
	return why;
}
