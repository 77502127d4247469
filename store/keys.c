#include "store/keys.h"

#include <string.h>

#define STATE STORE_KEY_PREFIX "state:"

_Static_assert(sizeof STATE + STORE_SERVICE_MAX + 1 + STORE_STATE_KEY_MAX <=
		       sizeof((struct store_key *)0)->bytes,
	"a state key fits");

/* Looked at for each delivery that ends, therefore not by strspn, which sets up a table of 256 first. */
static bool is_service(const char *name)
{
	size_t size = 0;

	for (; name && name[size]; size++) {
		char c = name[size];

		if (size == STORE_SERVICE_MAX ||
			!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return size > 0;
}

static void add(struct store_key *key, const void *bytes, size_t size)
{
	memcpy(key->bytes + key->size, bytes, size);
	key->size += size;
}

enum base_err store_key_state(
	struct store_key *out, const char *service, const void *key, size_t size)
{
	if (!is_service(service) || !key || size == 0 || size > STORE_STATE_KEY_MAX)
		return BASE_RANGE;
	out->size = 0;
	add(out, STATE, sizeof STATE - 1);
	add(out, service, strlen(service));
	add(out, ":", 1);
	add(out, key, size);
	return BASE_OK;
}

struct store_arg store_key_arg(const struct store_key *key)
{
	return (struct store_arg){ key->bytes, key->size };
}
