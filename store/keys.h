/* Every key that Pirn has in Redis is named here and nowhere else. All share one
 * hash tag, so that a cluster would keep them in one slot and a Function may touch
 * any of them:
 *
 *   pirn:{0}:registry                 hash, service → packed Entry
 *   pirn:{0}:registry-version         number, grows with each change of the hash
 *   pirn:{0}:state:<service>:<key>    a service's counters, keys and hashes
 *
 * and those of the delivery protocol (journal.h, functions.lua):
 *
 *   pirn:{0}:epoch                    number, the last epoch that was given
 *   pirn:{0}:owners                   hash, epoch → beat
 *   pirn:{0}:journals                 hash, journal → epoch of its owner, "+" behind it when adopted
 *   pirn:{0}:journal:<J>              stream of entries
 *   pirn:{0}:done:<J>                 hash, entry → bitmap of ended deliveries
 *   pirn:{0}:lane:<lane>:<number>>16> bitmap of stored numbers, 10 minutes; the lane in hexadecimal
 *   pirn:{0}:ops:<id>:<service>       hash, operation records; the id as text
 *   pirn:{0}:timers                   hash, name → last slot, running id
 *   pirn:{0}:dedupe:<scope>:<key>     hash, who used the key
 *   pirn:{0}:known:<at>               hash, <scope>:<key> → id and hash of keys that go at that second (functions.lua)
 *   pirn:{0}:dedupe-size              hash, bytes of both by when they go
 *   pirn:{0}:results, results:<n>     which groups there are, and 32 hashes, id → results
 *   pirn:{0}:results:<n>:blobs        sorted set, names of strings of many results each by the time of the last
 *                                     id in them; results:<n>:<name> (functions.lua)
 *   pirn:{0}:dead:<service>           hash, id → head; pirn:{0}:dead-body:<service> id → payload
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
#define STORE_KEY_EPOCH            STORE_KEY_PREFIX "epoch"
#define STORE_KEY_OWNERS           STORE_KEY_PREFIX "owners"
#define STORE_KEY_JOURNALS         STORE_KEY_PREFIX "journals"
#define STORE_KEY_TIMERS           STORE_KEY_PREFIX "timers"
#define STORE_KEY_DEDUPE_SIZE      STORE_KEY_PREFIX "dedupe-size"
#define STORE_KEY_RESULTS          STORE_KEY_PREFIX "results"
/* With what follows the prefix, in printf's form (store/fcall.h makes them): */
#define STORE_KEY_JOURNAL          "journal:%u"
#define STORE_KEY_DONE             "done:%u"
#define STORE_KEY_LANE             "lane:%016llx:%llu"
#define STORE_KEY_OPS              "ops:%s:%s"
#define STORE_KEY_RESULT_GROUP     "results:%u"
#define STORE_KEY_DEAD             "dead:%s"
#define STORE_KEY_DEAD_BODY        "dead-body:%s"
#define STORE_KEY_DEDUPE           "dedupe:" /* and scope, colon, key: any bytes */

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
