/* Request targets: any bytes become segments that lie in the input or in the room, or are
 * refused with a sentence.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct gw_slice s, const char *base, size_t size)
{
	return s.data >= base && s.data + s.size <= base + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *room = malloc(size ? size : 1);
	const char *raw = (const char *)data, *why = NULL;
	struct gw_target t;

	if (!room)
		return 0;
	if (gw_target_parse(&t, raw, size, room, &why) != BASE_OK) {
		assert(why && *why);
		free(room);
		return 0;
	}
	assert(t.n_segments <= GW_SEGMENTS_MAX);
	assert(t.asterisk ? t.n_segments == 0 : t.n_segments > 0 && t.path.data[0] == '/');
	for (size_t i = 0; i < t.n_segments; i++) {
		struct gw_slice s = t.segments[i];
		assert(s.size == 0 || inside(s, raw, size) || inside(s, room, size));
		assert(s.size == 0 || !memchr(s.data, '\0', s.size));
		assert(!gw_slice_equal(s, GW_SLICE(".")) && !gw_slice_equal(s, GW_SLICE("..")));
	}
	free(room);
	return 0;
}
