/* An Idempotency-Key of the library's: the key, and a fingerprint of the request, by
 * which a broker tells a repetition from another request under the same key.
 *
 * The fingerprint is of the service and the body: when an event is to run, and who
 * waits for it, may differ between two attempts to send it.
 */
#ifndef CLIENT_KEY_H
#define CLIENT_KEY_H

#include "pirn/client.h"

#define CLIENT_KEY_MAX   255
#define CLIENT_HASH_SIZE 16

struct client_key {
	uint8_t hash[CLIENT_HASH_SIZE];
	size_t size;
	uint8_t bytes[];
};

/* INVALID when text is empty or too long; NOMEM. *out is to be freed, by free. */
enum pirn_client_err client_key_new(const char *text, const char *service, const void *body,
	size_t body_size, struct client_key **out);

/* The key of a CloudEvent, 32 bytes: those of one source and id are the same event, whatever they carry and
 * whichever way they come. BLAKE2b of the two, with a NUL between them, which neither can hold; its hash is
 * all zero. */
#define CLIENT_KEY_EVENT    32
#define CLIENT_KEY_EVENT_MS 600000u /* how long it is known, unless a setting says otherwise */
void client_key_event(const void *source, size_t source_size, const void *id, size_t id_size,
	uint8_t out[CLIENT_KEY_EVENT]);

/* The same as a key; NOMEM. */
enum pirn_client_err client_key_new_event(const char *source, const char *id, struct client_key **out);

#endif
