#include "worker/http_allow.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "base/text.h"

/* ---- addresses -------------------------------------------------------------- */

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool bytes_of(const struct sockaddr *from, uint8_t out[16])
{
	if (from->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, from, sizeof in);
		memcpy(out, mapped, sizeof mapped);
		memcpy(out + 12, &in.sin_addr, 4);
		return true;
	}
	if (from->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, from, sizeof in6);
		memcpy(out, &in6.sin6_addr, 16);
		return true;
	}
	return false;
}

static bool lies_in(const uint8_t *address, const uint8_t *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return memcmp(address, net, whole) == 0 &&
	       (rest == 0 || (address[whole] ^ net[whole]) >> (8 - rest) == 0);
}

/* IANA's special-purpose registry of IPv4: what is not globally reachable, and multicast. */
static const struct {
	uint8_t net[4];
	unsigned bits;
} special4[] = {
	{ { 0, 0, 0, 0 }, 8 },	    /* this network */
	{ { 10, 0, 0, 0 }, 8 },	    /* private */
	{ { 100, 64, 0, 0 }, 10 },  /* shared with a provider */
	{ { 127, 0, 0, 0 }, 8 },    /* loopback */
	{ { 169, 254, 0, 0 }, 16 }, /* link-local: clouds keep their secrets there */
	{ { 172, 16, 0, 0 }, 12 },  /* private */
	{ { 192, 0, 0, 0 }, 24 },   /* protocols */
	{ { 192, 0, 2, 0 }, 24 },   /* documentation */
	{ { 192, 88, 99, 0 }, 24 }, /* 6to4 relays */
	{ { 192, 168, 0, 0 }, 16 }, /* private */
	{ { 198, 18, 0, 0 }, 15 },  /* benchmarks */
	{ { 198, 51, 100, 0 }, 24 }, /* documentation */
	{ { 203, 0, 113, 0 }, 24 },  /* documentation */
	{ { 224, 0, 0, 0 }, 4 },     /* multicast */
	{ { 240, 0, 0, 0 }, 4 },     /* reserved, broadcast */
};

static bool is_public4(const uint8_t *address)
{
	for (size_t i = 0; i < sizeof special4 / sizeof *special4; i++)
		if (lies_in(address, special4[i].net, special4[i].bits))
			return false;
	return true;
}

static bool is_public6(const uint8_t *a)
{
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
	static const uint8_t to4[2] = { 0x20, 0x02 };
	static const uint8_t global[1] = { 0x20 };
	static const struct {
		uint8_t net[4];
		unsigned bits;
	} special[] = {
		{ { 0x20, 0x01, 0x00, 0x00 }, 23 }, /* protocols: Teredo, ORCHID, benchmarks */
		{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* documentation */
		{ { 0x3f, 0xff, 0x00, 0x00 }, 20 }, /* documentation */
	};

	if (lies_in(a, nat64, 96))
		return is_public4(a + 12);
	if (lies_in(a, to4, 16))
		return is_public4(a + 2);
	for (size_t i = 0; i < sizeof special / sizeof *special; i++)
		if (lies_in(a, special[i].net, special[i].bits))
			return false;
	return lies_in(a, global, 3);
}

static bool is_public_bytes(const uint8_t a[16])
{
	return lies_in(a, mapped, 96) ? is_public4(a + 12) : is_public6(a);
}

bool wrk_allow_is_public(const struct sockaddr *address)
{
	uint8_t bytes[16];

	return bytes_of(address, bytes) && is_public_bytes(bytes);
}

/* ---- rules -------------------------------------------------------------------- */

static bool is_below(const char *host, size_t size, const char *domain)
{
	size_t n = strlen(domain);

	return size > n && strncasecmp(host + size - n, domain, n) == 0;
}

static bool names_host(const struct wrk_allow_rule *rule, const char *host)
{
	size_t size = strlen(host);

	if (size > 0 && host[size - 1] == '.') /* the root's dot is no part of the name */
		size--;
	if (rule->host[0] == '.')
		return is_below(host, size, rule->host);
	return strlen(rule->host) == size && strncasecmp(rule->host, host, size) == 0;
}

bool wrk_allow_has(
	const struct wrk_allow *a, const char *host, uint16_t port, const struct sockaddr *address)
{
	uint8_t bytes[16];

	if (!bytes_of(address, bytes))
		return false;
	if (!a->named_only && is_public_bytes(bytes))
		return true;
	for (size_t i = 0; i < a->n; i++) {
		const struct wrk_allow_rule *rule = &a->rules[i];

		if (rule->port != 0 && rule->port != port)
			continue;
		if (rule->host[0] ? names_host(rule, host)
				  : lies_in(bytes, rule->address, rule->bits))
			return true;
	}
	return false;
}

/* ---- reading -------------------------------------------------------------------- */

/* Cuts ":80" off, unless what stands before it is an IPv6 address without brackets. */
static bool take_port(char *text, uint16_t *port)
{
	char *colon = strrchr(text, ':');
	uint64_t n;

	*port = 0;
	if (!colon || (text[0] != '[' && strchr(text, ':') != colon) ||
		(text[0] == '[' && colon[-1] != ']'))
		return true;
	if (!base_conf_u64(colon + 1, &n) || n < 1 || n > 65535)
		return false;
	*colon = '\0';
	*port = (uint16_t)n;
	return true;
}

/* 10.0.0.0/8, fd00::/8, a single address; [brackets] around an IPv6 one. */
static bool read_net(char *text, struct wrk_allow_rule *rule)
{
	size_t size = strlen(text);
	char *slash;
	uint64_t bits;
	unsigned width = 128;

	if (text[0] == '[' && text[size - 1] == ']') {
		text[size - 1] = '\0';
		text++;
	}
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, text, rule->address + 12) == 1) {
		memcpy(rule->address, mapped, sizeof mapped);
		width = 32;
	} else if (inet_pton(AF_INET6, text, rule->address) != 1) {
		return false;
	}
	bits = width;
	if (slash && (!base_conf_u64(slash + 1, &bits) || bits > width))
		return false;
	rule->bits = (unsigned)bits + 128 - width;
	return true;
}

