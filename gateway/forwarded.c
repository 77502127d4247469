#include "gateway/forwarded.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* More hops than any honest chain has. */
#define MAX_HOPS 64

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* ---- addresses ------------------------------------------------------------- */

static bool parse_plain(struct gw_slice text, uint8_t out[GW_ADDR_SIZE])
{
	char copy[GW_ADDR_TEXT];

	if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size))
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	if (inet_pton(AF_INET6, copy, out) == 1)
		return true;
	if (inet_pton(AF_INET, copy, out + sizeof mapped) != 1)
		return false;
	memcpy(out, mapped, sizeof mapped);
	return true;
}

static bool is_port(struct gw_slice text)
{
	if (text.size < 2 || text.size > 6 || text.data[0] != ':')
		return false;
	for (size_t i = 1; i < text.size; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	return true;
}

bool gw_addr_parse(struct gw_slice text, uint8_t out[GW_ADDR_SIZE])
{
	struct gw_slice host = text, port = { "", 0 };
	const char *end;
	uint8_t addr[GW_ADDR_SIZE];

	if (text.size && text.data[0] == '[') {
		end = memchr(text.data, ']', text.size);
		if (!end)
			return false;
		host = (struct gw_slice){ text.data + 1, (size_t)(end - text.data) - 1 };
		port = (struct gw_slice){ end + 1, text.size - host.size - 2 };
	} else if ((end = memchr(text.data, ':', text.size)) &&
		   end == memrchr(text.data, ':', text.size)) {
		host.size = (size_t)(end - text.data);
		port = (struct gw_slice){ end, text.size - host.size };
	}
	if ((port.size && !is_port(port)) || !parse_plain(host, addr))
		return false;
	memcpy(out, addr, sizeof addr);
	return true;
}

bool gw_addr_of(const struct sockaddr *sa, uint8_t out[GW_ADDR_SIZE])
{
	memset(out, 0, GW_ADDR_SIZE);
	out[GW_ADDR_SIZE - 1] = 1;
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			GW_ADDR_SIZE);
		return true;
	}
	if (sa && sa->sa_family == AF_INET) {
		memcpy(out, mapped, sizeof mapped);
		memcpy(out + sizeof mapped,
			&((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		return true;
	}
	return false;
}

static bool is_mapped(const uint8_t addr[GW_ADDR_SIZE])
{
	return memcmp(addr, mapped, sizeof mapped) == 0;
}

void gw_addr_print(const uint8_t addr[GW_ADDR_SIZE], char out[GW_ADDR_TEXT])
{
	bool v4 = is_mapped(addr);

	out[0] = '\0';
	(void)inet_ntop(
		v4 ? AF_INET : AF_INET6, v4 ? addr + sizeof mapped : addr, out, GW_ADDR_TEXT);
}

/* ---- networks -------------------------------------------------------------- */

static bool parse_net(struct gw_slice text, struct gw_net *out)
{
	const char *slash = memchr(text.data, '/', text.size);
	struct gw_slice host = text;
	unsigned bits = 128, most;

	if (slash)
		host.size = (size_t)(slash - text.data);
	if (!parse_plain(host, out->addr))
		return false;
	most = memchr(host.data, ':', host.size) ? 128 : 32;
	if (slash) {
		char digits[4] = "";
		size_t n = text.size - host.size - 1;
		if (n == 0 || n > 3)
			return false;
		memcpy(digits, slash + 1, n);
		if (strspn(digits, "0123456789") != n)
			return false;
		bits = (unsigned)strtoul(digits, NULL, 10);
		if (bits > most)
			return false;
		bits += 128 - most;
	}
	out->bits = bits;
	return true;
}

static enum base_err add_net(struct gw_nets *nets, struct gw_slice text, char *why, size_t why_room)
{
	struct gw_net *grown = realloc(nets->items, (nets->n + 1) * sizeof *grown);

	if (!grown)
		return BASE_NOMEM;
	nets->items = grown;
	if (!parse_net(text, &grown[nets->n])) {
		(void)snprintf(why, why_room, "expected networks such as 10.0.0.0/8, got \"%.*s\"",
			(int)text.size, text.data);
		return BASE_CONFIG;
	}
	nets->n++;
	return BASE_OK;
}

enum base_err gw_nets_parse(const char *text, struct gw_nets *out, char *why, size_t why_room)
{
	struct gw_nets nets = { NULL, 0 };
	enum base_err err = BASE_OK;

	while (text && *text) {
		const char *end = strchrnul(text, ',');
		struct gw_slice item =
			gw_slice_trim((struct gw_slice){ text, (size_t)(end - text) });
		if (item.size && (err = add_net(&nets, item, why, why_room)))
			goto fail;
		text = *end ? end + 1 : end;
	}
	*out = nets;
	return BASE_OK;
fail:
	gw_nets_fini(&nets);
	return err;
}

void gw_nets_fini(struct gw_nets *nets)
{
	free(nets->items);
	*nets = (struct gw_nets){ NULL, 0 };
}

static bool net_has(const struct gw_net *net, const uint8_t addr[GW_ADDR_SIZE])
{
	unsigned whole = net->bits / 8, left = net->bits % 8;

	if (memcmp(net->addr, addr, whole) != 0)
		return false;
	return left == 0 || (net->addr[whole] ^ addr[whole]) >> (8 - left) == 0;
}

bool gw_nets_have(const struct gw_nets *nets, const uint8_t addr[GW_ADDR_SIZE])
{
	for (size_t i = 0; i < nets->n; i++)
		if (net_has(&nets->items[i], addr))
			return true;
	return false;
}

/* ---- the walk -------------------------------------------------------------- */

/* What follows the last separator that is not in quotes; s loses it, and the separator. */
static struct gw_slice pop_last(struct gw_slice *s, char separator, bool *more)
{
	size_t cut = 0;
	bool quoted = false, found = false;
	struct gw_slice last;

	for (size_t i = 0; i < s->size; i++) {
		if (quoted && s->data[i] == '\\')
			i++;
		else if (s->data[i] == '"')
			quoted = !quoted;
		else if (!quoted && s->data[i] == separator) {
			cut = i;
			found = true;
		}
	}
	last = found ? (struct gw_slice){ s->data + cut + 1, s->size - cut - 1 } : *s;
	s->size = found ? cut : 0;
	*more = found;
	return gw_slice_trim(last);
}

static struct gw_slice unquote(struct gw_slice s)
{
	if (s.size >= 2 && s.data[0] == '"' && s.data[s.size - 1] == '"')
		return (struct gw_slice){ s.data + 1, s.size - 2 };
	return s;
}

/* The for= of one element of Forwarded; false: it has none that is an address. */
static bool node_of(struct gw_slice element, uint8_t out[GW_ADDR_SIZE])
{
	bool more = true;

	while (more) {
		struct gw_slice pair = pop_last(&element, ';', &more);
		if (pair.size > 4 &&
			gw_slice_like((struct gw_slice){ pair.data, 4 }, GW_SLICE("for=")))
			return gw_addr_parse(
				unquote((struct gw_slice){ pair.data + 4, pair.size - 4 }), out);
	}
	return false;
}

void gw_forwarded_walk(const struct gw_nets *trusted, struct gw_hops forwarded,
	struct gw_hops x_forwarded_for, uint8_t addr[GW_ADDR_SIZE])
{
	bool standard = forwarded.n > 0;
	struct gw_hops hops = standard ? forwarded : x_forwarded_for;
	unsigned walked = 0;

	for (size_t i = hops.n; i-- > 0;) {
		struct gw_slice value = hops.values[i];
		bool more = value.size > 0;
		while (more) {
			struct gw_slice hop;
			if (!gw_nets_have(trusted, addr) || walked++ == MAX_HOPS)
				return;
			hop = pop_last(&value, ',', &more);
			if (standard ? !node_of(hop, addr) : !gw_addr_parse(hop, addr))
				return;
		}
	}
}
