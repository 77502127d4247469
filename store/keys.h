/* Every key that Pirn has in Redis is named here and nowhere else. All share one
 * hash tag, so that a cluster would keep them in one slot and a Function may touch
 * any of them:
 *
 *   pirn:{0}:registry                 hash, service → packed Entry
 *   pirn:{0}:registry-version         number, grows with each change of the hash
 *   pirn:{0}:state:<service>:<key>    a service's counters, keys and hashes
 *
 * A service's name holds no colon, so what follows the second one is the service's
 * own, any bytes it likes.
 */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include <stddef.h>

#include "base/err.h"
#include "store/redis.h"

#define STORE_KEY_PREFIX           "pirn:{0}:"
#define STORE_KEY_REGISTRY         STORE_KEY_PREFIX "registry"
#define STORE_KEY_REGISTRY_VERSION STORE_KEY_PREFIX "registry-version"

#define STORE_SERVICE_MAX 63  /* bytes of a service's name: base/manifest.h */
#define STORE_STATE_KEY_MAX 512 /* bytes of a key or field that a service chose */

struct store_key {
	char bytes[640];
	size_t size;
};

/* The key of a service's own key. RANGE: a name that is none, or a key that is empty or too
 * long; *out is then unchanged. UNTRUSTED. */
BASE_MUSTUSE enum base_err store_key_state(struct store_key *out, const char *service, const void *key, size_t size);
struct store_arg store_key_arg(const struct store_key *key);

#endif
