#include "worker/http_target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/manifest.h"

/* *out NULL: it has none. False: no memory, which is never the same. */
static bool part(CURLU *u, CURLUPart what, unsigned flags, char **out)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(u, what, &text, flags);

	*out = NULL;
	if (code != CURLUE_OK)
		return code != CURLUE_OUT_OF_MEMORY;
	*out = strdup(text);
	curl_free(text);
	return *out != NULL;
}

static bool read_literal(struct wrk_target *t)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(t->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(t->port) };

	if (inet_pton(AF_INET, t->host, &in.sin_addr) == 1) {
		memcpy(&t->address, &in, sizeof in);
		return true;
	}
	if (inet_pton(AF_INET6, t->host, &in6.sin6_addr) == 1) {
		memcpy(&t->address, &in6, sizeof in6);
		return true;
	}
	return false;
}

/* A host that is written as a list would be taken apart by libcurl. */
static bool is_host(const char *host)
{
	return *host && strlen(host) < WRK_HOST_MAX && !strpbrk(host, ",%*+ ");
}

static bool name_host(struct wrk_target *t, const char *scheme, const char *port, const char *host)
{
	size_t size = strlen(host);

	if (asprintf(&t->url, "%s://%s:%s", scheme, host, port) < 0) {
		t->url = NULL;
		return false;
	}
	t->port = (uint16_t)strtoul(port, NULL, 10);
	t->host = host[0] == '[' ? strndup(host + 1, size - 2) : strdup(host);
	return t->host != NULL;
}

static bool set_host(struct wrk_target *t, CURLU *u)
{
	char *scheme = NULL, *port = NULL, *host = NULL;
	bool ok = part(u, CURLUPART_SCHEME, 0, &scheme) &&
		  part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port) &&
		  part(u, CURLUPART_HOST, 0, &host) && scheme && port && host &&
		  name_host(t, scheme, port, host);

	free(scheme);
	free(port);
	free(host);
	return ok;
}

static bool set_path(struct wrk_target *t, CURLU *u, const char *url)
{
	const char *authority = strstr(url, "://") + 3;
	char *path = NULL, *query = NULL;
	bool ok;

	if (authority[strcspn(authority, "/?")] == '\0')
		return true;
	ok = part(u, CURLUPART_PATH, 0, &path) && part(u, CURLUPART_QUERY, 0, &query) && path &&
	     asprintf(&t->path, "%s%s%s", path, query ? "?" : "", query ? query : "") >= 0;
	if (!ok)
		t->path = NULL;
	free(path);
	free(query);
	return ok;
}

static enum base_err refuse(char *why, size_t room, const char *expected)
{
	(void)snprintf(why, room, "expected %s", expected);
	return BASE_INVALID;
}

static enum base_err no_memory(char *why, size_t room)
{
	(void)snprintf(why, room, "%s", base_err_text(BASE_NOMEM));
	return BASE_NOMEM;
}

static enum base_err take_apart(
	struct wrk_target *t, CURLU *u, const char *url, char *why, size_t room)
{
	CURLUcode code = curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER);
	char *zone;

	if (code == CURLUE_OUT_OF_MEMORY)
		return no_memory(why, room);
	if (code != CURLUE_OK)
		return refuse(why, room, "a URL such as http://app:3000/hook");
	if (!part(u, CURLUPART_ZONEID, 0, &zone))
		return no_memory(why, room);
	free(zone);
	if (zone)
		return refuse(why, room, "an address without a zone");
	if (!set_host(t, u) || !set_path(t, u, url))
		return no_memory(why, room);
	if (t->port == 0)
		return refuse(why, room, "a port from 1 to 65535");
	if (!is_host(t->host))
		return refuse(why, room, "a host's name or address");
	t->literal = read_literal(t);
	t->parsed = curl_url();
	if (!t->parsed || curl_url_set(t->parsed, CURLUPART_URL, t->url, 0) != CURLUE_OK)
		return no_memory(why, room);
	return BASE_OK;
}

enum base_err wrk_target_parse(const char *url, struct wrk_target *out, char *why, size_t why_room)
{
	struct wrk_target t = { 0 };
	const char *fault = "a URL that begins with http:// or https://";
	enum base_err err;
	CURLU *u;

	if (base_manifest_is_url(url))
		fault = base_manifest_url_fault(url);
	if (fault)
		return refuse(why, why_room, fault);
	u = curl_url();
	if (!u)
		return no_memory(why, why_room);
	err = take_apart(&t, u, url, why, why_room);
	curl_url_cleanup(u);
	if (err)
		wrk_target_fini(&t);
	else
		*out = t;
	return err;
}

void wrk_target_fini(struct wrk_target *t)
{
	curl_url_cleanup(t->parsed);
	free(t->url);
	free(t->host);
	free(t->path);
	*t = (struct wrk_target){ 0 };
}
