#include "client/key.h"

#include <sodium/crypto_generichash.h>
#include <stdlib.h>
#include <string.h>

static void add(crypto_generichash_state *h, const void *bytes, size_t size)
{
	uint8_t n[8];

	for (unsigned i = 0; i < 8; i++)
		n[i] = (uint8_t)((uint64_t)size >> 8 * i);
	crypto_generichash_update(h, n, sizeof n);
	if (size)
		crypto_generichash_update(h, bytes, size);
}

enum pirn_client_err client_key_new(const char *text, const char *service, const void *body,
	size_t body_size, struct client_key **out)
{
	size_t size = strlen(text);
	crypto_generichash_state h;
	struct client_key *key;

	if (size == 0 || size > CLIENT_KEY_MAX)
		return PIRN_CLIENT_INVALID;
	key = malloc(sizeof *key + size);
	if (!key)
		return PIRN_CLIENT_NOMEM;
	key->size = size;
	memcpy(key->bytes, text, size);
	crypto_generichash_init(&h, NULL, 0, CLIENT_HASH_SIZE);
	add(&h, service, strlen(service));
	add(&h, body, body_size);
	crypto_generichash_final(&h, key->hash, CLIENT_HASH_SIZE);
	*out = key;
	return PIRN_CLIENT_OK;
}

void client_key_event(const void *source, size_t source_size, const void *id, size_t id_size,
	uint8_t out[CLIENT_KEY_EVENT])
{
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, CLIENT_KEY_EVENT);
	crypto_generichash_update(&h, source, source_size);
	crypto_generichash_update(&h, (const uint8_t *)"", 1);
	crypto_generichash_update(&h, id, id_size);
	crypto_generichash_final(&h, out, CLIENT_KEY_EVENT);
}

enum pirn_client_err client_key_new_event(
	const char *source, const char *id, struct client_key **out)
{
	struct client_key *key = calloc(1, sizeof *key + CLIENT_KEY_EVENT);

	if (!key)
		return PIRN_CLIENT_NOMEM;
	key->size = CLIENT_KEY_EVENT;
	client_key_event(source, strlen(source), id, strlen(id), key->bytes);
	*out = key;
	return PIRN_CLIENT_OK;
}
