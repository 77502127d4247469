#include "worker/http_sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define PREFIX    "whsec_"
#define BYTES_MIN 24u

static enum base_err add_key(struct wrk_signer *s, const char *word, char *why, size_t room)
{
	const char *text = word + strlen(PREFIX);

	if (s->n == WRK_SIGN_KEYS) {
		(void)snprintf(why, room, "expected at most %d keys", WRK_SIGN_KEYS);
		return BASE_CONFIG;
	}
	if (strncmp(word, PREFIX, strlen(PREFIX)) != 0 ||
		sodium_base642bin(s->keys[s->n].bytes, WRK_SIGN_BYTES, text, strlen(text), NULL,
			&s->keys[s->n].size, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
		s->keys[s->n].size < BYTES_MIN) {
		(void)snprintf(why, room,
			"expected keys such as whsec_MfKQ...: base64 of %u to %d bytes behind whsec_",
			BYTES_MIN, WRK_SIGN_BYTES);
		return BASE_CONFIG;
	}
	s->n++;
	return BASE_OK;
}

enum base_err wrk_signer_parse(
	const char *text, struct wrk_signer *out, char *why, size_t why_room)
{
	struct wrk_signer s = { .n = 0 };
	char *copy = strdup(text ? text : ""), *rest = NULL;
	size_t size = copy ? strlen(copy) : 0;
	enum base_err err = copy && sodium_init() >= 0 ? BASE_OK : BASE_NOMEM;

	if (err)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	for (const char *word = err ? NULL : strtok_r(copy, ", \t\r\n", &rest); word && !err;
		word = strtok_r(NULL, ", \t\r\n", &rest))
		err = add_key(&s, word, why, why_room);
	if (copy)
		sodium_memzero(copy, size);
	free(copy);
	if (!err)
		*out = s;
	wrk_signer_fini(&s);
	return err;
}

void wrk_signer_fini(struct wrk_signer *s)
{
	sodium_memzero(s, sizeof *s);
}

void wrk_sign(const struct wrk_signer *s, const char *id, uint64_t unix_s, const void *body,
	size_t size, char out[WRK_SIGN_TEXT])
{
	char head[128];

	(void)snprintf(head, sizeof head, "%.64s.%" PRIu64 ".", id, unix_s);
	out[0] = '\0';
	for (size_t i = 0; i < s->n; i++) {
		uint8_t mac[crypto_auth_hmacsha256_BYTES];
		crypto_auth_hmacsha256_state state;
		char *at = out + strlen(out);

		(void)crypto_auth_hmacsha256_init(&state, s->keys[i].bytes, s->keys[i].size);
		(void)crypto_auth_hmacsha256_update(&state, (const uint8_t *)head, strlen(head));
		(void)crypto_auth_hmacsha256_update(&state, body, size);
		(void)crypto_auth_hmacsha256_final(&state, mac);
		at = stpcpy(at, i > 0 ? " v1," : "v1,");
		sodium_bin2base64(at, WRK_SIGN_TEXT - (size_t)(at - out), mac, sizeof mac,
			sodium_base64_VARIANT_ORIGINAL);
		sodium_memzero(&state, sizeof state);
	}
}
