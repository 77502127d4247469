/* Who the client is when proxies stand in front. Only a peer that is in the list of
 * trusted networks may say so, by Forwarded (RFC 7239) or, when that is not there, by
 * X-Forwarded-For. The list of hops is walked from the right, from the peer outwards:
 * the first address that is not trusted is the client. A hop that is not an address
 * (unknown, _hidden, rubbish) ends the walk; the client is then the last one known.
 *
 * Addresses are 16 bytes here, IPv4 as ::ffff:a.b.c.d.
 */
#ifndef GATEWAY_FORWARDED_H
#define GATEWAY_FORWARDED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "gateway/slice.h"

#define GW_ADDR_SIZE 16
#define GW_ADDR_TEXT 46 /* with the NUL */

struct gw_net {
	uint8_t addr[GW_ADDR_SIZE];
	unsigned bits; /* of the 128 */
};

struct gw_nets {
	struct gw_net *items;
	size_t n;
};

/* "10.0.0.0/8, fd00::/8, 192.0.2.1"; NULL or "" is an empty list. CONFIG: why holds a sentence. */
BASE_MUSTUSE enum base_err gw_nets_parse(
	const char *text, struct gw_nets *out, char *why, size_t why_room);
void gw_nets_fini(struct gw_nets *nets);
bool gw_nets_have(const struct gw_nets *nets, const uint8_t addr[GW_ADDR_SIZE]);

/* Takes 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. UNTRUSTED. */
bool gw_addr_parse(struct gw_slice text, uint8_t out[GW_ADDR_SIZE]);
bool gw_addr_of(
	const struct sockaddr *sa, uint8_t out[GW_ADDR_SIZE]); /* false: not IP; out is ::1 */
void gw_addr_print(const uint8_t addr[GW_ADDR_SIZE], char out[GW_ADDR_TEXT]);

/* The values of the headers of one kind, in the order they came. */
struct gw_hops {
	const struct gw_slice *values;
	size_t n;
};

/* addr holds the peer's address, and is replaced by the client's. UNTRUSTED headers. */
void gw_forwarded_walk(const struct gw_nets *trusted, struct gw_hops forwarded,
	struct gw_hops x_forwarded_for, uint8_t addr[GW_ADDR_SIZE]);

#endif
