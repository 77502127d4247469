#include "gateway/key.h"

#include <sodium/crypto_generichash.h>

/* sf-string of RFC 8941; inner is what stands between the quotes. */
static size_t read_string(struct gw_slice inner, uint8_t out[GW_KEY_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < inner.size; i++) {
		char c = inner.data[i];
		if (c == '\\') {
			if (++i == inner.size || (inner.data[i] != '"' && inner.data[i] != '\\'))
				return 0;
			c = inner.data[i];
		} else if (c == '"') {
			return 0;
		}
		if (c < ' ' || c > '~' || n == GW_KEY_MAX)
			return 0;
		out[n++] = (uint8_t)c;
	}
	return n;
}

/* A comma would be two headers that a proxy made one. */
static size_t read_bare(struct gw_slice value, uint8_t out[GW_KEY_MAX])
{
	if (value.size > GW_KEY_MAX)
		return 0;
	for (size_t i = 0; i < value.size; i++) {
		char c = value.data[i];
		if (c <= ' ' || c > '~' || c == '"' || c == ',')
			return 0;
		out[i] = (uint8_t)c;
	}
	return value.size;
}

size_t gw_key_read(struct gw_slice value, uint8_t out[GW_KEY_MAX])
{
	value = gw_slice_trim(value);
	if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
		return read_string((struct gw_slice){ value.data + 1, value.size - 2 }, out);
	return read_bare(value, out);
}

static void add(crypto_generichash_state *h, struct gw_slice s)
{
	uint8_t size[8];

	for (unsigned i = 0; i < 8; i++)
		size[i] = (uint8_t)((uint64_t)s.size >> 8 * i);
	crypto_generichash_update(h, size, sizeof size);
	crypto_generichash_update(h, (const uint8_t *)s.data, s.size);
}

void gw_key_hash(const struct gw_key_request *r, uint8_t out[GW_KEY_HASH])
{
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, GW_KEY_HASH);
	add(&h, r->method);
	add(&h, r->target);
	add(&h, r->event ? GW_SLICE("event") : GW_SLICE("call"));
	add(&h, r->content_type);
	add(&h, r->body);
	crypto_generichash_final(&h, out, GW_KEY_HASH);
}
