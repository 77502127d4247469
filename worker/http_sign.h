/* Signatures as Standard Webhooks has them: HMAC-SHA256 over "id.timestamp.body", one for
 * each key, so that a receiver who has only the old or only the new one of two keys can
 * check it.
 *
 * A key is what stands behind whsec_: base64 of 24 to 64 bytes.
 */
#ifndef WRK_HTTP_SIGN_H
#define WRK_HTTP_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define WRK_SIGN_KEYS  4
#define WRK_SIGN_BYTES 64 /* of a key */
#define WRK_SIGN_TEXT  (WRK_SIGN_KEYS * (3 + 44 + 1) + 1) /* "v1,… v1,…" and NUL */

struct wrk_signer {
	struct {
		uint8_t bytes[WRK_SIGN_BYTES];
		size_t size;
	} keys[WRK_SIGN_KEYS];
	size_t n; /* 0: nothing is signed */
};

/* "whsec_… whsec_…", with blanks, commas or line breaks between them; NULL or "": none. CONFIG: why holds a
 * sentence, and nothing of a key. */
BASE_MUSTUSE enum base_err wrk_signer_parse(
	const char *text, struct wrk_signer *out, char *why, size_t why_room);
void wrk_signer_fini(struct wrk_signer *s); /* forgets the keys */

/* The header's value; "" without a key. */
void wrk_sign(const struct wrk_signer *s, const char *id, uint64_t unix_s, const void *body,
	size_t size, char out[WRK_SIGN_TEXT]);

#endif