static bool read_host(const char *text, struct wrk_allow_rule *rule)
{
	const char *from = strncmp(text, "*.", 2) == 0 ? text + 1 : text;
	size_t size = strlen(from);
	bool letters = false;

	if (size > 1 && from[size - 1] == '.')
		size--;
	if (size == 0 || size >= sizeof rule->host || from[size - 1] == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = from[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
			    c == '.'))
			return false;
		letters = letters || (c >= 'a' && c <= 'z');
		rule->host[i] = c;
	}
	rule->host[size] = '\0';
	return letters && (from != text || rule->host[0] != '.');
}

static bool read_rule(const char *text, struct wrk_allow_rule *rule)
{
	char copy[WRK_HOST_MAX + 8];

	*rule = (struct wrk_allow_rule){ 0 };
	if (strlen(text) >= sizeof copy)
		return false;
	(void)stpcpy(copy, text);
	if (!take_port(copy, &rule->port))
		return false;
	if (read_host(copy, rule))
		return true;
	rule->host[0] = '\0';
	return read_net(copy, rule);
}

static enum base_err add_rule(struct wrk_allow *a, const char *text, char *why, size_t why_room)
{
	char quoted[BASE_TEXT_QUOTED];
	struct wrk_allow_rule rule, *rules;

	if (!read_rule(text, &rule)) {
		base_text_quote(quoted, sizeof quoted, text, strlen(text));
		(void)snprintf(why, why_room,
			"expected hosts such as app, app:3000, *.internal or 10.0.0.0/8, got %s",
			quoted);
		return BASE_CONFIG;
	}
	rules = realloc(a->rules, (a->n + 1) * sizeof *rules);
	if (!rules) {
		(void)snprintf(why, why_room, "%s", base_err_text(BASE_NOMEM));
		return BASE_NOMEM;
	}
	a->rules = rules;
	rules[a->n++] = rule;
	return BASE_OK;
}

enum base_err wrk_allow_parse(const char *text, struct wrk_allow *out, char *why, size_t why_room)
{
	struct wrk_allow a = { 0 };
	enum base_err err = BASE_OK;
	char *copy = strdup(text ? text : ""), *rest = NULL;

	if (!copy) {
		(void)snprintf(why, why_room, "%s", base_err_text(BASE_NOMEM));
		return BASE_NOMEM;
	}
	for (const char *word = strtok_r(copy, ", ", &rest); word && !err;
		word = strtok_r(NULL, ", ", &rest))
		err = add_rule(&a, word, why, why_room);
	free(copy);
	if (err) {
		wrk_allow_fini(&a);
		return err;
	}
	*out = a;
	return BASE_OK;
}

void wrk_allow_fini(struct wrk_allow *a)
{
	free(a->rules);
	*a = (struct wrk_allow){ 0 };
}
